"""Nested mappings of settings: their leaves, one laid over another, and values that may still be text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a nested mapping with its dotted path; lists are leaves."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def as_plain(value: Any) -> Any:
    """Models become dictionaries of what was set on them, so that the rest can still be derived."""
    if isinstance(value, BaseModel):
        return as_plain(value.model_dump(exclude_unset=True))
    if isinstance(value, Mapping):
        return {key: as_plain(item) for key, item in value.items()}
    return value


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value, or nothing if it is not what it should be; validation says so."""
    return value if isinstance(value, Mapping) else {}


def whole_number(flat: Mapping[str, Any], path: str) -> int:
    """A whole number that may still be text; 0 for anything else, which validation will name."""
    value = flat.get(path)
    found = parsed(value) if isinstance(value, str) else value
    return found if isinstance(found, int) else 0


def parsed(text: str) -> float | int | str:
    """The number that a text means, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


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
