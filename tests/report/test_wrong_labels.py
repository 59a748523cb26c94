"""What the page says of wrong labels that either level found, where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bilp.artifacts import tables
from bilp.config import ReselectConfig
from bilp.report.collect import Effects, Run, Snapshot
from bilp.report.wrong_labels import within_classes, wrong_labels
from bilp.truth.table import Truth

COUNT = 8
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
WRONG = np.array([0, 0, 1, 1, 0, 0, 0, 1], dtype=bool)
NOTHING = Snapshot("final", np.zeros((0, 1, 1, 1), dtype=np.uint8), np.zeros(0, dtype=np.int64))


def _truth(wrong: np.ndarray = WRONG) -> Truth:
    return Truth("somewhere", "f" * 16, LABELS, np.where(wrong, (LABELS + 1) % 2, LABELS), wrong, np.full(COUNT, -1))


def _run(ite: list[float], dropped: list[int], ids: range = range(COUNT), **settings: object) -> Run:
    columns = {"sample_id": list(ids), "label": LABELS[list(ids)], "round": 1, "ite": ite, "ite_std": 0.0, "visits": 1}
    table = pd.DataFrame(columns).assign(dropped=[k in dropped for k in ids])
    losses = tables.LOSSES.empty_table().to_pandas()
    return Run("adaptive", 0, losses, (Effects(1, table),), (), ReselectConfig.model_validate(settings), (), NOTHING)


def _selection(score: list[float], dropped: list[int]) -> pd.DataFrame:
    kept = [k not in dropped for k in range(COUNT)]
    return pd.DataFrame({"sample_id": range(COUNT), "label": LABELS, "score": score, "rank_in_class": 0, "kept": kept})


EFFECTS = [1.0, 2.0, 3.0, 1.5, 5.0, 6.0, 7.0, 8.0]
SCORES = [0.1, 0.2, 0.3, 0.4, 0.1, 0.2, 0.4, 0.3]


def test_overlap_and_ranks_are_those_counted_by_hand() -> None:
    found = wrong_labels([_run(EFFECTS, [2, 7, 1])], _selection(SCORES, [3, 7, 6]), _truth(), "high")
    assert found is not None and (found.errors, found.total) == (3, 8)
    (row,) = found.rows
    assert row.by_effect == "0.88", "class 0: 3.0 above both right ones and 1.5 above one of two; class 1: all"
    assert row.by_score == "0.83", "class 0: all; class 1: two of three"
    assert (row.dropped_by_effect, row.dropped_by_score, row.dropped_by_both) == ("3 (2 wrong)", "3 (2 wrong)", "1 (1 wrong)")
    assert row.jaccard == "0.20"
    assert row.only_by_effect == "1 of 1"
    assert found.picture is not None and found.picture.count("c-dropped") == 3 and found.picture.count("c-kept") == 5


def test_a_low_end_that_is_dropped_is_the_suspicious_one() -> None:
    high = wrong_labels([_run(EFFECTS, [2])], _selection(SCORES, [3]), _truth(), "high")
    low = wrong_labels([_run(EFFECTS, [2])], _selection([-value for value in SCORES], [3]), _truth(), "low")
    signed = wrong_labels([_run([-value for value in EFFECTS], [2], score="signed")], _selection(SCORES, [3]), _truth(), "high")
    assert high is not None and low is not None and signed is not None
    assert high.rows[0].by_score == low.rows[0].by_score == signed.rows[0].by_score
    assert high.rows[0].by_effect == signed.rows[0].by_effect, "the most negative effects are the suspicious ones"


def test_of_samples_that_the_score_kept_only_what_was_left_out_besides_is_told() -> None:
    (row,) = wrong_labels([_run(EFFECTS[:3], [2], ids=range(3))], _selection(SCORES, [3, 6, 7]), _truth(), "high").rows  # type: ignore[union-attr]
    assert (row.dropped_by_effect, row.dropped_by_score, row.jaccard, row.only_by_effect) == ("1 (1 wrong)", "–", "–", "1 of 1")


def test_nothing_is_said_where_nobody_knows() -> None:
    run, selection = _run(EFFECTS, [2]), _selection(SCORES, [3])
    assert wrong_labels([run], selection, None, "high") is None
    assert wrong_labels([run], selection, _truth(np.zeros(COUNT, dtype=bool)), "high") is None
    assert wrong_labels([], selection, _truth(), "high") is None
    unscored = wrong_labels([run], None, _truth(), "high")
    assert unscored is not None and unscored.picture is None and unscored.rows[0].by_score == "–"


def test_ranks_within_classes_leave_out_classes_without_errors() -> None:
    score, wrong = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, False])
    assert within_classes(score, wrong, np.array([0, 0, 1, 1])) == 1.0
    assert np.isnan(within_classes(score, np.zeros(4, dtype=bool), np.zeros(4, dtype=np.int64)))
    assert within_classes(score, wrong, np.zeros(4, dtype=np.int64)) == pytest.approx(1 / 3)
