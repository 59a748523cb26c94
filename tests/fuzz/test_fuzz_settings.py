"""Recipes, command lines and parameters of deployments, edited: valid settings, or lines that say what is wrong."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from random import Random
from typing import Any

import yaml
from fuzz_world import RECIPE
from judging import Conclude, Tally, judge, run_cases
from mutations import VALUES, damaged, deep, edited
from prefect.exceptions import ParameterTypeError
from pydantic import ValidationError

from bilp.config import PipelineConfig
from bilp.config.base import MOST_BITS
from bilp.config.command_line import configure
from bilp.config.explain import explain, problems
from bilp.config.nested import leaves
from bilp.errors import ConfigError
from bilp.text.escaping import shown

MOST_LINES, LONGEST_LINE = 21, 3000
HOSTILE = [
    "\x1b[31m",
    "\u202e",
    "a\nb",
    "[/red]",
    "'",
    '"',
    "{",
    "[",
    "null",
    "none",
    "nan",
    "1e999",
    "9" * 400,
    "9" * 5000,
    "-",
    "--",
    "",
    "\\",
    "é",
    "&x",
    "*x",
    "<<",
]


def sound(config: PipelineConfig) -> str | None:
    """Settings that can be said again: every value is one of JSON's, finite, and countable."""
    values = dict(leaves(config.model_dump(mode="json")))
    text = json.dumps(values, allow_nan=False)
    again = PipelineConfig.model_validate(config.model_dump())
    if again != config:
        return "the settings do not survive a round trip"
    if any(isinstance(value, int) and value.bit_length() > MOST_BITS for value in values.values()):
        return "a number without end"
    return None if text else "nothing"


def validated(given: dict[str, Any]) -> PipelineConfig:
    """The configuration; what is wrong becomes one error of the lines that a program would print."""
    try:
        config = PipelineConfig.model_validate(given)
    except ValidationError as error:
        lines = problems(error, given)
        assert 0 < len(lines) <= MOST_LINES, f"{len(lines)} lines"
        assert all(line and len(shown(line)) <= LONGEST_LINE for line in lines), f"a line of {max(map(len, lines))} characters"
        raise ConfigError(lines[0]) from error
    explain(given)
    return config


# --- recipes ------------------------------------------------------------------------------------------------------------------------


def another_recipe(random: Random) -> bytes:
    """Damaged text, other values in the right structure, or the tricks that YAML knows."""
    kind = random.choice(["bytes", "lines", "value", "value", "tree", "trick"])
    lines = RECIPE.splitlines()
    place = random.randint(1, len(lines) - 1)
    if kind == "bytes":
        return damaged(RECIPE.encode(), random)
    if kind == "lines":
        lines[place] = random.choice(
            [lines[place] * 2, f"  {lines[place]}", lines[place].lstrip(), "\t" + lines[place], lines[random.randint(0, 5)]]
        )
    elif kind == "value":
        key, colon, _ = lines[place].partition(":")
        lines[place] = (
            f"{key}{colon} {random.choice([*HOSTILE, *(json.dumps(value, default=str) for value in VALUES if value != 10**400)])}"
        )
    elif kind == "tree":
        tree = edited(yaml.safe_load(RECIPE), random)
        return json.dumps(tree).encode("utf-8", "surrogatepass")
    else:
        lines[place] += random.choice(
            [" &a", "\na: *a", "\n<<: {ipc: 3}", "\n---", "\n...", " !!python/name:os.system", "\n? [a]", "\0", "\ufeff", "\x85"]
        )
        lines += [f"deep: {'[' * 3000}"] if random.random() < 0.2 else []
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def test_recipes(tmp_path: Path, conclude: Conclude) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(RECIPE)
    original = validated({"recipe": str(file)})

    def case(random: Random, tally: Tally) -> None:
        content = another_recipe(random)
        file.write_bytes(content)
        judge(lambda: validated({"recipe": str(file)}), original, sound, tally, repr(content))

    conclude(run_cases("recipe", 150, case))


# --- mappings and parameters --------------------------------------------------------------------------------------------------------


def another_mapping(random: Random) -> dict[str, Any]:
    tree: Any = yaml.safe_load(RECIPE)
    for _ in range(random.randint(1, 2)):
        tree = edited(tree, random)
    if isinstance(tree, dict) and random.random() < 0.05:
        tree["distill"] = tree
    return tree if isinstance(tree, dict) else {"dataset": tree}


def test_settings_in_python(conclude: Conclude) -> None:
    original = validated(yaml.safe_load(RECIPE))

    def case(random: Random, tally: Tally) -> None:
        given = another_mapping(random)
        judge(lambda: validated(given), original, sound, tally, "a mapping")

    conclude(run_cases("settings", 120, case))


def test_parameters_of_deployments(conclude: Conclude) -> None:
    """As a server hands them in: Prefect refuses what does not fit, in a line that a table of runs has room for."""
    from flows.evaluate import evaluate
    from flows.pipeline import pipeline
    from flows.units.table import score_trial

    config = yaml.safe_load(RECIPE)
    flows = {
        pipeline: {"config": config, "root": None},
        score_trial: {"dataset_uri": "x", "config": config["score"], "trial": 0, "root": None},
        evaluate: {"dataset_uri": "x", "runs": {"bilp": ["x"]}, "ipc": 1, "config": {"seeds": 2}, "root": None},
    }

    def validate(flow: Any, parameters: Any) -> object:
        try:
            return flow.validate_parameters(parameters)
        except ParameterTypeError as error:
            text = str(error)
            assert shown(text) == text, f"text of {len(text)} characters: {text[:300]!a}"
            raise ConfigError(text) from error

    def case(random: Random, tally: Tally) -> None:
        flow = random.choice(list(flows))
        parameters = {name: edited({name: value}, random).get(name, value) for name, value in flows[flow].items()}
        judge(lambda: validate(flow, parameters), None, lambda found: None, tally, f"{flow.name}: {repr(parameters)[:500]}")

    conclude(run_cases("parameters", 80, case))


# --- command lines ------------------------------------------------------------------------------------------------------------------

OPTIONS = [path for path, _ in leaves(PipelineConfig().model_dump(mode="json"))]


def a_command_line(random: Random) -> list[str]:
    found = []
    for _ in range(random.randint(1, 4)):
        option = random.choice(OPTIONS)
        if random.random() < 0.1:
            option = random.choice(
                [option + "x", option.replace("_", "-"), option.partition(".")[0], random.choice(HOSTILE), f"{option}.0"]
            )
        value = random.choice(
            [*HOSTILE, "1", "0", "-1", "0.5", "dm", "convnet", "a,b", '{"a": 1}', "[1,2]", json.dumps(deep(200)), "x" * 5000, "true", "no"]
        )
        found += random.choice([[f"--{option}", value], [f"--{option}={value}"], [value]])
    return [*found, *(["--explain"] if random.random() < 0.5 else [])]


def test_command_lines(conclude: Conclude) -> None:
    def carried_out(arguments: list[str]) -> object:
        out, err = io.StringIO(), io.StringIO()
        status: object = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                configure(arguments, "program", "Words.")
            except SystemExit as end:
                status = end.code
        lines = (out.getvalue() + err.getvalue()).splitlines()
        assert all(shown(line) == line for line in lines), "a line is not printable"
        if status == 2:
            assert 0 < len(lines) <= MOST_LINES and all(line.startswith("program: error: ") for line in lines), f"{len(lines)} lines"
            assert max(map(len, lines)) <= LONGEST_LINE + 20, "a line is too long"
            raise ConfigError(lines[0])
        assert status == 0, f"status {status}"
        return status

    def case(random: Random, tally: Tally) -> None:
        arguments = a_command_line(random)
        judge(lambda: carried_out(arguments), None, lambda found: None, tally, repr(arguments)[:500])

    conclude(run_cases("command line", 80, case))
