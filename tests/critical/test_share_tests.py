"""The tests of a critical share: beside scipy, beside a slow integral, and in their fixed order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bilp.critical.share_tests import Compared, compared, critical


def tail(t: float, freedom: int) -> float:
    """Probability that Student's t exceeds `t`, by the trapezoidal rule over its density."""
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    x = np.linspace(0.0, abs(t), 200_001)
    inside = float(np.trapezoid(scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2), x))
    return 0.5 - inside if t > 0 else 0.5 + inside


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_both_tests_agree_with_scipy_and_with_an_integral(seed: int, n: int) -> None:
    differences = np.random.default_rng(seed).normal(-0.004, 0.01, n)
    found = compared(0.5, differences, tolerance=0.005)
    shifted = differences + 0.005
    assert found.p_as_good == pytest.approx(float(stats.ttest_1samp(shifted, 0.0, alternative="greater").pvalue), abs=1e-12)
    assert found.p_worse == pytest.approx(float(stats.ttest_1samp(shifted, 0.0, alternative="less").pvalue), abs=1e-12)
    t = shifted.mean() / (shifted.std(ddof=1) / math.sqrt(n))
    assert found.p_as_good == pytest.approx(tail(float(t), n - 1), abs=1e-6)
    assert found.difference == pytest.approx(float(differences.mean()))


def test_differences_without_spread_are_told_by_their_mean() -> None:
    assert (compared(0.5, np.full(3, 0.0), 0.005).p_as_good, compared(0.5, np.full(3, -0.125), 0.005).p_as_good) == (0.0, 1.0)
    assert compared(0.5, np.full(3, -0.5), 0.5).p_as_good == 0.5
    with pytest.raises(ValueError, match="at least two"):
        compared(0.5, np.zeros(1), 0.005)


def outcome(share: float, p: float, difference: float = 0.0) -> Compared:
    return Compared(share, difference, 0.01, p, 1 - p)


def test_shares_are_tested_downwards_until_one_fails() -> None:
    shares = [outcome(0.5, 0.01), outcome(0.25, 0.2), outcome(0.125, 0.01), outcome(0.0625, 0.99)]
    found = critical(shares, 0.005, level=0.05)
    assert found.share == 0.5, "0.125 passed alone, after a larger one had failed"
    assert found.low == 0.0625
    assert critical(list(reversed(shares)), 0.005, 0.05) == found
    assert critical([outcome(0.5, 0.06)], 0.005, 0.05).share == 1.0
    assert critical([outcome(0.5, 0.04), outcome(0.25, 0.03)], 0.005, 0.05).low == 0.0


def test_the_crossing_lies_between_two_shares_by_their_logarithms() -> None:
    found = critical([outcome(0.5, 0.5, -0.002), outcome(0.25, 0.5, -0.008)], 0.005, 0.05)
    assert found.crossing == pytest.approx(0.5 * 2 ** (-(0.005 - 0.002) / (0.008 - 0.002)))
    assert critical([outcome(0.5, 0.5, 0.1), outcome(0.25, 0.5, 0.2)], 0.005, 0.05).crossing == 0.0


def test_all_tests_together_err_no_more_often_than_one() -> None:
    """All shares worse by exactly the tolerance: the whole must be the answer in at least 95 % of repetitions."""
    draws = np.random.default_rng(0)
    wrong = 0
    for _ in range(1000):
        shares = [compared(0.5**k, draws.normal(-0.005, 0.01, 5), 0.005) for k in range(1, 6)]
        wrong += critical(shares, 0.005, 0.05).share < 1
    assert wrong <= 1000 * 0.05 + 3 * math.sqrt(1000 * 0.05 * 0.95)
