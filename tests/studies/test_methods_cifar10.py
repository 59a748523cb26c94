"""The study of all methods on CIFAR-10: it forgets none, and gives each the levels that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from bilp.config import METHODS
from bilp.studies.definition import load_study
from bilp.studies.study_plan import Plan, arms_in, planned

FILE = Path(__file__).parents[2] / "benchmarks" / "methods" / "cifar10.yaml"


@pytest.fixture(scope="module")
def plan() -> Plan:
    study, _ = load_study(str(FILE))
    return planned(study.model_copy(update={"seeds": 1}), "cifar10.yaml", {"ingest": {"uri": "small"}})


def test_every_method_has_a_cell_with_the_levels_of_its_entry(plan: Plan) -> None:
    found = {block.groups[0].config.method: set(arms_in(plan.study, block.cell)) for block in plan.blocks}
    assert found == {name: {"real", "unpruned", "static"} | ({"bilp"} if entry.adaptive else set()) for name, entry in METHODS.items()}
    assert {block.cell.title for block in plan.blocks} == {f"right, {name}" for name in METHODS}, "as the tables expect cells to be called"


def test_level_two_measures_all_candidates_that_level_one_leaves_of_a_class(plan: Plan) -> None:
    for config in (group.config for block in plan.blocks for group in block.groups):
        assert config.reselect.candidates_per_class == round(100 * config.prune.keep)
