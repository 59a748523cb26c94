"""Intervals against scipy's, and the pairing of trainings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish
from bilp.artifacts.tables import EVALUATION
from bilp.errors import ConfigError
from bilp.evaluate import Measurement, Row, interval, measurements, paired_difference, summary
from bilp.evaluate.metrics import mean_accuracy
from bilp.evaluate.results import FILE, KIND


def rows(arm: str, values: dict[tuple[int, str, int], float]) -> list[Measurement]:
    return [Measurement(arm, experiment, network, seed, value) for (experiment, network, seed), value in values.items()]


def published(folder: Path, measured: list[Measurement]) -> str:
    columns = {name: [getattr(row, name) for row in measured] for name in Measurement.__dataclass_fields__}
    extra = {"best_accuracy": [1.0] * len(measured), "train_images": [10] * len(measured), "epochs": [5] * len(measured)}
    extra |= {"best_top_k_accuracy": [row.top_k_accuracy for row in measured]}
    data = encode(pa.table({**columns, **extra}), EVALUATION, {})
    facts: dict[str, Any] = {"dataset": "0" * 16, "arm": measured[0].arm, "experiment": measured[0].experiment, "synthetic": folder.name}
    facts["networks"] = list({row.network for row in measured})
    return publish(str(folder), KIND, folder.name, {FILE: data}, config={}, parents={}, facts=facts).uri


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_interval_is_that_of_students_t(count: int) -> None:
    values = np.random.default_rng(count).uniform(0.2, 0.9, count)
    mean, half = interval(values.tolist())
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), abs=1e-12)


def test_interval_of_one_value_is_unbounded_and_of_none_impossible() -> None:
    assert interval([0.4]) == (0.4, math.inf)
    with pytest.raises(ValueError, match="at least one"):
        interval([])


def test_summary_has_a_row_per_arm_and_network_over_all_experiments(tmp_path: Path) -> None:
    static = rows("static", {(e, n, s): 0.5 + 0.1 * e + 0.02 * s for e in range(2) for n in ("mlp", "convnet") for s in range(3)})
    full = rows("full", {(0, "mlp", s): 0.9 + 0.01 * s for s in range(3)})
    uris = [
        published(tmp_path / "a", [row for row in static if row.experiment == 0]),
        published(tmp_path / "b", full),
        published(tmp_path / "c", [row for row in static if row.experiment == 1]),
    ]
    assert [(row.arm, row.network, row.n) for row in summary(uris)] == [("static", "mlp", 6), ("static", "convnet", 6), ("full", "mlp", 3)]
    expected = mean_accuracy([row for row in static if row.network == "mlp"])
    assert summary(uris)[0] == Row("static", "mlp", pytest.approx(expected.mean), pytest.approx(expected.half_width95, rel=1e-5), 6)
    assert sorted(row.accuracy for row in measurements(uris[1:2])) == pytest.approx([0.9, 0.91, 0.92])


def test_paired_difference_is_that_of_the_paired_t_test() -> None:
    random = np.random.default_rng(7)
    keys = [(0, network, seed) for network in ("mlp", "convnet") for seed in range(5)]
    ours, theirs = random.uniform(0.5, 0.9, 10), random.uniform(0.4, 0.8, 10)
    shuffled = random.permutation(10)
    found = paired_difference(
        rows("bilp", {keys[k]: float(ours[k]) for k in shuffled}), rows("unpruned", {keys[k]: float(theirs[k]) for k in range(10)})
    )
    low, high = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.mean - found.half_width95, found.mean + found.half_width95) == pytest.approx((low, high), abs=1e-12)
    assert found.n == 10


def test_several_experiments_count_as_one_value_each_where_no_seed_differs() -> None:
    difference = {0: 0.1, 1: 0.2, 2: 0.4}
    ours = {(e, "mlp", s): 0.5 + 0.03 * s + difference[e] for e in range(3) for s in range(3)}
    theirs = {(e, "mlp", s): 0.5 + 0.03 * s for e in range(3) for s in range(3)}
    found = paired_difference(rows("bilp", ours), rows("static", theirs))
    assert (found.mean, found.half_width95) == pytest.approx(interval([0.1, 0.2, 0.4]))
    assert found.n == 3


def test_trainings_without_partner_and_mixed_arms_are_refused() -> None:
    pair = {(0, "mlp", 0): 0.5, (0, "mlp", 1): 0.6}
    with pytest.raises(ConfigError, match="experiment 0 mlp seed 2"):
        paired_difference(rows("bilp", {**pair, (0, "mlp", 2): 0.1}), rows("static", pair))
    with pytest.raises(ConfigError, match="there are none"):
        paired_difference([], [])
    with pytest.raises(ConfigError, match="one arm with one arm"):
        paired_difference(rows("bilp", pair) + rows("static", pair), rows("full", pair))
