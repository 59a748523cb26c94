"""The paired test against scipy's, the scores of DD-Ranking by their formulas, and the stage that makes a table of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bilp.config import EvaluateConfig, NetworkConfig
from bilp.errors import ConfigError
from bilp.evaluate import (
    Measurement,
    augmentation_robust_score,
    evaluate_baseline,
    evaluate_synthetic,
    label_robust_score,
    load_robustness,
    measurements,
    paired_test,
    variants,
)
from bilp.evaluate.robustness import robustness
from bilp.evaluate.uncertainty import estimate

PublishSet = Callable[..., str]
fractions = st.floats(0.0, 1.0)


def rows(arm: str, values: list[float], experiments: int = 1) -> list[Measurement]:
    per = len(values) // experiments
    return [Measurement(arm, k // per, "mlp", k % per, value) for k, value in enumerate(values)]


@pytest.mark.parametrize("count", [2, 5, 20])
def test_paired_test_is_scipys(count: int) -> None:
    random = np.random.default_rng(count)
    ours, theirs = random.uniform(0.4, 0.8, count).tolist(), random.uniform(0.4, 0.8, count).tolist()
    found = paired_test(rows("bilp", ours), rows("unpruned", theirs))
    expected = stats.ttest_rel(ours, theirs)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    low, high = expected.confidence_interval(0.95)
    assert found.difference.mean - found.difference.half_width95 == pytest.approx(low)
    assert found.difference.mean + found.difference.half_width95 == pytest.approx(high)
    assert found.difference.n == count


def test_paired_test_over_experiments_counts_both_levels() -> None:
    random = np.random.default_rng(0)
    ours, theirs = random.uniform(0.4, 0.8, 12), random.uniform(0.4, 0.8, 12)
    found = paired_test(rows("bilp", ours.tolist(), 3), rows("unpruned", theirs.tolist(), 3))
    expected = estimate({(k // 4, ("mlp", k % 4)): float(value) for k, value in enumerate(ours - theirs)})
    t = expected.mean / expected.error
    assert (found.t, found.p, found.difference.n) == pytest.approx((t, 2 * stats.t.sf(abs(t), expected.freedom), 3))
    assert found.difference.half_width95 == pytest.approx(expected.half_width95)


def test_paired_test_over_experiments_that_no_seed_tells_apart_tests_their_means() -> None:
    means = np.repeat([0.1, 0.3, 0.2], 4)
    found = paired_test(rows("bilp", (0.5 + means).tolist(), 3), rows("unpruned", [0.5] * 12, 3))
    expected = stats.ttest_1samp([0.1, 0.3, 0.2], 0.0)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_paired_test_of_one_pair_and_of_equal_values() -> None:
    alone = paired_test(rows("bilp", [0.5]), rows("unpruned", [0.4]))
    assert math.isnan(alone.t)
    assert alone.p == 1.0
    same = paired_test(rows("bilp", [0.5, 0.75]), rows("unpruned", [0.5, 0.75]))
    assert (same.t, same.p) == (0.0, 1.0)
    shifted = paired_test(rows("bilp", [0.25, 0.5]), rows("unpruned", [0.5, 0.75]))
    assert (shifted.t, shifted.p) == (-math.inf, 0.0)


def test_scores_by_hand() -> None:
    e = math.e
    alpha = 0.5 * (0.55 - 0.3) - 0.5 * (0.8 - 0.5)
    assert label_robust_score(0.8, 0.5, 0.55, 0.3) == pytest.approx((e**alpha - 1 / e) / (e - 1 / e))
    beta = 0.25 * (0.6 - 0.4) + 0.75 * (0.5 - 0.45)
    assert augmentation_robust_score(0.6, 0.4, 0.5, 0.45, weight=0.25) == pytest.approx((e**beta - 1 / e) / (e - 1 / e))
    assert augmentation_robust_score(1.0, 0.0, 1.0, 0.0) == pytest.approx(1.0)
    assert augmentation_robust_score(0.0, 1.0, 0.0, 1.0) == pytest.approx(0.0)
    with pytest.raises(ConfigError, match=r"fractions from 0 to 1, not 0.3, 55"):
        augmentation_robust_score(0.3, 55.0, 0.3, 0.3)


@given(fractions, fractions, fractions, fractions, fractions)
def test_scores_lie_in_their_range_and_grow_with_the_set(real: float, hard: float, own: float, random: float, more: float) -> None:
    score = label_robust_score(real, hard, own, random)
    assert -1e-12 <= score <= 1 + 1e-12
    assert label_robust_score(real, hard, max(own, more), random) >= score
    assert augmentation_robust_score(max(own, more), random, hard, real) >= augmentation_robust_score(own, random, hard, real)


def test_variants_change_labels_and_augmentation_only() -> None:
    config = EvaluateConfig(labels="soft", augment=("crop",), augment_always=("color",), cutmix=0.5)
    found = variants(config)
    assert found["given"] == found["augmented"] == config
    assert found["hard"] == config.model_copy(update={"labels": "hard"})
    assert found["plain"] == config.model_copy(update={"augment": (), "augment_always": (), "cutmix": 0.0})
    assert variants(EvaluateConfig())["augmented"].augment
    assert "flip" not in variants(EvaluateConfig())["augmented"].augment


def test_the_table_holds_the_means_and_the_scores(digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path) -> None:
    config = small.model_copy(update={"networks": (NetworkConfig(name="mlp"),), "epochs": 5, "full_epochs": 1})
    root, synthetic = str(tmp_path), publish_set("a", 3)
    evaluations = {}
    for variant, changed in variants(config).items():
        baseline = "full" if variant == "hard" else "random"
        sets = [evaluate_synthetic(digits_uri, synthetic, "bilp", 0, changed, root)]
        evaluations[variant] = [evaluate_baseline(digits_uri, baseline, 3, changed, root), *sets]
    uri = robustness(evaluations, root)
    (row,) = load_robustness(uri)

    def mean(variant: str, arm: str) -> float:
        return float(np.mean([each.accuracy for each in measurements(evaluations[variant]) if each.arm == arm]))  # type: ignore[index]

    assert (row.arm, row.network) == ("bilp", "mlp")
    assert row.real_hard == pytest.approx(mean("hard", "full"))
    assert row.synthetic_augmented == pytest.approx(mean("augmented", "bilp")) != row.synthetic_plain
    assert row.lrs == pytest.approx(label_robust_score(row.real_hard, row.synthetic_hard, row.synthetic_given, row.random_given))
    assert row.ars == pytest.approx(
        augmentation_robust_score(row.synthetic_augmented, row.random_augmented, row.synthetic_plain, row.random_plain)
    )
    assert robustness(evaluations, root) == uri
    with pytest.raises(ConfigError, match="need evaluations of plain"):
        robustness({variant: uris for variant, uris in evaluations.items() if variant != "plain"}, root)
    with pytest.raises(ConfigError, match="need random on mlp, variant given"):
        robustness({**evaluations, "given": evaluations["given"][1:]}, root)
