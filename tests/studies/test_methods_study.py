"""The study of all methods: it forgets none, gives each the levels that it has, and every arm of it can be carried out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bilp.api import studied
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import StudyPartFacts
from bilp.config import METHODS
from bilp.config.nested import merge
from bilp.config.reselect import RESELECT_SCORES
from bilp.studies.definition import load_study
from bilp.studies.study_plan import Plan, arms_in, planned

NARROW = {"width": 4, "depth": 1}
TINY: dict[str, Any] = {
    "score": {"trials": 1, "epochs": 4, "init_epochs": 2, "early_to": 4, "network": NARROW},
    "reselect": {"candidates_per_class": 6},
    "distill": {"iterations": 2, "rounds": 1, "batch_real": 8, "network": NARROW},
    "evaluate": {"epochs": 1, "networks": [NARROW], "teacher": {"network": NARROW, "epochs": 1}},
}
KERNELS: dict[str, Any] = {"distill": {"outer_loops": 1, "idc": {"train_samples": 16}}}
TRAJECTORY: dict[str, Any] = {
    "experts": {"count": 1, "epochs": 2, "batch_size": 256},
    "distill": {"trajectory": {"steps": 2, "expert_epochs": 1, "max_start": 1}},
}
SHORTER: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("idc", "dream"), KERNELS),
    **dict.fromkeys(("mtt", "tesla"), TRAJECTORY),
    "idm": {"distill": {"idm": {"train_steps": 1}}},
    "cafe": {"distill": {"alignment": {"watched": 2, "most_steps": 1, "most_epochs": 1, "measured_per_class": 4}}},
    "ncfm": {"distill": {"characteristic": {"frequencies": 16, "pretrained": {"networks": 1, "epochs": 1}}}},
    "lgm": {"distill": {"idc": {"pretrained": {"epochs": 1}}}},
}
"""What else makes the cells of a method short; a method that is not here takes as long as in the study."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    study, _ = load_study("methods")
    return planned(study.model_copy(update={"seeds": 1}), "methods")


def test_no_method_is_forgotten(plan: Plan) -> None:
    methods = [block.groups[0].config.method for block in plan.blocks]
    assert sorted(methods) == sorted([*METHODS] * 2), "with right and with wrong labels"
    assert all(block.cell.title.endswith(f", {block.groups[0].config.method}") for block in plan.blocks), "cells say which method they are"


@pytest.mark.parametrize("name", METHODS)
def test_each_method_has_the_levels_that_its_entry_says(name: str, plan: Plan) -> None:
    method = METHODS[name]
    levels = {"static"} | ({"adaptive", "bilp"} if method.adaptive else set()) | ({"signed"} if method.signed else set())
    for cell in (block.cell for block in plan.blocks if block.groups[0].config.method == name):
        assert set(arms_in(plan.study, cell)) == {"real", "unpruned"} | levels
    if method.signed:
        assert RESELECT_SCORES[plan.first["signed"].reselect.score].signed


def test_all_arms_but_the_signed_one_are_one_pipeline(plan: Plan) -> None:
    """So that data, scores, selection and baseline are made once, and arms are compared at equal beta."""
    for block in plan.blocks:
        assert [len(group.arms) for group in block.groups] == [
            len(set(arms_in(plan.study, block.cell)) - {"real", "signed"}),
            *([1] if METHODS[block.groups[0].config.method].signed else []),
        ]


@pytest.mark.slow
def test_every_arm_is_carried_out(tmp_path: Path) -> None:
    study, _ = load_study("methods")
    given = study.model_dump(exclude_unset=True)
    given["grid"]["labels"].pop("right")
    given["grid"]["by"] = {name: merge(settings, SHORTER.get(name, {})) for name, settings in given["grid"]["by"].items()}
    found = studied.study(merge(given, {"seeds": 1}), root=str(tmp_path), **TINY)
    assert set(found.rows["cell"]) == {f"20 % wrong, {name}" for name in METHODS}
    assert found.rows["accuracy"].between(0, 1).all()
    part = Path(found.page.removeprefix("file://")).parent / "parts" / "0000"
    spent = open_artifact(str(part), "study_part").stated(StudyPartFacts).worked
    stages = pd.read_parquet(part / "seconds.parquet")["seconds"]
    assert 0 < stages.sum() <= spent, "nothing is counted twice"
    adaptive = set(found.detection[found.detection["arm"] == "adaptive"]["cell"])
    assert adaptive == {f"20 % wrong, {name}" for name in METHODS if METHODS[name].adaptive}
