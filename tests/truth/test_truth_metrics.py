"""Each metric beside its definition, with and without ties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from bilp.seeds import generator
from bilp.truth.metrics import auprc, auroc, precision_at_errors


def drawn(number: int, values: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of so many different values, and flags, of which at least one is set and one is not."""
    stream = generator(number, "metrics")
    size = int(torch.randint(3, 9, (), generator=stream))
    wrong = torch.rand(size, generator=stream).numpy() < 0.4
    wrong[:2] = True, False
    return torch.randint(0, values, (size,), generator=stream).numpy().astype(np.float64), wrong


def pairs(score: np.ndarray, wrong: np.ndarray) -> float:
    """AUROC as the share of pairs that are in order."""
    points = [(one > other) + 0.5 * (one == other) for one in score[wrong] for other in score[~wrong]]
    return float(np.mean(points))


def thresholds(score: np.ndarray, wrong: np.ndarray) -> float:
    """Average precision, one threshold after another."""
    area, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        taken = score >= threshold
        recall = (wrong & taken).sum() / wrong.sum()
        area += (recall - before) * (wrong & taken).sum() / taken.sum()
        before = recall
    return float(area)


def orders(score: np.ndarray, wrong: np.ndarray) -> float:
    """Precision among the first k, its mean over all orders in which equal scores can stand."""
    found = []
    for order in itertools.permutations(range(len(score))):
        ranked = score[list(order)]
        if (ranked[1:] <= ranked[:-1]).all():
            found.append(wrong[list(order)][: wrong.sum()].mean())
    return float(np.mean(found))


@pytest.mark.parametrize("values", [2, 4, 1000])
@pytest.mark.parametrize("number", range(8))
def test_each_is_what_its_definition_says(number: int, values: int) -> None:
    score, wrong = drawn(number, values)
    assert auroc(score, wrong) == pytest.approx(pairs(score, wrong), abs=1e-12)
    assert auprc(score, wrong) == pytest.approx(thresholds(score, wrong), abs=1e-12)
    if len(score) < 8:
        assert precision_at_errors(score, wrong) == pytest.approx(orders(score, wrong), abs=1e-12)


def test_the_best_the_worst_and_no_information() -> None:
    wrong = np.array([True, True, False, False, False])
    assert (auroc(wrong * 1.0, wrong), auprc(wrong * 1.0, wrong), precision_at_errors(wrong * 1.0, wrong)) == (1.0, 1.0, 1.0)
    assert (auroc(wrong * -1.0, wrong), precision_at_errors(wrong * -1.0, wrong)) == (0.0, 0.0)
    same = np.zeros(5)
    assert (auroc(same, wrong), auprc(same, wrong), precision_at_errors(same, wrong)) == (0.5, 0.4, 0.4)
    assert auroc(np.array([np.inf, 3.0, -np.inf, 0.0, 1.0]), wrong) == 1.0


def test_without_both_kinds_of_labels_nothing_is_measured() -> None:
    score = np.arange(3.0)
    none, all_ = np.zeros(3, dtype=np.bool_), np.ones(3, dtype=np.bool_)
    assert all(math.isnan(metric(score, none)) for metric in (auroc, auprc, precision_at_errors))
    assert math.isnan(auroc(score, all_))
    assert (auprc(score, all_), precision_at_errors(score, all_)) == (1.0, 1.0)


@pytest.mark.parametrize("metric", [auroc, auprc, precision_at_errors])
def test_what_cannot_be_ranked_is_refused(metric: object) -> None:
    assert callable(metric)
    wrong = np.array([True, False])
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        metric(np.array([np.nan, 1.0]), wrong)
    with pytest.raises(ValueError, match=r"scores \[3\] and flags \[2\]"):
        metric(np.zeros(3), wrong)
    with pytest.raises(ValueError, match="flags are true or false, not int64"):
        metric(np.zeros(2), np.array([0, 1]))
