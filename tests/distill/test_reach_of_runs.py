"""What is told before a run of how much its adaptive level can keep away, against what the run then keeps away."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_distillation import Store, small_config

from bilp.config import ReselectConfig
from bilp.distill import distill_round, open_run, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.inputs import open_pool
from bilp.distill.part import open_part
from bilp.distill.round_files import open_round, reselected
from bilp.distill.rounds import new_pruner
from bilp.distill.step.round_bounds import bounds
from bilp.pruning.adaptive import TOLERANCE
from bilp.pruning.reach import reach

ROUNDS = 4


def away_at_most(store: Store, root: str, reselect: ReselectConfig) -> tuple[list[int], list[int], list[int]]:
    """By class: samples, those measured in some round, and those away at once in the iteration with the most of them."""
    config = small_config("dm", iterations=2 * ROUNDS, rounds=ROUNDS)
    run_uri = start_run(store.uri, None, config, reselect, root)
    run, part = open_run(run_uri), open_part(run_uri, None)
    pool = open_pool(run_uri, run)
    most = [0] * pool.classes
    for number in range(1, ROUNDS + 1):
        reselect_round(run_uri, number)
        distill_round(run_uri, number)
        first, stop = bounds(config, number)
        for tensors, iteration in ((reselected(part, number), first), (round_state(open_round(part, number)).pruner, stop - 1)):
            pruner = new_pruner(run, pool)
            pruner.load(tensors, range(pool.classes))
            left = pruner.candidates_of_each(pool.by_class, iteration)
            most = [max(old, len(ids) - len(kept)) for old, ids, kept in zip(most, pool.by_class, left, strict=True)]
    measured = [int((tensors["visits"][ids] > 0).sum()) for ids in pool.by_class]
    return [len(ids) for ids in pool.by_class], measured, most


@pytest.mark.parametrize(
    "settings",
    [
        {"beta": 0.3, "candidates_per_class": 18},  # of eight parts four have a turn
        {"beta": 0.3, "candidates_per_class": 50},  # three parts, of which one has two
        {"beta": 0.13, "candidates_per_class": 7, "low_share": 0.0},
        {"beta": 0.25, "candidates_per_class": None},
        {"beta": 0.9, "candidates_per_class": 20, "minimum_per_class": 12},
        {"beta": 0.9, "candidates_per_class": None, "minimum_per_class": 140},
        {"beta": 0.3, "candidates_per_class": 18, "mode": "shrink"},
    ],
)
def test_a_run_by_quantiles_keeps_away_exactly_what_was_told(settings: dict[str, Any], store: Store, tmp_path: Any) -> None:
    reselect = ReselectConfig(threshold="quantile", score="random", **settings)
    samples, measured, most = away_at_most(store, str(tmp_path), reselect)
    found = [reach(count, ROUNDS, 16, reselect) for count in samples]
    assert [one.measured for one in found] == measured
    assert [one.got for one in found] == most


@pytest.mark.parametrize("settings", [{"interval": 1}, {"interval": 2, "candidates_per_class": 18}, {"interval": 2, "mode": "shrink"}])
def test_decisions_inside_rounds_never_add_more_than_was_told(settings: dict[str, Any], store: Store, tmp_path: Any) -> None:
    reselect = ReselectConfig(beta=0.3, threshold="quantile", score="random", **settings)
    samples, _, most = away_at_most(store, str(tmp_path), reselect)
    found = [reach(count, ROUNDS, 16, reselect) for count in samples]
    assert all(one.got >= away > 0 for one, away in zip(found, most, strict=True))


def test_normal_thresholds_stay_within_their_tolerance_of_it(store: Store, tmp_path: Any) -> None:
    reselect = ReselectConfig(beta=0.3, candidates_per_class=18, low_share=0.0)
    samples, measured, most = away_at_most(store, str(tmp_path), reselect)
    for count, decided, away in zip(samples, measured, most, strict=True):
        told = reach(count, ROUNDS, 16, reselect)
        assert told.measured == decided  # each sample once: all decisions stand at the end
        assert abs(away - told.got) <= max(TOLERANCE * decided, 1.0) + 1.0
