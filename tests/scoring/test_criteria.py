"""Criteria against hand computation, and moments over trials against NumPy."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.config import ScoreConfig
from bilp.config.criteria import CRITERIA, SUMMARIZED
from bilp.errors import ConfigError, DataError
from bilp.scoring.criteria import Moments, Trajectory, criterion_of

FUNCTIONS = {name: criterion_of(column) for name, column in SUMMARIZED.items()}


def record_of(losses, correct, el2n=None, margins=None, gradient_norms=None):
    """A record; what is not given is zero."""
    zeros = np.zeros(losses.shape, dtype=np.float32)
    return Trajectory(losses, correct, zeros if el2n is None else el2n, zeros if margins is None else margins, gradient_norms)


def test_by_hand():
    # three epochs, two samples
    losses = np.array([[2.0, 1.0], [1.5, 0.5], [0.5, 3.0]], dtype=np.float32)
    correct = np.array([[False, True], [False, True], [True, False]])
    el2n = np.array([[1.0, 0.5], [0.5, 0.25], [0.25, 1.25]], dtype=np.float32)
    margins = np.array([[-3.0, 1.0], [-1.0, 2.0], [1.0, -6.0]], dtype=np.float32)
    norms = np.array([[np.nan, np.nan], [4.0, 2.0], [2.0, 8.0]], dtype=np.float32)
    config = ScoreConfig(epochs=3, init_epochs=2, converge_epochs=1, early_from=2, early_to=3)
    record = record_of(losses, correct, el2n, margins, norms)
    values = {name: criterion(record, config).tolist() for name, criterion in FUNCTIONS.items()}
    assert values["loss_init"] == [1.75, 0.75]
    assert values["loss_converge"] == [0.5, 3.0]
    assert values["accuracy"] == pytest.approx([1 / 3, 2 / 3], abs=1e-15)
    assert values["el2n"] == [0.375, 0.75]
    assert values["forgetting"] == [0.0, 1.0]
    assert values["aum"] == [-1.0, -1.0]
    assert values["grand"] == [3.0, 5.0]
    assert np.isnan(FUNCTIONS["grand"](record_of(losses, correct), config)).all()


@pytest.mark.parametrize(
    ("course", "events"), [("0000", 4), ("1111", 0), ("0101", 1), ("1010", 2), ("0001", 0), ("1000", 1), ("0110", 1), ("1", 0), ("0", 1)]
)
def test_forgetting_counts_changes_from_correct_to_incorrect(course, events):
    """A sample that was never correct counts as forgotten once per epoch: more often than any that was learned."""
    correct = np.array([[letter == "1"] for letter in course])
    config = ScoreConfig(epochs=len(course), init_epochs=1)
    assert FUNCTIONS["forgetting"](record_of(np.ones(correct.shape, dtype=np.float32), correct), config).tolist() == [events]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 2**32 - 1), st.data())
def test_windows_are_means_of_their_epochs(epochs, samples, seed, data):
    first, last = data.draw(st.integers(1, epochs)), data.draw(st.integers(1, epochs))
    rng = np.random.default_rng(seed)
    trajectory = record_of(rng.exponential(size=(epochs, samples)).astype(np.float32), rng.random((epochs, samples)) < 0.5)
    config = ScoreConfig(epochs=epochs, init_epochs=first, converge_epochs=last)
    for sample in range(samples):
        column = [float(value) for value in trajectory.losses[:, sample]]
        assert FUNCTIONS["loss_init"](trajectory, config)[sample] == pytest.approx(sum(column[:first]) / first, rel=1e-14)
        assert FUNCTIONS["loss_converge"](trajectory, config)[sample] == pytest.approx(sum(column[-last:]) / last, rel=1e-14)
        assert FUNCTIONS["accuracy"](trajectory, config)[sample] == trajectory.correct[:, sample].sum() / epochs


def test_float32_rows_are_summed_in_float64():
    losses = np.full((3000, 1), 0.1, dtype=np.float32)
    config = ScoreConfig(epochs=3000, init_epochs=3000)
    value = FUNCTIONS["loss_init"](record_of(losses, losses > 0), config)[0]
    assert value == pytest.approx(float(np.float32(0.1)), rel=1e-13)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e6]))
def test_moments_agree_with_numpy(trials, seed, offset):
    values = np.random.default_rng(seed).normal(size=(trials, 5)) + offset
    moments = Moments(5)
    for row in values:
        moments.add(row)
    assert moments.count == trials
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12, atol=1e-12)
    expected = values.std(axis=0, ddof=1) if trials > 1 else np.zeros(5)
    np.testing.assert_allclose(moments.std(), expected, rtol=1e-8, atol=1e-12)


def test_refuses_records_of_another_shape():
    with pytest.raises(DataError, match=r"one shape .* not losses \(2, 3\), correct \(3, 2\)"):
        record_of(np.zeros((2, 3), dtype=np.float32), np.zeros((3, 2), dtype=np.bool_))


def test_cad_is_the_mean_deviation_of_windows_of_the_error_norm():
    el2n = np.random.default_rng(0).random((6, 7)).astype(np.float32)
    found = criterion_of(CRITERIA["cad"].column)(
        record_of(np.zeros((6, 7), np.float32), np.zeros((6, 7), bool), el2n), ScoreConfig(epochs=6)
    )
    windows = [[float(value) for value in el2n[k : k + 4, 0]] for k in (0, 1)]  # K = 6, W = 2, J = 4: published for 10 images per class
    assert found[0] == pytest.approx(sum(statistics.stdev(window) for window in windows) / 2)
    assert np.allclose(found, np.mean([el2n[k : k + 4].astype(float).std(axis=0, ddof=1) for k in (0, 1)], axis=0))
    still = record_of(np.zeros((4, 2), np.float32), np.zeros((4, 2), bool), np.full((4, 2), 0.5, np.float32))
    assert criterion_of(CRITERIA["cad"].column)(still, ScoreConfig(epochs=4, init_epochs=4)).tolist() == [0.0, 0.0]
    short = record_of(np.zeros((3, 2), np.float32), np.zeros((3, 2), bool))
    with pytest.raises(ConfigError, match="criterion cad needs records of 4 epochs or more, not 3: raise score.epochs"):
        criterion_of(CRITERIA["cad"].column)(short, ScoreConfig(epochs=3, init_epochs=3))
