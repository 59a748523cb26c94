"""Settings that were renamed: what people wrote before is accepted for a while, and keys and stored files keep it for good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel

from bilp import notices
from bilp.errors import ConfigError

UNTIL = "0.3"
"""The version from which on former spellings are refused. What is stored keeps them after that, too."""


@dataclass(frozen=True)
class Former:
    """What a setting and those of its values that were renamed were called: `formerly = {"color": Former("colour", ...)}`."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    """Former value of each renamed one."""


def renamed(model: type[BaseModel], given: Mapping[str, Any], prefix: str = "", stored: bool = False) -> dict[str, Any]:
    """What was given for a model, under today's names and with today's values, in the models inside of it too.

    Each former spelling is one notice, unless it was `stored`, where it stays. Raises ConfigError where a setting is given under
    both names.
    """
    result = dict(given)
    for name, former in formerly(model).items():
        place, before = f"{prefix}{name}", f"{prefix}{former.name}"
        if former.name in result:
            if name in result:
                raise ConfigError(f"{before} and {place} are one setting: give {place} alone")
            result = {name if key == former.name else key: value for key, value in result.items()}
        value, today = result.get(name), {old: new for new, old in former.values.items()}
        if isinstance(value, str) and value in today:
            result[name] = today[value]
            before, place = f"{before if former.name in given else place} {value}", f"{place} {today[value]}"
        if not stored and (former.name in given or result.get(name) != value):
            notices.say_once(f"{before} is written {place} now; the old spelling is accepted until version {UNTIL}")
    for name, inner in models(model):
        below = result.get(name)
        if isinstance(below, Mapping):
            result[name] = renamed(inner, below, f"{prefix}{name}.", stored)
    return result


def recorded(model: BaseModel, written: Mapping[str, Any]) -> dict[str, Any]:
    """`written`, which `model` is as JSON, under the names and with the values that keys and stored files have for them."""
    former = formerly(type(model))
    result = {}
    for name, value in written.items():
        inner = getattr(model, name, None) if isinstance(value, Mapping) else None
        if isinstance(inner, BaseModel):
            result[name] = recorded(inner, value)
        elif name in former:
            result[former[name].name] = former[name].values.get(value, value)
        else:
            result[name] = value
    return result


def former_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted paths that are accepted besides today's, of a model and of those in it."""
    yield from (f"{prefix}{former.name}" for former in formerly(model).values())
    for name, inner in models(model):
        yield from former_paths(inner, f"{prefix}{name}.")


def today(model: type[BaseModel], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted path, as stored files have them, under the names and with the values that they have now."""
    former = _today(model)
    if former.keys().isdisjoint(stored):
        return dict(stored)
    found = {}
    for path, value in stored.items():
        name, values = former.get(path, (path, {}))
        found[name] = values.get(value, value) if isinstance(value, str) else value
    return found


@cache
def _today(model: type[BaseModel], prefix: str = "") -> Mapping[str, tuple[str, Mapping[str, str]]]:
    """Of every former path today's, and today's value of each former one."""
    found: dict[str, tuple[str, Mapping[str, str]]] = {
        f"{prefix}{former.name}": (f"{prefix}{name}", {old: new for new, old in former.values.items()})
        for name, former in formerly(model).items()
    }
    for name, inner in models(model):
        found |= _today(inner, f"{prefix}{name}.")
    return found


def formerly(model: type[BaseModel]) -> Mapping[str, Former]:
    """The renamed settings of a model by today's name."""
    found: Mapping[str, Former] = getattr(model, "formerly", {})
    return found


@cache
def models(model: type[BaseModel]) -> tuple[tuple[str, type[BaseModel]], ...]:
    """The fields of a model that hold models, with these."""
    kinds = ((name, info.annotation) for name, info in model.model_fields.items())
    return tuple((name, kind) for name, kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
