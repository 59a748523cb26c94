"""Which of a run's settings are not what its data set, its method and its images per class imply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import AliasPath, ValidationError

from bilp.config.dials import Dials
from bilp.config.former import recorded
from bilp.config.nested import merge, nest
from bilp.config.pipeline import PipelineConfig
from bilp.errors import BilpError
from bilp.registry import Recorded

BASE = ("recipe", "recipe_dataset", "dataset", "method", "ipc", "ingest.uri")
"""What says which run it is, rather than how it differs from others of this kind."""
NAMED = ("dataset", "method", "ipc", "ingest.uri")
"""Those of them that are told of every run."""


def changed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted path, dials first, of a configuration as it is recorded.

    What follows from a dial that is named is not named again. Where the rules cannot be asked, because the package of a method or the
    file of a recipe is gone, the dials alone are told.
    """
    found = dict(leaves_of(config))
    base = _chosen(found, BASE)
    implied = _implied(json.dumps(base, sort_keys=True))
    dials = [path for path in _dials() if path in found and path not in NAMED]
    first = {path: found[path] for path in dials if implied is None or found[path] != implied.get(path, found[path])}
    if implied is None:
        return first
    for path, value in first.items():
        base = merge(base, nest(path, value))
    settled = _implied(json.dumps(base, sort_keys=True)) or implied
    rest = {path: value for path, value in found.items() if path not in (*first, *BASE) and settled.get(path, value) != value}
    return first | rest


def _chosen(found: Mapping[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for path in paths:
        if found.get(path) is not None:
            chosen = merge(chosen, nest(path, found[path]))
    return chosen


@lru_cache(maxsize=512)
def _implied(given: str) -> Mapping[str, Any] | None:
    """Every leaf of the configuration that these values, as JSON, lead to, also those that records leave out at their defaults; None if
    they lead to none here."""
    try:
        config = PipelineConfig.model_validate(json.loads(given))
        return dict(leaves_of(recorded(config, config.model_dump(mode="json"))))
    except (ValidationError, BilpError):
        return None


def _dials() -> list[str]:
    """The dials, and the settings of stages that rules read."""
    own = [name for name, field in PipelineConfig.model_fields.items() if not hasattr(field.annotation, "model_fields")]
    read = [
        ".".join(map(str, alias.path)) for field in Dials.model_fields.values() if isinstance(alias := field.validation_alias, AliasPath)
    ]
    return [*own, *read]


def leaves_of(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """As `bilp.config.nested.leaves`; the recorded entry of another package is a leaf."""
    for path, value in values.items():
        if isinstance(value, Mapping) and Recorded.of(value) is None:
            yield from leaves_of(value, f"{prefix}{path}.")
        else:
            yield f"{prefix}{path}", value
