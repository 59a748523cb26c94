"""What rules read of the settings, with the types of the settings themselves, so that no rule ever meets text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasPath, BaseModel, ConfigDict, Field, ValidationError

from bilp.config.base import Fraction, GpuArithmetic, GpuRevision, MethodName, Positive, ProtocolName, Seed, Several, SourceName
from bilp.config.criteria import CriterionName, Dropping
from bilp.config.methods import DEFAULT_METHOD
from bilp.config.network import NetworkConfig, Networks, PoolName
from bilp.config.protocols import DEFAULT_PROTOCOL
from bilp.config.rules import DEFAULT_RULE, RuleName
from bilp.config.sources import DEFAULT_SOURCE
from bilp.config.words import DroppedShare, KeptShare

M = TypeVar("M", bound=BaseModel)

RecipeDataset = Literal["same", "any"]


def _at(path: str, default: Any = None) -> Any:
    """A field that is read at the dotted path of a setting."""
    return Field(default, validation_alias=AliasPath(*path.split(".")))


class Dials(BaseModel):
    """What was given of the settings that decide which rules apply; the default where nothing usable was given."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    dataset: SourceName = DEFAULT_SOURCE
    method: MethodName = DEFAULT_METHOD
    ipc: Positive = 1
    keep: KeptShare = 0.5
    beta: DroppedShare = 0.1
    seed: Seed = 0
    gpu: GpuArithmetic = "float32"
    gpu_revision: GpuRevision = 0
    recipe_dataset: RecipeDataset = "same"
    protocol: ProtocolName | None = _at("evaluate.protocol")
    factor: Annotated[int, Field(ge=1, le=8)] | None = _at("distill.decode.factor")
    side: Positive | None = _at("ingest.resolution")
    criterion: CriterionName | None = _at("prune.criterion")
    rule: RuleName = _at("prune.rule", DEFAULT_RULE)
    per_class: bool = _at("prune.per_class", True)
    band: tuple[Fraction, Fraction] | None = _at("prune.band")
    drop: Dropping | None = _at("prune.drop")
    score_epochs: Positive | None = _at("score.epochs")


class Settled(BaseModel):
    """What the last rules read, which follow from others' results: given, from the recipe, by a rule, or the model's default."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    source: SourceName = _at("ingest.source", DEFAULT_SOURCE)
    side: Positive | None = _at("ingest.resolution")
    method: MethodName = _at("distill.method", DEFAULT_METHOD)
    protocol: ProtocolName = _at("evaluate.protocol", DEFAULT_PROTOCOL)
    iterations: Positive | None = _at("distill.iterations")
    rounds: Positive = _at("distill.rounds", 10)
    outer_loops: Positive = _at("distill.outer_loops", 1)
    batch_real: Several = _at("distill.batch_real", 256)
    network: NetworkConfig = _at("distill.network", NetworkConfig())
    score_epochs: Positive | None = _at("score.epochs")
    score_seed: Seed = _at("score.seed", 0)
    score_gpu: GpuArithmetic = _at("score.gpu", "float32")
    score_gpu_revision: GpuRevision = _at("score.gpu_revision", 0)
    curriculum: CriterionName | None = _at("experts.curriculum.criterion")
    curriculum_epochs: Positive | None = _at("experts.curriculum.score.epochs")
    candidates: Several | None = _at("reselect.candidates_per_class")
    pool: PoolName | None = _at("evaluate.pool")
    networks: Networks = _at("evaluate.networks", ())


def read(model: type[M], values: Mapping[str, Any]) -> M:
    """The model's part of nested values; a value that is wrong counts as not given, as its own model will refuse it by name."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            values = _without(values, problem["loc"])
        return model.model_validate(values)


def _without(values: Mapping[str, Any], location: tuple[int | str, ...]) -> dict[str, Any]:
    """`values` less what lies at the location, or less the whole list that holds it."""
    first, *rest = location
    below = values.get(str(first))
    kept = dict(values)
    if rest and isinstance(below, Mapping):
        kept[str(first)] = _without(below, tuple(rest))
    else:
        kept.pop(str(first), None)
    return kept
