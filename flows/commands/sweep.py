"""bilp sweep --dataset digits --vary keep=0.5,0.8 --vary ipc=1,10

The pipeline for every combination of the values of some settings, one after the other; what combinations share is computed once.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bilp.config.command_line import configure, parse
from bilp.config.explain import problems
from bilp.config.given import require_few
from bilp.config.nested import leaves, merge, nest
from bilp.config.pipeline import PipelineConfig
from bilp.errors import BilpError, ConfigError
from bilp.results.side_by_side import written_about
from flows import program
from tasks import output

OPTION = "--vary"
TOLD = f"""The option of its own, which may be repeated:
  {OPTION} SETTING=VALUE,VALUE,...   values of a setting, such as keep=0.5,0.8; lists of lists as JSON: 'arms=[["unpruned"], ["bilp"]]'"""


@dataclass(frozen=True)
class Plan:
    """What was typed."""

    given: dict[str, Any]
    """What all pipelines have in common."""
    vary: dict[str, list[Any]]
    """Values by the dotted name of their setting."""


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    plan = planned(arguments, name, f"{description}\n\n{TOLD}")
    from flows.sweep import sweep  # which imports Prefect

    def show(reports: list[str]) -> None:
        for values, report in zip(combinations(plan.vary), reports, strict=True):
            program.show_uri(", ".join(f"{path} {value}" for path, value in values.items()), report)
        compared = written_about(reports)
        if compared:
            program.show_uri("side by side", compared)

    program.guarded(name, lambda: sweep(plan.given, plan.vary), show)


def planned(arguments: Sequence[str], name: str, description: str) -> Plan:
    """What a command line means, every combination checked. Wrong values end the program with status 2 and a line for each."""
    typed, rest = _split(arguments)
    try:
        with output.readers_may_go():
            command = parse(rest, name, description)
            if command.explain:  # what the pipelines have in common
                configure(rest, name, description)
        given = command.given
        if not typed:
            raise ConfigError(f"nothing is varied: say what, as in {OPTION} keep=0.5,0.8")
        vary: dict[str, list[Any]] = {}
        for each in typed:
            path, values = _values(each)
            if path in vary:
                raise ConfigError(f"{OPTION} {path} is there twice: give all its values at once")
            vary[path] = values
        require_few(vary)  # before each is looked at
        vary = {path: [_as_typed(path, value, name) for value in values] for path, values in vary.items()}
    except BilpError as error:
        program.refuse(name, str(error))
    for chosen in combinations(vary):
        _check(name, given, chosen)
    return Plan(given, vary)


def combinations(vary: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """A value for each setting, in the order in which `flows.sweep` runs them."""
    return [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The values of every OPTION, and the other arguments."""
    typed: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        if option == OPTION:
            typed.append(value if equals else next(waiting, ""))
        else:
            rest.append(argument)
    return typed, rest


def _values(typed: str) -> tuple[str, list[Any]]:
    """The setting and its values: what stands between commas, or a list in JSON."""
    path, equals, values = typed.partition("=")
    path = path.strip().removeprefix("--").replace("-", "_")
    if not (path and equals and values.strip()):
        raise ConfigError(f"{OPTION} {typed!r} gives no values: write a setting and its values, as in {OPTION} keep=0.5,0.8")
    if not values.lstrip().startswith("["):
        return path, [value.strip() for value in values.split(",")]
    try:
        found = json.loads(values)
    except ValueError as error:
        raise ConfigError(f"{OPTION} {path}: what begins with [ is a list in JSON, and this is none ({error})") from None
    if not found:
        raise ConfigError(f"{OPTION} {path}: the list holds no value")
    return path, found


def _as_typed(path: str, value: Any, name: str) -> Any:
    """The value as the option of the setting takes it; values of JSON are taken as they are."""
    if not isinstance(value, str):
        return value
    found = dict(leaves(parse([f"--{path}={value}"], f"{name} {OPTION}", "").given)).get(path, value)
    try:
        number = json.loads(found)
    except (TypeError, ValueError):
        return found
    return number if type(number) in (int, float) else found


def _check(name: str, given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for path, value in values.items():
        given = merge(given, nest(path, value))
    try:
        PipelineConfig.model_validate(given)
    except ValidationError as error:
        program.refuse(name, *problems(error, given))
    except BilpError as error:
        program.refuse(name, str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
