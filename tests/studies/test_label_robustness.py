"""DD-Ranking's label-robust score in a study: made of its own arms where labels are hard, and absent where something is missing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from study_parts import TWO_CELLS, Told, plan_of, row

from bilp.studies.study_exports import as_csv, as_records
from bilp.studies.study_page import study_page
from bilp.studies.study_table import Table, table_of

ARMS = {"full": {"baseline": "full"}, **TWO_CELLS["arms"]}
ACCURACY = {"full": 0.9, "random": 0.5, "unpruned": 0.7, "static": 0.7, "bilp": 0.8}


def table(missing: str = "", **changes: Any) -> Table:
    plan = plan_of(**{"arms": ARMS, **changes})
    rows = [
        row(block.cell.title, block.seed, arm, training, ACCURACY[arm] + 0.02 * block.seed + 0.01 * training)
        for block in plan.blocks
        for arm in plan.study.arms
        for training in (0, 1)
        if (arm, block.seed) != (missing, 2)
    ]
    return table_of(plan, [Told(rows)])  # type: ignore[list-item]


def score(real: float, synthetic: float, random: float) -> float:
    alpha = 0.5 * (synthetic - random) - 0.5 * (real - synthetic)
    return (math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1))


def test_the_score_is_that_of_the_mean_accuracies() -> None:
    found = table()
    for cell in found.plan.cells:
        told = {arm: found.of(cell, arm, "convnet") for arm in ARMS}
        assert told["bilp"] is not None and told["bilp"].label_robustness == pytest.approx(score(0.925, 0.825, 0.525))
        assert told["unpruned"] is not None and told["unpruned"].label_robustness == pytest.approx(score(0.925, 0.725, 0.525))
        assert all(entry is not None and entry.label_robustness is None for entry in (told["full"], told["random"]))
    page = study_page(found, "0" * 16, "", []).decode()
    shown = f"LRS {100 * score(0.925, 0.825, 0.525):.1f}"
    assert page.count(shown) == 2 and "LRS is the label-robust score of DD-Ranking" in page and "equal to both is 26.9" in page
    heads, first, *_ = as_csv(found).splitlines()
    assert heads.endswith(",label_robust_score") and first.endswith(",")  # of all real images there is none
    assert as_records(found)[-1]["label_robust_score"] == pytest.approx(100 * score(0.925, 0.825, 0.525))


def test_only_seeds_that_all_three_have_count() -> None:
    found = table("bilp")
    entry = found.of(found.plan.cells[0], "bilp", "convnet")
    assert entry is not None and entry.label_robustness == pytest.approx(score(0.915, 0.815, 0.515))


@pytest.mark.parametrize(
    "changes",
    [
        {"arms": TWO_CELLS["arms"]},
        {"arms": {name: entry for name, entry in ARMS.items() if name != "random"}},
        {"settings": {**TWO_CELLS["settings"], "evaluate": {"networks": [{"width": 8}], "labels": "soft"}}},
    ],
)
def test_without_all_that_it_is_made_of_there_is_none(changes: dict[str, Any]) -> None:
    found = table(**changes)
    assert found.entries and all(entry.label_robustness is None for entry in found.entries)
    assert "LRS" not in study_page(found, "0" * 16, "", []).decode()
