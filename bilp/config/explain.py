"""Where each setting came from, and what is wrong with those that were refused, in one line each."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bilp.config.base import Frozen, Told
from bilp.config.defaults import DIAL_PATHS, GIVEN, RECIPE, complete
from bilp.config.methods import either
from bilp.config.methods.plugin import plugin_models
from bilp.config.methods.spec import PLUGIN
from bilp.config.nested import inline, leaves
from bilp.config.pipeline import PipelineConfig
from bilp.config.standalone import default_of
from bilp.config.words import AUTO, SEARCH
from bilp.errors import ConfigError
from bilp.registry import AS_TYPED, EntryName
from bilp.text.suggestion import suggestion

DEFAULT = "default"
MOST_PROBLEMS = 20  # lines about wrong values; who has more has the wrong file
NAMED = ("literal_error", "enum")
"""Types of errors about a value that is none of those which the message quotes."""
_QUOTED = re.compile(r"'([^']*)'")
ALIKE = 0.7  # how similar a path is, of 1, that is taken for a misspelling
MOST_MEANT = 3  # settings of which one may be meant
MOST_SHOWN = 200  # characters of a wrong value


@dataclass(frozen=True)
class Setting:
    """One leaf of the configuration: its dotted path, its value and the layer that decided it."""

    path: str
    value: Any
    origin: str

    @property
    def text(self) -> str:
        """The value as it may be written on the command line or in a recipe."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value)


def explain(given: Mapping[str, Any]) -> list[Setting]:
    """Every value of the pipeline that `given` leads to, in the order of the models.

    The origin is "given", "recipe NAME", the dial or rule that implied the value, or "default".
    Raises what `PipelineConfig(**given)` raises.
    """
    config = PipelineConfig.model_validate(given)
    origins = config.origins or {}
    told = leaves(config.model_dump(mode="json", context=AS_TYPED))
    return [Setting(path, value, _origin(path, origins) + (FOUND.get(value, "") if path in WORDY else "")) for path, value in told]


FOUND = {
    SEARCH: "; found by a search after the images are read, before anything is distilled",
    AUTO: "; found from the scores",
}
"""What is said of a value that is a word, beside its origin."""
WORDY = frozenset({"keep", "beta", "prune.keep", "reselect.beta", "reselect.low_share"})
"""The settings that may hold one."""


def changed(given: Mapping[str, Any]) -> list[Setting]:
    """What `explain` says of values that were given, by the user or the recipe, and of others that differ from the models' defaults."""
    kept = []
    for setting in explain(given):
        stated = setting.origin.startswith(GIVEN) or setting.origin.startswith(RECIPE)
        if stated or (setting.origin != DEFAULT and setting.value != default_of(PipelineConfig, setting.path)):
            kept.append(setting)
    return kept


EXPLAINED = {"all": explain, "changed": changed}
"""By the word after --explain."""


def problems(error: ValidationError, given: Mapping[str, Any]) -> list[str]:
    """One line per wrong value: path, what was given, what is wrong with it and, if another layer chose it, which one.

    A wrong dial is named once, not again at every value that was derived from it. Beyond MOST_PROBLEMS they are counted.
    """
    try:
        origins = complete(given).origins
    except ConfigError:  # the recipe itself is what is wrong; the error says so
        origins = {}
    # A default that follows from another value is not known while that one is wrong; that is no mistake of its own.
    found = [item for item in error.errors(include_url=False) if item["type"] != "default_factory_not_called"]
    more, found = len(found) - MOST_PROBLEMS, found[:MOST_PROBLEMS]
    paths = {_path(item["loc"]) for item in found}
    lines = []
    for item in found:
        path = _path(item["loc"])
        origin = _origin(path, origins)
        if any(origin == f"dial {dial}" and dial in paths for dial in DIAL_PATHS):
            continue
        if not any(path != other and other.startswith(f"{path}.") for other in paths):
            lines.append(_line(item, path, origin))
    return [*lines, f"and {more} more settings are wrong: correct these first"] if more > 0 else lines


def _line(item: Mapping[str, Any], path: str, origin: str) -> str:
    if item["type"] == "extra_forbidden":
        settings = similar(path, item["input"] if isinstance(item["input"], Mapping) else ())
        if settings == [path]:  # one key with dots in it, which only a command line takes apart
            return f"{path}: write settings of a stage below its name, {inline(path, item['input'])}"
        return f"{path}: no such setting; " + (f"did you mean {either(settings)}?" if settings else "--explain lists them all")
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error":  # written by the models: names its values itself
        return f"{path}: {message}" if path else message
    source = "" if origin in (GIVEN, DEFAULT) else f" (from {origin})"
    meant = suggestion(item["input"], _QUOTED.findall(message)) if item["type"] in NAMED else ""
    return f"{path} = {_shortened(item['input'])}{source}: {message[0].lower()}{message[1:]}{meant}"


def _shortened(value: Any) -> str:
    """A value as JSON, its beginning if it is long; one that JSON cannot hold by its type alone."""
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # keys of other kinds, a number of too many digits, a list that holds itself
        return f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def similar(path: str, below: Collection[str] = ()) -> list[str]:
    """The settings of which one is probably meant by a path that is none: the one that looks most like it (positions in lists do not
    count) or, where it names no group, the groups beside it that have what was given in it. Empty where none comes near.

    `below` are the names that were given in it, if it was given as a group.
    """
    wanted = ".".join(part for part in path.split(".") if not part.isdigit())
    known = {*_paths(PipelineConfig), *(path for model in plugin_models() for path in _paths(model, f"distill.{PLUGIN}."))}
    group, _, name = wanted.rpartition(".")
    found: list[str] = []
    if below:
        found = _groups(wanted, below, known)
    elif group and group not in known:
        found = [path for other in _groups(group, (name,), known) if (path := f"{other}.{name}") in known]
    return found or difflib.get_close_matches(wanted, known, n=1, cutoff=ALIKE)


def _groups(wanted: str, below: Collection[str], known: Collection[str]) -> list[str]:
    """The group beside the wanted one that looks like it, or else those that have all names given in it, unless they are many."""
    above = wanted.rpartition(".")[0]
    parents = {path.rpartition(".")[0] for path in known}
    beside = {group.rpartition(".")[2]: group for group in sorted(parents) if group and group.rpartition(".")[0] == above}
    fitting = {name: group for name, group in beside.items() if all(f"{group}.{inner}" in known for inner in below)}
    for groups in (fitting, beside):
        if close := difflib.get_close_matches(wanted.rpartition(".")[2], groups, n=1, cutoff=ALIKE):
            return [groups[close[0]]]
    return list(fitting.values()) if len(fitting) <= MOST_MEANT else []


def _paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted paths of every field of a model and of the models in it, list items included."""
    paths = []
    for name, field in model.model_fields.items():
        paths.append(f"{prefix}{name}")
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                paths += _paths(kind, f"{prefix}{name}.")
    return paths


@cache
def told_defaults() -> dict[str, Told]:
    """Defaults that no rule changes, by dotted path: what forms and `--help` may tell."""
    return dict(_told(PipelineConfig, ""))


def _told(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Told]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _told(field.annotation, f"{prefix}{name}.")
        elif issubclass(model, Frozen) and name not in model.by_rule and isinstance(field.default, str | int | float | tuple):
            yield f"{prefix}{name}", field.default


@cache
def choices() -> dict[str, str]:
    """The settings that hold the name of a registry's entry, by dotted path, with the names as `--help` writes choices."""
    return dict(_choices(PipelineConfig, ""))


def _choices(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        for kind in (*field.metadata, *_parts(field.annotation)):
            if isinstance(kind, EntryName):
                yield f"{prefix}{name}", f"{{{','.join(kind.registry.choosable())}}}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _choices(field.annotation, f"{prefix}{name}.")


def _parts(annotation: Any) -> Iterator[Any]:
    """A type, those that it is made of, and what they are annotated with."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _origin(path: str, origins: Mapping[str, str]) -> str:
    """The origin of the path or of the list it lies in."""
    while path not in origins and "." in path:
        path = path.rpartition(".")[0]
    return origins.get(path, DEFAULT)
