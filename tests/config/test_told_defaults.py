"""A default that somebody is told is the value that is used, for every data set and method; what rules decide is told nobody."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from pydantic import BaseModel

from bilp.config import CRITERIA, METHODS, PROTOCOLS, PipelineConfig
from bilp.config.base import Frozen, told
from bilp.config.explain import told_defaults
from bilp.config.nested import leaves, merge
from bilp.config.network import POOLS
from bilp.config.rules import RULES
from bilp.config.sources import SOURCES

OFTEN = ("dc", "idc", "soft")
"""Protocols that are looked at with every data set and method; the others with two pairs."""

# What a user may decide; each is looked at with every data set and method.
CHOICES: list[dict[str, Any]] = [
    {},
    *({"ipc": ipc} for ipc in (10, 50, 100)),
    {"seed": 3, "gpu": "tf32", "gpu_revision": 2, "keep": 0.3, "beta": 0.3},
    *({"evaluate": {"protocol": protocol}} for protocol in OFTEN),
    {"prune": {"per_class": False}},
    {"distill": {"iterations": 3}},
    {"distill": {"decode": {"factor": 1}}},
    {"score": {"epochs": 4}},
    {"ingest": {"resolution": 64}},
    {"evaluate": {"networks": [{"norm": "batch"}]}},
]
ONCE: list[dict[str, Any]] = [
    *({"prune": {"criterion": name}} for name in CRITERIA if name != "external"),
    {"prune": {"criterion": "external", "score_list": "list.json"}},
    *({"evaluate": {"pool": pool}} for pool in POOLS),
    *({"prune": {"rule": name}} if rule.found else {"keep": 0.1, "prune": {"rule": name}} for name, rule in RULES.items()),
    *({"evaluate": {"protocol": protocol}} for protocol in PROTOCOLS if protocol not in OFTEN),
]


EVERY = pytest.param(1, marks=pytest.mark.slow, id="every pair")
THIRD = pytest.param(3, id="every third pair")
"""Of data sets and methods, and every pair of the sets that most rules are about: each of both occurs several times."""


@cache
def configurations(nth: int) -> list[tuple[set[str], dict[str, Any]]]:
    """The paths given, and every value that follows, for each combination of every nth pair."""
    found = []
    pairs = itertools.product(enumerate(SOURCES), enumerate(METHODS))
    for (at, dataset), (place, method) in pairs:
        if (place - at) % nth and dataset not in ("digits", "cifar10", "cifar100"):
            continue
        base: dict[str, Any] = {"dataset": dataset, "method": method}
        if SOURCES[dataset].needs_uri:
            base["ingest"] = {"uri": "x"}
        for choice in CHOICES + (ONCE if (dataset, method) in (("digits", "dm"), ("cifar10", "dc")) else []):
            given = merge(base, choice)
            values = PipelineConfig.model_validate(given).model_dump()
            found.append(({path for path, _ in leaves(given)}, dict(leaves(values))))
    return found


def models() -> Iterator[tuple[str, type[Frozen]]]:
    """Every model with the path at which it lies."""

    def below(model: type[Frozen], prefix: str) -> Iterator[tuple[str, type[Frozen]]]:
        yield prefix, model
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Frozen):
                yield from below(field.annotation, f"{prefix}{name}.")

    return below(PipelineConfig, "")


def told_by_form() -> dict[str, str]:
    """What the form's descriptions say of the default, by path of the setting."""
    definitions = PipelineConfig.model_json_schema()
    schemas = {schema["title"]: schema for schema in (definitions, *definitions["$defs"].values())}
    found = {}
    for prefix, model in models():
        for name, value in schemas[model.__name__]["properties"].items():
            words = re.search(r" Default: (.*)\.$", value.get("description", ""))
            if words:
                found[f"{prefix}{name}"] = words[1]
            assert not re.search(r"usually|if empty, \d", value.get("description", ""), re.IGNORECASE)
    return found


@pytest.mark.parametrize("nth", [THIRD, EVERY])
def test_a_told_default_is_the_value_that_is_used(nth: int) -> None:
    defaults = told_defaults()
    assert len(defaults) > 60
    for given, values in configurations(nth):
        wrong = {path: (default, values[path]) for path, default in defaults.items() if path not in given and values[path] != default}
        assert not wrong, given


def test_the_form_tells_what_the_help_tells() -> None:
    scalars = {path: told(default) for path, default in told_defaults().items() if not isinstance(default, tuple)}
    assert told_by_form() == scalars


@pytest.mark.parametrize(
    "path", ["keep", "beta", "distill.iterations", "distill.learning_rate", "score.network.width", "evaluate.batch_size"]
)
def test_what_rules_decide_is_told_nobody(path: str) -> None:
    assert path not in told_defaults()
    assert path not in told_by_form()


@pytest.mark.parametrize("nth", [THIRD, EVERY])
def test_a_default_is_kept_back_only_where_a_rule_decides_it(nth: int) -> None:
    changed = set()
    for prefix, model in models():
        for name in model.by_rule:
            default = model.model_fields[name].default
            paths = [f"{prefix}{name}"] if not isinstance(default, BaseModel) else []
            if any(values.get(path, default) != default for path in paths for _, values in configurations(nth)):
                changed.add((model.__name__, name))
    kept_back = {(model.__name__, name) for _, model in models() for name in model.by_rule}
    assert kept_back == changed
