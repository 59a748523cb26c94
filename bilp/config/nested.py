"""Nested mappings of settings: their leaves, their paths, and one laid over another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from bilp.errors import ConfigError
from bilp.registry import Recorded

DEEPEST = 32
"""Levels of mappings within each other that are followed; settings need five."""
PLAIN = (str, int, float, list, tuple, type(None))
"""What most settings are. To ask whether something is a Mapping takes several times as long."""


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a nested mapping with its dotted path; lists are leaves."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if not isinstance(value, PLAIN) and isinstance(value, Mapping):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def as_plain(value: Any, path: str = "", depth: int = 0) -> Any:
    """Models become dictionaries of what was set on them, so that the rest can still be derived.

    A recorded entry of another package becomes its name. Raises ConfigError for mappings beyond DEEPEST levels, as one that
    holds itself is, and for a key that is no text.
    """
    if depth > DEEPEST:
        raise ConfigError(f"{path.split('.', 1)[0]}: mappings lie in each other more than {DEEPEST} deep: settings need five levels")
    if isinstance(value, BaseModel):
        return as_plain(value.model_dump(exclude_unset=True), path, depth)
    recorded = Recorded.of(value)
    if recorded is not None:
        return recorded.name
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            raise ConfigError(f"{f'{path}: ' if path else ''}{wrong!r:.50} is the name of no setting: names are text")
        return {key: as_plain(item, f"{path}.{key}" if path else key, depth + 1) for key, item in value.items()}
    return value


def get(values: Mapping[str, Any], path: str) -> Any:
    """What lies at a dotted path, or None if nothing does."""
    found: Any = values
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def nest(path: str, value: Any) -> dict[str, Any]:
    """A nested mapping that holds nothing but the value at the dotted path."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def inline(path: str, value: Any) -> str:
    """A dotted path and its value as nested mappings in one line of YAML: `distill: {iterations: 5}`."""
    first, *rest = path.split(".")
    text = "{...}" if isinstance(value, Mapping) else value if isinstance(value, str) else json.dumps(value, default=str)
    return f"{first}: " + "".join(f"{{{name}: " for name in rest) + text + "}" * len(rest)


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`low` with the values of `high` laid over it, mapping by mapping."""
    result = dict(low)
    for key, value in high.items():
        below = result.get(key)
        result[key] = merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def merge_all(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """All layers, later ones over earlier ones."""
    result: dict[str, Any] = {}
    for layer in layers:
        result = merge(result, layer)
    return result
