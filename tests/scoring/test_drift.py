"""Distances of distributions against plain restatements, and what is tolerated of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_1samp, ks_2samp, uniform

from bilp.scoring.drift import TOLERATED, distance, drift, middle_ranks, tolerated, uniform_distance
from bilp.seeds import generator


def drawn(name: str, count: int) -> np.ndarray:
    return torch.randn(count, generator=generator(0, "test", name), dtype=torch.float64).numpy()


@pytest.mark.parametrize(("one", "other"), [(5, 9), (40, 3), (1, 1)])
def test_distances_are_those_of_kolmogorov_and_smirnov(one: int, other: int):
    first, second = np.sort(drawn("first", one).round(1)), np.sort(drawn("second", other).round(1) + 0.3)
    assert distance(first, second) == pytest.approx(ks_2samp(first, second).statistic)
    places = np.sort(np.abs(drawn("places", one)) % 1)
    assert uniform_distance(places) == pytest.approx(ks_1samp(places, uniform.cdf).statistic)


def test_a_place_is_the_share_below_and_half_of_what_is_equal():
    old, new = np.array([0.0, 1.0, 1.0, 2.0]), np.array([-1.0, 1.0, 1.5, 5.0])
    assert middle_ranks(old, new).tolist() == [np.mean((old < value) + (old == value) / 2) for value in new]


def test_equal_distributions_have_not_drifted_and_shifted_ones_have():
    labels, few = np.arange(4000) % 4, np.arange(400) % 4
    old, new = drawn("old", 4000), drawn("new", 400)
    assert not drift(old, labels, new, few, 4).drifted.any()
    shifted = drift(old, labels, np.where(few == 2, new + 1.5, new), few, 4)
    assert shifted.drifted.tolist() == [False, False, True, False, False]
    everywhere = drift(old, labels, new + 1.5, few, 4)
    assert everywhere.drifted.all() and everywhere.new.tolist() == [100] * 4 + [400]


def test_a_small_shift_everywhere_is_tolerated_and_a_class_without_new_samples_cannot_drift():
    labels, few = np.arange(4000) % 4, np.zeros(400, dtype=np.int64)
    found = drift(drawn("old", 4000), labels, drawn("new", 400) + 0.3, few, 4)
    assert 0.05 < found.distance[0] < TOLERATED and not found.drifted.any()
    assert found.distance[1:4].tolist() == [0, 0, 0] and np.isinf(found.tolerated[1:4]).all()


def test_few_samples_are_allowed_more():
    limits = tolerated(np.array([1000, 1000, 1000, 0]), np.array([3, 30, 3000, 5]), 4)
    assert limits[0] > limits[1] > limits[2] == TOLERATED and np.isinf(limits[3])
