"""Mixtures by expectation maximization: agreement with a plain loop and with scikit-learn, and cases that have no two components."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bilp.pruning import mixture


def reference(values, start, weights=(0.5, 0.5), variances=(1.0, 1.0), borrowed=None, steps=mixture.STEPS):
    """One group of numbers, one number at a time."""
    (w0, w1), (m0, m1), (v0, v1), before = weights, start, variances, -math.inf
    for _ in range(steps):
        densities = [
            [w * math.exp(-((x - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v) for w, m, v in ((w0, m0, v0), (w1, m1, v1))]
            for x in values
        ]
        likelihood = sum(math.log(sum(pair)) for pair in densities) / len(values)
        if abs(likelihood - before) < mixture.TOLERANCE:
            break
        before, found = likelihood, []
        for k in range(2):
            shares = [pair[k] / sum(pair) for pair in densities]
            prior, strength = ((0.0, 0.0, 0.0), 0.0) if borrowed is None else (borrowed[0][k], borrowed[1])
            more = strength * prior[0]
            total = sum(shares) + more
            center = (sum(s * x for s, x in zip(shares, values, strict=True)) + more * prior[1]) / total
            spread = sum(s * (x - center) ** 2 for s, x in zip(shares, values, strict=True)) + more * (prior[2] + (prior[1] - center) ** 2)
            found.append((total / (len(values) + strength), center, spread / total + mixture.RIDGE))
        (w0, m0, v0), (w1, m1, v1) = found
    return np.array([[w0, w1], [m0, m1], [v0, v1]]), before


def drawn(sizes, seed=0):
    """Values of groups with two components each, one after the other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([np.concatenate([rng.normal(k, 1, a), rng.normal(k + 5, 0.5, b)]) for k, (a, b) in enumerate(sizes)])


def test_groups_agree_with_a_plain_loop_over_their_numbers() -> None:
    sizes = [(30, 20), (60, 6), (9, 40)]
    counts = np.array([a + b for a, b in sizes])
    values = drawn(sizes)
    found = mixture.fit(values, counts)
    for g, part in enumerate(np.split(values, np.cumsum(counts)[:-1])):
        scaled = sorted((part - part.mean()) / part.std())
        starts = [[scaled[math.floor(share * (len(part) - 1) + 0.5)] for share in shares] for shares in mixture.STARTS]
        parameters, likelihood = max((reference(scaled, start) for start in starts), key=lambda end: end[1])
        weights, means, variances = parameters[:, np.argsort(parameters[1])]
        assert np.allclose(found.weights[:, g], weights, atol=1e-6)
        assert np.allclose(found.means[:, g], part.mean() + part.std() * means, atol=1e-6)
        assert np.allclose(found.stds[:, g], part.std() * np.sqrt(variances), atol=1e-6)
        one = sum(math.log(math.exp(-x * x / 2) / math.sqrt(2 * math.pi)) for x in scaled)
        assert found.evidence[g] == pytest.approx(2 * (len(part) * likelihood - one) - 3 * math.log(len(part)), abs=1e-3)


@pytest.mark.slow
def test_scikit_learn_finds_the_same_components() -> None:
    sklearn = pytest.importorskip("sklearn.mixture")
    values = drawn([(300, 200)])
    found = mixture.fit(values, np.array([500]))
    theirs = sklearn.GaussianMixture(
        2, tol=1e-8, max_iter=500, weights_init=[0.5, 0.5], means_init=[[0], [5]], precisions_init=[[[1]], [[1]]]
    ).fit(values[:, None])
    order = np.argsort(theirs.means_[:, 0])
    assert np.allclose(found.means[:, 0], theirs.means_[order, 0], atol=2e-3)
    assert np.allclose(found.weights[:, 0], theirs.weights_[order], atol=1e-3)
    assert np.allclose(found.stds[:, 0] ** 2, theirs.covariances_[order, 0, 0], atol=5e-3)
    between = values[(values > found.means[0, 0]) & (values < found.means[1, 0])]
    low = theirs.predict(between[:, None]) == order[0]
    assert ((between <= found.thresholds()[0]) == low).mean() > 0.99
    single = sklearn.GaussianMixture(1).fit(values[:, None])
    assert found.evidence[0] == pytest.approx(single.bic(values[:, None]) - theirs.bic(values[:, None]), rel=1e-3)


def test_groups_that_borrow_agree_with_a_plain_loop() -> None:
    sizes = [(30, 20), (60, 6), (1, 0)]
    counts = np.array([a + b for a, b in sizes])
    values = drawn(sizes)
    common = mixture.fit(values, np.array([len(values)]))
    found = mixture.adapted(values, counts, common, 20.0)
    prior = [(common.weights[k, 0], common.means[k, 0], common.stds[k, 0] ** 2) for k in range(2)]
    weights, means, variances = zip(*prior, strict=True)
    for g, part in enumerate(np.split(values, np.cumsum(counts)[:-1])):
        expected, _ = reference(list(part), means, weights, variances, (prior, 20.0))
        assert np.allclose([found.weights[:, g], found.means[:, g], found.stds[:, g] ** 2], expected, atol=1e-6)


def test_a_large_group_follows_its_own_values_and_a_tiny_one_the_common_mixture() -> None:
    values = drawn([(4000, 2000), (4000, 400), (2, 0)])
    counts = np.array([6000, 4400, 2])
    common = mixture.fit(values, np.array([len(values)]))
    found = mixture.adapted(values, counts, common)
    own = mixture.fit(values[:6000], counts[:1])
    assert np.allclose(found.means[:, 0], own.means[:, 0], atol=0.1)
    assert found.weights[1, 0] == pytest.approx(1 / 3, abs=0.02) and found.weights[1, 1] == pytest.approx(1 / 11, abs=0.02)
    assert np.allclose(found.means[:, 2], common.means[:, 0], atol=0.2)


def test_a_threshold_is_where_both_components_are_equally_probable() -> None:
    found = mixture.fit(drawn([(300, 200), (300, 20)]), np.array([500, 320]))
    for g, x in enumerate(found.thresholds()):
        low, high = (
            w * math.exp(-((x - m) ** 2) / (2 * s * s)) / s
            for w, m, s in zip(found.weights[:, g], found.means[:, g], found.stds[:, g], strict=True)
        )
        assert found.means[0, g] < x < found.means[1, g] and low == pytest.approx(high, rel=1e-6)
        expected = math.sqrt(2) * (found.means[1, g] - found.means[0, g]) / math.hypot(*found.stds[:, g])
        assert found.separation()[g] == pytest.approx(expected)


@pytest.mark.parametrize("values", [[3.0] * 40, [3.0], [0.0] * 5])
def test_equal_values_have_no_components(values: list[float]) -> None:
    found = mixture.fit(np.array(values), np.array([len(values)]))
    assert found.evidence.tolist() == [-math.inf] and found.separation().tolist() == [0.0] and found.thresholds().tolist() == [math.inf]


def test_equal_values_beside_others_stay_finite() -> None:
    values = np.array([0.0] * 50 + [1.0] * 50)
    found = mixture.fit(np.concatenate([values, values[:1]]), np.array([100, 1]))
    assert np.allclose(found.means[:, 0], [0, 1], atol=1e-6) and 0 < found.thresholds()[0] < 1
    assert all(np.isfinite(part).all() for part in (found.weights, found.means, found.stds))


def test_what_a_group_finds_does_not_depend_on_others_nor_on_shift_and_scale() -> None:
    values = drawn([(30, 20), (60, 6)])
    together, alone = mixture.fit(values, np.array([50, 66])), mixture.fit(values[50:], np.array([66]))
    assert np.allclose(together.means[:, 1], alone.means[:, 0], rtol=1e-12)
    moved = mixture.fit(1000 - 50 * values, np.array([50, 66]))
    scaled = mixture.fit(7 + 3 * values, np.array([50, 66]))
    assert np.allclose(scaled.thresholds(), 7 + 3 * together.thresholds(), rtol=1e-6)
    assert np.isfinite(moved.thresholds()).all()
