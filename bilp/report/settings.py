"""The configuration in rows that say what each value means and where it came from, and the command that repeats it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from bilp.config import PipelineConfig
from bilp.defaults import complete
from bilp.errors import ConfigError
from bilp.fields import EVERY_VALUE
from bilp.nested import leaves

DIALS = ("recipe", "dataset", "method", "ipc", "keep", "beta", "seed", "experiments", "arms")
ALWAYS_SHOWN = ("dataset", "method", "ipc")
MODULE = "flows.pipeline"
NOTHING = "none"  # how the command line is told that a value is not set


@dataclass(frozen=True)
class Setting:
    """One value of the configuration."""

    path: str
    value: str
    origin: str
    meaning: str


def settings(config: PipelineConfig, origins: Mapping[str, str] | None) -> dict[str, list[Setting]]:
    """All settings by stage ("dials" first); origins not known are "default", or derived anew when None is given."""
    known = origins if origins is not None else complete(given_values(config)).origins
    stages: dict[str, list[Setting]] = {"dials": []}
    for path, value, meaning in _walk(config, ""):
        stage = path.split(".")[0] if "." in path else "dials"
        stages.setdefault(stage, []).append(Setting(path, shown(value), known.get(path, "default"), meaning))
    return stages


def rerun_command(config: PipelineConfig) -> str:
    """The shortest command line whose configuration equals `config`, value by value."""
    words = ["python", "-m", MODULE]
    for path, value in leaves(given_values(config)):
        typed = NOTHING if value is None else value if isinstance(value, str) else json.dumps(value)
        words.append(f"--{path}={shlex.quote(typed)}" if typed.startswith("-") else f"--{path} {shlex.quote(typed)}")
    return " ".join(words)


def given_values(config: PipelineConfig) -> dict[str, Any]:
    """The dials, and nested below them every other value that does not follow from the dials alone."""
    whole = config.model_dump(mode="json", context=EVERY_VALUE)
    defaults = {name: field.default for name, field in PipelineConfig.model_fields.items()}
    given = {name: whole[name] for name in DIALS if name in ALWAYS_SHOWN or getattr(config, name) != defaults[name]}
    try:
        start = dict(given) | ({"ingest": {"uri": config.ingest.uri}} if config.ingest.uri else {})
        derived = dict(leaves(PipelineConfig.model_validate(start).model_dump(mode="json", context=EVERY_VALUE)))
    except (ValidationError, ConfigError):  # the dials alone are no valid configuration: then every value is said
        derived = {}
    if config.ingest.uri:
        derived.pop("ingest.uri", None)
    for path, value in leaves(whole):
        if path not in DIALS and (path not in derived or derived[path] != value):
            _put(given, path, value)
    return given


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
    """Leaf paths with their values and the words of their docstrings; a model inside a model is walked through."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _walk(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, " ".join((field.description or "").split())


def _put(nested: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        nested = nested.setdefault(parent, {})
    nested[name] = value
