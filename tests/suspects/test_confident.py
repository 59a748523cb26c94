"""Confident learning against its definition, sample by sample, and joined trials against dense probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from bilp.config.suspects import LABEL_SCORES
from bilp.suspects import evidence as room
from bilp.suspects.confident import UNSURE, class_thresholds, confident_classes, estimated_errors
from bilp.suspects.evidence import Evidence, Softmax, gather
from bilp.suspects.label_scores import label_score, order


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def plainly(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[int], int]:
    """Thresholds, confident classes and their number, as the paper defines them."""
    classes = probabilities.shape[1]
    thresholds = np.array([np.mean([p[k] for p, y in zip(probabilities, labels, strict=True) if y == k]) for k in range(classes)])
    confident = []
    for p in probabilities:
        reached = [k for k in range(classes) if p[k] >= thresholds[k]]
        confident.append(max(reached, key=lambda k: p[k]) if reached else UNSURE)
    return thresholds, confident, sum(c not in (UNSURE, y) for c, y in zip(confident, labels.tolist(), strict=True))


@pytest.mark.parametrize("classes", [2, 5])
def test_counts_are_those_of_the_definition(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = np.concatenate((np.arange(classes), rng.integers(0, classes, 60)))
    probabilities = softmax(rng.normal(size=(len(labels), classes)) * 2)
    thresholds, confident, errors = plainly(probabilities, labels)
    found = class_thresholds(probabilities[np.arange(len(labels)), labels], labels, classes)
    np.testing.assert_allclose(found, thresholds)
    np.testing.assert_array_equal(confident_classes(probabilities, found), confident)
    assert estimated_errors(labels, np.array(confident)) == errors > 0


def test_a_class_without_samples_is_nobodys() -> None:
    labels = np.array([0, 0])
    thresholds = class_thresholds(np.array([0.5, 0.3]), labels, 2)
    assert thresholds.tolist() == [0.4, np.inf]
    assert confident_classes(np.array([[0.5, 0.5], [0.3, 0.7]]), thresholds).tolist() == [0, UNSURE]


@pytest.fixture
def trials() -> tuple[np.ndarray, np.ndarray, list[Softmax]]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, 40)
    dense = softmax(rng.normal(size=(3, 40, 6)) * 2)
    kept = [np.argsort(-each, axis=1, kind="stable") for each in dense]
    parts = [
        Softmax(
            each[np.arange(40), labels].astype(np.float32), order.astype(np.int32), np.take_along_axis(each, order, 1).astype(np.float32)
        )
        for each, order in zip(dense, kept, strict=True)
    ]
    return labels, dense, parts


def test_trials_are_joined_by_the_mean(trials: tuple[np.ndarray, np.ndarray, list[Softmax]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BLOCK", 6 * 7)  # several blocks, the last one shorter
    labels, dense, parts = trials
    found = gather(labels, 6, parts, {}, 4)
    mean = dense.mean(axis=0)
    own = mean[np.arange(40), labels]
    without = mean.copy()
    without[np.arange(40), labels] = -1
    np.testing.assert_allclose(found.own, own, atol=1e-6)
    np.testing.assert_allclose(found.other, without.max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(found.predicted, mean.argmax(axis=1))
    np.testing.assert_array_equal(found.confident, plainly(mean, labels)[1])


def test_classes_that_were_not_kept_make_no_difference_to_clear_predictions(
    trials: tuple[np.ndarray, np.ndarray, list[Softmax]],
) -> None:
    labels, _, parts = trials
    few = [Softmax(part.own, part.classes[:, :4], part.probabilities[:, :4]) for part in parts]
    whole, cut = gather(labels, 6, parts, {}, 4), gather(labels, 6, few, {}, 4)
    np.testing.assert_allclose(cut.own, whole.own)
    sure = np.abs(whole.own - whole.other) > 0.3
    assert sure.any()
    np.testing.assert_array_equal(cut.predicted[sure], whole.predicted[sure])


@pytest.mark.parametrize("name", list(LABEL_SCORES))
def test_label_scores_are_low_where_labels_look_wrong(name: str) -> None:
    good, bad = (
        {"aum": a, "loss_init": b, "loss_converge": b, "el2n": c, "forgetting": d} for a, b, c, d in ((5, 0.1, 0.1, 0), (-5, 6, 1.4, 4))
    )
    columns = {key: np.array([good[key], bad[key]], dtype=np.float64) for key in good}
    nobody = np.zeros(2, dtype=np.int64)
    evidence = Evidence(nobody, nobody, nobody, np.array([0.9, 0.01]), np.array([0.05, 0.98]), columns, 4)
    scores = label_score(name, evidence)
    assert 0 <= scores[1] < 0.05 < 0.9 <= scores[0] <= 1
    assert order(name, evidence)[1] < order(name, evidence)[0]


def test_the_default_score_is_the_softmax_of_two_logits() -> None:
    nobody = np.zeros(3, dtype=np.int64)
    margins = np.array([-800.0, 0.0, 2.0])
    evidence = Evidence(nobody, nobody, nobody, margins, margins, {"aum": margins}, 1)
    np.testing.assert_allclose(label_score("aum", evidence), [0.0, 0.5, np.exp(2) / (np.exp(2) + 1)])
