"""Every setting of every stage, as frozen pydantic models.

The same models are the Python API, the command line, the recipe files and the form in the Prefect UI. A stage
function of bilp takes only its own model, every value of which is concrete. `PipelineConfig` joins them: a user sets
a few dials (`dataset`, `method`, `ipc`, `keep`, `beta`, `seed`) and may set any other value; the rest is derived in
`bilp.config.defaults`, which can also say where each value came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Self

from pydantic import Field, GetJsonSchemaHandler, ModelWrapValidatorHandler, PrivateAttr, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.config.arm_entries import ARMS, UNPRUNED, Arm
from bilp.config.base import Frozen, GpuArithmetic, GpuRevision, MethodName, Positive, Seed, SourceName
from bilp.config.criteria import CRITERIA
from bilp.config.defaults import DIAL_PATHS, KnownOrigins, complete
from bilp.config.dials import RecipeDataset
from bilp.config.distill import DistillConfig
from bilp.config.evaluate import EvaluateConfig, networks_of
from bilp.config.ingest import IngestConfig
from bilp.config.methods import DEFAULT_METHOD, METHODS
from bilp.config.methods.trajectory import ExpertsConfig
from bilp.config.prune import PruneConfig
from bilp.config.recipes import load_recipe, recipe_names
from bilp.config.reselect import ReselectConfig
from bilp.config.reselectable import misfit, no_first_decision, not_whole, untaught, without_effects
from bilp.config.score import ScoreConfig
from bilp.config.search import SearchConfig
from bilp.config.sources import DEFAULT_SOURCE, SOURCES
from bilp.config.words import DroppedShare, KeptShare
from bilp.registry import recorded_in
from bilp.storage.uris import refuse_secrets


class ReportConfig(Frozen):
    """The page."""

    samples_per_class: Positive = 8
    """Kept and dropped samples shown per class."""
    max_classes: Positive = 10
    """Classes shown in pictures; tables hold all of them."""


class PipelineConfig(Frozen):
    """The whole pipeline. Set the dials; whatever else is not set is derived from them."""

    later = frozenset({"recipe_dataset", "search", "gpu_revision"})
    by_rule = frozenset({"keep", "beta", "gpu", "gpu_revision"})

    dataset: SourceName = DEFAULT_SOURCE
    """Real data set."""
    method: MethodName = DEFAULT_METHOD
    """Distillation method."""
    ipc: Positive = 1
    """Synthetic images per class."""
    keep: KeptShare = 0.5
    """Share of each class that static pruning keeps (1 - alpha). Or auto, from what the scores say, or search, by trying."""
    beta: DroppedShare = 0.1
    """Share of candidates that adaptive pruning drops; auto or search: found."""
    seed: Seed = 0
    """Seed of everything."""
    gpu: GpuArithmetic = "float32"
    gpu_revision: GpuRevision = 0
    experiments: Positive = 1
    """Independently seeded distillations per arm."""
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)] = (UNPRUNED, "bilp")
    """What is compared: no pruning, static alone, adaptive alone, both (bilp), random samples, true labels, no distillation."""
    recipe: str | None = None
    """Recipe to start from: a name in recipes/ or the path of a YAML file."""
    recipe_dataset: RecipeDataset = "same"
    """Data set that a recipe for one of the built-in ones may meet: the same, or any, with settings that were made for another."""
    ingest: IngestConfig = IngestConfig()
    """Settings of ingestion."""
    score: ScoreConfig = ScoreConfig()
    """Settings of static scoring."""
    prune: PruneConfig = PruneConfig()
    """Settings of static pruning."""
    search: SearchConfig = SearchConfig()
    """Settings of the search for what says search."""
    experts: ExpertsConfig = ExpertsConfig()
    """Settings of the experts, which only methods of trajectory matching need (mtt, tesla, datm, pad, selmatch, haba)."""
    reselect: ReselectConfig = ReselectConfig()
    """Settings of adaptive pruning."""
    distill: DistillConfig = Field(default_factory=lambda: PipelineConfig().distill)  # always handed in by _fill_in
    """Settings of distillation."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Settings of evaluation."""
    report: ReportConfig = ReportConfig()
    """Settings of the page."""
    _known: KnownOrigins = PrivateAttr(default_factory=KnownOrigins)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """As for every model, and the recipes that come with the program are a choice."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        recipe = handler.resolve_ref_schema(schema)["properties"]["recipe"]
        told = "Recipe to start from. What it says goes before the defaults told here, and what is set here goes before the recipe."
        recipe |= {"type": "string", "enum": list(_usable_recipes()), "description": told}
        del recipe["anyOf"]
        return schema

    @model_validator(mode="wrap")
    @classmethod
    def _fill_in(cls, given: Any, validated: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, dict):
            return validated(given)
        refuse_secrets(given)  # here already, because what pydantic says of any wrong value repeats what stands beside it
        completion = complete(given)  # which refuses mappings without an end
        for recorded in recorded_in(given):
            recorded.require_package()
        refuse_secrets(completion.values)
        config = validated(completion.values)
        config._known = KnownOrigins(completion.origins)
        return config

    @model_validator(mode="after")
    def _dials_agree(self) -> Self:
        for dial, (path, *others) in DIAL_PATHS.items():
            value, derived = getattr(self, dial), attrgetter(path)(self)
            if not others and value != derived:  # those of several stages may differ among them
                raise ValueError(f"{dial} = {value!r} contradicts {path} = {derived!r}: set only {dial}")
        pool = self.evaluate.pool
        if pool is not None and self.evaluate.networks != networks_of(pool, self.distill.network):
            raise ValueError(f"evaluate.pool = {pool!r} contradicts evaluate.networks: set only one of them")
        criterion = CRITERIA[self.prune.criterion]
        needed, gradients = criterion.measure, criterion.gradients
        if needed is not None and self.score.measure != needed:
            wrong = f"prune.criterion {self.prune.criterion} contradicts score.measure = {self.score.measure!r}"
            raise ValueError(f"{wrong}: set only prune.criterion")
        if gradients and self.score.gradient_norm == "off":
            wrong = f"prune.criterion {self.prune.criterion} contradicts score.gradient_norm = 'off'"
            raise ValueError(f"{wrong}: set it to last_layer or all")
        if needed is not None and self.prune.scores is None and self.score.epochs < criterion.fewest_epochs:
            wrong = f"prune.criterion {criterion.name} needs trials of {criterion.fewest_epochs} epochs or more"
            raise ValueError(f"{wrong}, and score.epochs = {self.score.epochs}: raise score.epochs")
        for name, compared in (("arms", self.arms), ("evaluate.baselines", self.evaluate.baselines)):
            if len(set(compared)) != len(compared):  # its trainings would count twice
                raise ValueError(f"{name} {list(compared)} names one twice: name each once")
        if not any(ARMS[arm].distills for arm in self.arms):
            raise ValueError(f"arms {list(self.arms)} distill nothing: add one that does, such as {UNPRUNED}")
        return self

    @model_validator(mode="after")
    def _method_can(self) -> Self:
        method = METHODS[self.method]
        if self.ingest.whitening != "none" and method.decodes:
            raise ValueError(
                f"method {self.method} decodes images and steps them as pixels, which whitened ones are not: set ingest.whitening to none"
            )
        refused = next((arm for arm in self.arms if ARMS[arm].adaptive and ARMS[arm].otherwise is None), None)
        if refused is not None and not method.adaptive:
            raise ValueError(
                f"arm {refused} does not apply to method {self.method}, which {method.no_effect}: "
                "use arm static (bilp prunes statically alone here)"
            )
        held = self.distill.real_part.share
        if held > 0 and method.adaptive and self.reselect.active and any(ARMS[arm].adaptive for arm in self.arms):
            raise ValueError(
                f"distill.real_part.share = {held:g} holds images that adaptive pruning measures effects on: set beta to 0, or share to 0"
            )
        told = misfit(self.method, self.reselect) or without_effects(self.distill, self.reselect)
        told = told or not_whole(self.distill, self.reselect) or no_first_decision(self.distill, self.reselect)
        if told := told or untaught(self.method, self.evaluate.teacher.network):
            raise ValueError(told)
        if method.needs_experts:
            method.check_experts(self.distill, self.experts.epochs, f"experts.epochs = {self.experts.epochs}")
        return self

    @property
    def origins(self) -> Mapping[str, str] | None:
        """Where each value came from, by path ("given", a rule, a recipe; no entry is the default); None if that is not known."""
        return self._known.by_path

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As of every model; nobody knows where the values of a changed copy came from."""
        copy = super().model_copy(update=update, deep=deep)
        if update:
            copy._known = KnownOrigins()
        return copy

    def with_found(self, values: Mapping[str, Any], origin: str) -> Self:
        """These settings with numbers in the place of words, by dotted path, which came from `origin`; dials follow.

        With a beta of 0 nothing is decided, and so nothing before the initial images, whatever was asked for while it was a word.
        """
        dials = {paths[0]: dial for dial, paths in DIAL_PATHS.items()}
        changed = {**values} | {dials[path]: value for path, value in values.items() if path in dials}
        if values.get("reselect.beta") == 0.0 and self.reselect.before_initialization:
            changed["reselect.before_initialization"] = False
        update: dict[str, Any] = {path: value for path, value in changed.items() if "." not in path}
        for path, value in changed.items():
            stage, _, name = path.partition(".")
            if name:
                update[stage] = update.get(stage, getattr(self, stage)).model_copy(update={name: value})
        copy = self.model_copy(update=update)
        copy._known = KnownOrigins({**(self.origins or {}), **dict.fromkeys(changed, origin)})
        return copy


def settings(**given: Any) -> PipelineConfig:
    """The whole configuration that some dials and settings lead to: `settings(dataset="cifar10", method="mtt").distill`.

    Stages are mappings: `settings(dataset="digits", score={"trials": 3}).score`.
    Raises pydantic's ValidationError, as PipelineConfig does, and ImpossibleUri for an address that holds a login or a signature.
    """
    return PipelineConfig.model_validate(given)


@cache
def _usable_recipes() -> tuple[str, ...]:
    """The recipes whose method and dataset exist here; published cells of others wait for theirs."""
    stated = ((name, load_recipe(name)) for name in recipe_names())
    known = ((name, values.get("method", DEFAULT_METHOD), values.get("dataset", DEFAULT_SOURCE)) for name, values in stated)
    return tuple(name for name, method, dataset in known if method in METHODS and dataset in SOURCES)
