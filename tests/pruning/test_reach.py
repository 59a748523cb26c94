"""How much of a class the adaptive level can keep away, and what is told about it; `tests/distill/test_reach_of_runs.py` runs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bilp.config import PipelineConfig, ReselectConfig
from bilp.config.arms import planned_runs
from bilp.data.pool import even_chunks
from bilp.pruning.reach import reach, turns_of
from bilp.pruning.reach_words import ReachTold, told_reach


def test_turns_are_the_parts_that_a_pool_is_cut_into() -> None:
    for count in (*range(1, 40), 144, 5000):
        for most in (None, 2, 3, 7, 16, 144, 10_000):
            parts = even_chunks(torch.arange(count), most or count)
            assert turns_of(count, most) == [len(part) for part in parts], (count, most)


def test_the_recorded_runs_are_told() -> None:
    """Both are of docs/level2.md, where so many were away in the last round."""
    on_digits = reach(144, 5, 64, ReselectConfig(beta=0.3, low_share=0.0, candidates_per_class=18))
    on_cifar10 = reach(5000, 4, 256, ReselectConfig(beta=0.3, low_share=0.0, candidates_per_class=36))
    assert (on_cifar10.measured, on_cifar10.got, on_cifar10.short) == (144, 43, True)
    assert (on_digits.measured, on_digits.got, on_digits.short) == (90, 27, False)


def test_half_of_what_is_asked_for_is_the_boundary() -> None:
    def short(candidates: int, **settings: Any) -> bool:
        return reach(1000, 5, 64, ReselectConfig(beta=0.2, candidates_per_class=candidates, **settings)).short

    assert [short(98), short(100), short(1000)] == [True, False, False]
    assert [short(98, mode="weight"), short(100, mode="weight")] == [True, False]
    assert not short(98, interval=1) and not short(98, interval=3, mode="shrink") and short(80, interval=3)


def told(counts: list[int], **given: Any) -> ReachTold:
    config = PipelineConfig.model_validate({"dataset": "digits", **given})
    return told_reach(planned_runs(config), lambda run: np.array(counts))


def test_a_warning_names_the_setting_that_is_in_the_way() -> None:
    few = {"distill": {"iterations": 20, "rounds": 4}}
    found = told([144, 144], beta=0.3, arms=["adaptive", "bilp", "unpruned"], **few)
    assert found.sentences == (
        "adaptive pruning (adaptive, bilp): of each class, with 144 images, 64 are measured in 4 rounds, and at most 19 (13 %) can be away "
        "at once, where reselect.beta = 0.3 asks for 30 %",
    )
    assert found.warnings == (
        "adaptive pruning (adaptive, bilp) keeps away at most 13 % of a class, less than half of the 30 % that reselect.beta asks for: "
        "set reselect.candidates_per_class to 36 (it is 16), so that 4 rounds measure every sample",
    )
    followed = told([144, 144], beta=0.3, arms=["adaptive"], reselect={"candidates_per_class": 36}, **few)
    assert not followed.warnings and "all are measured in 4 rounds, and at most 43 (30 %)" in followed.sentences[0]
    (floor,) = told([30, 30], beta=0.5, reselect={"minimum_per_class": 25}).warnings
    assert "lower reselect.minimum_per_class (25)" in floor
    (small,) = told([4, 40], beta=0.1, reselect={"candidates_per_class": None}, distill={"rounds": 1}).warnings
    assert "of a class in 1 of 2 classes" in small and "keep more samples of the class" in small


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"beta": "auto"}, "are decided on, of which reselect.beta = auto is a share"),
        ({"reselect": {"mode": "weight", "candidates_per_class": 16}}, "get a weight of their own"),
    ],
)
def test_what_is_not_known_or_not_dropped_is_told_by_what_is_measured(given: dict[str, Any], sentence: str) -> None:
    found = told([144], distill={"iterations": 20, "rounds": 4}, **given)
    assert "64 are measured in 4 rounds, and at most 64 (44 %) " + sentence in found.sentences[0]
    assert "reaches at most 44 % of a class, less than half of the class" in found.warnings[0]


def test_arms_without_adaptive_pruning_are_told_nothing() -> None:
    assert told([144], arms=["unpruned", "static"]) == ReachTold((), ()) == told([144], method="mtt", arms=["unpruned", "bilp"])
