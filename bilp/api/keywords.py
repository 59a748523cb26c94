"""Settings as keywords: dials, groups of settings, and the settings of the stage that is called."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bilp.config import METHODS, DistillConfig, EvaluateConfig, IngestConfig, PipelineConfig, PruneConfig, ReportConfig, ScoreConfig
from bilp.config.arithmetics import usual_arithmetic, usual_revision
from bilp.config.explain import problems
from bilp.config.former import formerly, renamed
from bilp.config.nested import as_plain, merge
from bilp.config.words import is_search
from bilp.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

STAGES: dict[str, type[BaseModel]] = {
    "ingest": IngestConfig,
    "score": ScoreConfig,
    "prune": PruneConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
    "report": ReportConfig,
}

Given = Mapping[str, Any]
"""What was given up to here, nested as `bilp.settings` takes it; the rest is derived."""


def merged(given: Given, stage: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`given`, and over it the keywords of a call of `stage`: dials and groups by their names, and settings of the stage by theirs.

    Raises ConfigError for a name that neither has, with the one that may be meant.
    """
    own = {*STAGES[stage].model_fields, *(former.name for former in formerly(STAGES[stage]).values())}
    known = own | set(PipelineConfig.model_fields)
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(sorted(own))}, and what bilp.settings takes"
            raise ConfigError(f"{stage} knows no setting {name!r}: {hint}")
    added: dict[str, Any] = {}
    for name, value in as_plain(dict(changes)).items():
        alone = name in own and name not in PipelineConfig.model_fields
        added = merge(added, {stage: {name: value}} if alone else {name: value})
    return merge(given, added)


def stored(model: type[M], written: Mapping[str, Any], **more: Any) -> M:
    """The settings that a manifest holds, with `more` of them."""
    return model.model_validate({**renamed(model, written, stored=True), **more})


def for_device(given: Given, device: str | None) -> dict[str, Any]:
    """`given`, and the arithmetic and the revision that are usual on the device of a call, where they are not those of this process.

    So a call with `device="cpu"` on a machine with a GPU means what the same call means on a machine without one.
    """
    added: dict[str, Any] = {}
    (usual, _), (revision, _) = usual_arithmetic(device), usual_revision(device)
    if given.keys().isdisjoint({"gpu", "recipe"}) and usual != usual_arithmetic()[0]:
        added["gpu"] = usual
    if "gpu_revision" not in given and revision != usual_revision()[0]:
        added["gpu_revision"] = revision
    return {**given, **added}


def for_images(given: Given, ingested: IngestConfig) -> PipelineConfig:
    """The whole configuration for images that are there: nothing that was given later changes how they were ingested.

    Raises ConfigError as `configured`.
    """
    config = configured(given)
    return config if config.ingest == ingested else configured(merge(given, pinned(ingested)))


def found_numbers(given: Given, asked: PipelineConfig, found: PipelineConfig) -> dict[str, Any]:
    """`given` with the numbers that a search found in the place of its word, in dials and in groups, and where a recipe has the word.

    Where it found that adaptive pruning had better be off, so is a first decision, which a typed beta of 0 would be refused with.

    Args:
        given: Dials and groups of settings.
        asked: The configuration that they lead to.
        found: The same with numbers.
    """
    changed, pruning, reselect = dict(given), found.prune, found.reselect
    words: tuple[tuple[str, str, Any, Any, dict[str, Any]], ...] = (
        ("prune", "keep", asked.prune.keep, pruning.keep, {"keep": pruning.keep}),
        ("reselect", "beta", asked.reselect.beta, reselect.beta, {"beta": reselect.beta}),
        ("reselect", "low_share", asked.reselect.low_share, reselect.low_share, {}),
    )
    for group, name, word, number, dial in words:
        if is_search(word):  # both places, as the recipe may have the word in either
            changed = merge(changed, {group: {name: number}}) | dial
    if reselect.beta == 0.0 and asked.reselect.before_initialization:
        changed = merge(changed, {"reselect": {"before_initialization": False}})
    return changed


def prunes_adaptively(given: Given, ingested: IngestConfig) -> bool:
    """Whether a set that is distilled with these settings is to be pruned adaptively: beta was given, and not 0, or a recipe states one
    and the method can."""
    told = [places["beta"] for places in (given, given.get("reselect", {})) if "beta" in places]
    if told or "recipe" not in given:
        return any(map(bool, told))
    config = for_images(given, ingested)
    stated = (config.origins or {}).get("beta", "").startswith("recipe ")
    return stated and config.reselect.active and METHODS[config.method].adaptive


def pinned(ingested: IngestConfig) -> dict[str, Any]:
    """Settings of ingestion as if each had been given."""
    return {"dataset": ingested.source, "ingest": ingested.model_dump()}


def configured(given: Given) -> PipelineConfig:
    """The whole configuration. Raises ConfigError, in one line, for wrong settings."""
    try:
        return PipelineConfig.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError("; ".join(line.replace("--", "") for line in problems(error, given))) from error
