"""Settings of one stage made without a pipeline: what rules would have decided must be given, as there is nobody to derive it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from bilp.config.former import renamed
from bilp.config.nested import as_plain, leaves


def refuse_what_is_left_out(model: type[BaseModel], given: Any, rules: Mapping[str, Any], decided_by: str, source: str) -> None:
    """Raise ValueError, with the fields, if `given` leaves out what the rules set to something else than the model's default.

    Args:
        model: The stage's settings.
        given: What it is made of: a mapping, or anything else, which is not looked at.
        rules: Nested values that follow from what was given.
        decided_by: What these follow from, such as "method mtt".
        source: The expression that has them all.
    """
    if not isinstance(given, Mapping):
        return
    there = renamed(model, as_plain(given))
    missing = [path for path, value in leaves(rules) if not _is_given(there, path) and default_of(model, path) != _plain(value)]
    if missing:
        raise ValueError(f"{decided_by} decides {', '.join(missing)}: give each, or take all of them from {source}")


def _is_given(values: Mapping[str, Any], path: str) -> bool:
    """Whether something, right or wrong, was given at the dotted path or in place of a mapping that would hold it."""
    name, _, rest = path.partition(".")
    below = values.get(name)
    return name in values and (not rest or not isinstance(below, Mapping) or _is_given(below, rest))


def default_of(model: type[BaseModel], path: str) -> Any:
    """The default of the field at a dotted path, or None if it has none, as settings that a method brings do not here."""
    name, _, rest = path.partition(".")
    if name not in model.model_fields:
        return None
    field = model.model_fields[name]
    if rest:
        inner = field.annotation
        return default_of(inner, rest) if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return _plain(field.default)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
