"""What the page says about how adaptive pruning kept to its aim."""

from __future__ import annotations

import numpy as np
import pytest

from bilp.report.decisions import Decisions, aim_sentence, round_shares, spread_so_far

NAMES = ("ant", "bee", "cow")


def _made(number: int, decided: list[int], dropped: list[int], by_quantile: tuple[int, ...] = ()) -> Decisions:
    return Decisions(number, np.array(decided), np.array(dropped), by_quantile)


def test_shares_of_rounds_come_from_what_was_added() -> None:
    shares = round_shares([_made(1, [50, 50], [5, 5]), _made(2, [50, 50], [5, 5]), _made(4, [100, 100], [25, 5])])
    assert shares == {1: pytest.approx(0.1), 4: pytest.approx(0.2)}


def test_the_spread_over_classes_ignores_those_without_decisions() -> None:
    assert spread_so_far(_made(1, [100, 100, 0], [5, 15, 0])) == "10\u00a0% (5\u00a0% to 15\u00a0%)"
    assert spread_so_far(_made(1, [0], [0])) == "–"


def test_a_missed_aim_is_said_and_classes_that_fell_back_are_named() -> None:
    kept = aim_sentence([_made(2, [100, 100, 100], [8, 10, 14])], 0.1, NAMES, False)
    assert "within 2 percentage points" in kept
    assert "fitted every class" in kept
    missed = aim_sentence([_made(2, [100, 100, 100], [3, 2, 4], (1,)), _made(2, [10, 10, 10], [0, 0, 0], (2,))], 0.1, NAMES, False)
    assert "MISSED by more than 2 percentage points" in missed
    assert "In 2 classes" in missed
    assert "bee, cow" in missed
    assert "throughout" in aim_sentence([_made(1, [10], [1])], 0.1, NAMES, True)
    assert aim_sentence([_made(1, [0], [0])], 0.1, NAMES, True) == ""
