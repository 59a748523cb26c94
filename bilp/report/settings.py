"""The configuration in rows that say what each value means and where it came from, and the command that repeats it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from bilp.config import PipelineConfig
from bilp.config.base import unused
from bilp.config.defaults import GIVEN, complete
from bilp.config.nested import leaves, merge, merge_all, nest
from bilp.config.network import NetworkConfig
from bilp.errors import ConfigError
from bilp.registry import AS_TYPED

DIALS = ("recipe", "recipe_dataset", "dataset", "method", "ipc", "keep", "beta", "seed", "experiments", "arms")
ALWAYS_SHOWN = ("dataset", "method", "ipc")
PROGRAM = ("bilp", "run")
DEFAULT = "default"
_WORD = re.compile("[a-z][a-z0-9_]*")
NOTHING = "none"  # how the command line is told that a value is not set


@dataclass(frozen=True)
class Setting:
    """One value of the configuration."""

    path: str
    value: str
    origin: str
    meaning: str


def origins_of(config: PipelineConfig) -> Mapping[str, str]:
    """Where each value came from, as the configuration knows it; derived from the values if it does not."""
    return config.origins if config.origins is not None else complete(given_values(config)).origins


def settings(config: PipelineConfig, origins: Mapping[str, str]) -> dict[str, list[Setting]]:
    """All settings by stage ("dials" first); a value without an origin is the default."""
    stages: dict[str, list[Setting]] = {"dials": []}
    for path, value, meaning in _walk(config, ""):
        stage = path.split(".")[0] if "." in path else "dials"
        stages.setdefault(stage, []).append(Setting(path, shown(value), origins.get(path, DEFAULT), meaning))
    return stages


def rerun_command(config: PipelineConfig, origins: Mapping[str, str] | None = None) -> str:
    """A command line whose configuration equals `config`, value by value: what was given, where `origins` tell it and that is shorter."""
    whole = dict(leaves(config.model_dump(mode="json", context=AS_TYPED)))
    typed = {path: value for path, value in whole.items() if (origins or {}).get(path) == GIVEN}
    commands = [_command(dict(leaves(given_values(config))))]
    if origins is not None and _implied(_nested(typed)) == whole:
        commands.insert(0, _command(typed))
    return min(commands, key=len)


def _command(values: Mapping[str, Any]) -> str:
    words = list(PROGRAM)
    brief = {path: _brief(value) for path, value in values.items()}
    if brief != values and _implied(_nested(brief)) == _implied(_nested(values)):
        values = brief
    for path, value in values.items():
        typed = _typed(value)
        words.append(f"--{path}={shlex.quote(typed)}" if typed.startswith("-") else f"--{path} {shlex.quote(typed)}")
    return " ".join(words)


def _brief(value: Any) -> Any:
    """A list of networks with the name of each, and what is set on it besides."""
    if not (isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value)):
        return value
    found: list[Any] = []
    for item in value:
        try:
            usual = NetworkConfig(name=item["name"]).model_dump(mode="json", context=AS_TYPED)
        except (ValidationError, ConfigError):  # a list of something else
            return value
        set_on_it = {name: setting for name, setting in item.items() if usual.get(name, NOTHING) != setting}
        found.append({"name": item["name"], **set_on_it} if set_on_it else item["name"])
    return found


def _typed(value: Any) -> str:
    """A value as it is typed."""
    if value is None:
        return NOTHING
    if isinstance(value, list) and value and all(isinstance(item, str) and _WORD.fullmatch(item) for item in value):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    return merge_all(*(nest(*item) for item in values.items()))


def given_values(config: PipelineConfig) -> dict[str, Any]:
    """The dials, and nested below them every other value that does not follow from the dials alone."""
    whole = config.model_dump(mode="json", context=AS_TYPED)
    defaults = {name: field.default for name, field in PipelineConfig.model_fields.items()}
    given = {name: whole[name] for name in DIALS if name in ALWAYS_SHOWN or getattr(config, name) != defaults[name]}
    if config.ingest.uri:
        given |= {"ingest": {"uri": config.ingest.uri}}
    # What is said may imply more than the dials do, which is then said too.
    for _ in range(2):
        derived = _implied(given)
        for path, value in leaves(whole):
            if path not in DIALS and (path not in derived or derived[path] != value):
                given = merge(given, nest(path, value))
    return given


def _implied(given: dict[str, Any]) -> dict[str, Any]:
    """Every leaf of the configuration that these values lead to; nothing if they are no valid one on their own."""
    try:
        return dict(leaves(PipelineConfig.model_validate(given).model_dump(mode="json", context=AS_TYPED)))
    except (ValidationError, ConfigError):  # then every value is said
        return {}


def shown(value: Any) -> str:
    """A value as the command line takes it; nothing set is a dash."""
    if value is None:
        return "–"
    if isinstance(value, BaseModel):
        return ", ".join(f"{name} {shown(getattr(value, name))}" for name in type(value).model_fields)
    if isinstance(value, tuple):
        separator = "; " if any(isinstance(item, BaseModel) for item in value) else ", "
        return separator.join(shown(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _walk(model: BaseModel, prefix: str) -> Iterator[tuple[str, Any, str]]:
    """Leaf paths with their values and the words of their docstrings; a model inside a model is walked through.

    Left out is what counts for no content key, so that equal keys have equal pages.
    """
    hidden = unused(model)
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if hidden.get(name) is True:
            continue
        if isinstance(value, BaseModel):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, " ".join((field.description or "").split())
