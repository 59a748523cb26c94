"""Iterations of the unpruned arm that take as long as a pruned one with its scoring, and the command that runs them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from small_pipeline import small_config

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.duration import SECONDS, timed
from bilp.artifacts.run_layout import RESELECT, ROUND, reselect_uri, round_uri
from bilp.config import PipelineConfig
from bilp.config.arms import planned_runs
from bilp.config.command_line import parse
from bilp.data import read_source
from bilp.data.ingestion import dataset_of
from bilp.distill import distill_round, finish_run, reselect_round, start_run
from bilp.report.collect import open_sources
from bilp.report.equal_time import Seconds, measured, paces

CONFIG = small_config(arms=["unpruned", "static", "adaptive", "bilp"], distill={"iterations": 200, "rounds": 2})


def test_arms_that_choose_by_scores_pay_for_the_scoring() -> None:
    times = {"unpruned": 100.0, "static": 90.0, "adaptive": 110.0, "bilp": 101.0, "random_pruning": 90.0, "other": 7.0}
    found = paces(CONFIG, Seconds(30.0, times))
    assert {pace.words.title: (pace.iterations, pytest.approx(pace.ratio)) for pace in found} == {
        "Static pruning": (240, 1.2),
        "Adaptive pruning": (220, 1.1),
        "BiLP": (262, 1.31),
        "Random pruning": (180, 0.9),
    }
    assert [pace.scoring for pace in found] == ["30 s", "", "30 s", ""]
    assert [pace.words.title for pace in found if pace.leading] == ["BiLP"]


def test_the_command_has_the_number_as_a_setting_and_the_unpruned_arm_alone() -> None:
    (pace,) = paces(CONFIG, Seconds(30.0, {"unpruned": 100.0, "bilp": 101.0}))
    typed = shlex.split(pace.command)
    assert typed[:2] == ["bilp", "run"]
    again = PipelineConfig.model_validate(parse(typed[2:], "bilp run", "").given)
    assert again.distill == CONFIG.distill.model_copy(update={"iterations": 262}) and again.arms == ("unpruned",)
    assert again.evaluate == CONFIG.evaluate


def test_without_times_or_without_the_unpruned_arm_nothing_is_said() -> None:
    assert paces(CONFIG, None) == paces(CONFIG, Seconds(1.0, {"bilp": 3.0})) == paces(CONFIG, Seconds(1.0, {"unpruned": 0.0})) == []
    few = paces(CONFIG, Seconds(None, {"unpruned": 100.0, "bilp": 0.001}))
    assert [pace.iterations for pace in few] == [1]


@pytest.mark.slow
def test_seconds_are_those_of_the_manifests_and_unknown_ones_leave_all_unknown(tmp_path: Path) -> None:
    root = str(tmp_path)
    config = small_config(distill={"iterations": 1, "rounds": 1, "batch_real": 8, "network": {"width": 2, "depth": 1}})
    record = read_source(config.ingest, root)
    dataset, runs = dataset_of(record, config.ingest), {}
    for plan in planned_runs(config.model_copy(update={"arms": ("unpruned", "adaptive")})):
        with timed():
            run = start_run(dataset, None, plan.distill, plan.reselect, root)
            reselect_round(run, 1)
            distill_round(run, 1)
        finish_run(run)
        runs[plan.arm] = [run]
    sources = open_sources(dataset, None, None, runs, [])
    found = measured(sources.artifacts, sources.runs)
    places = [(reselect_uri(runs["adaptive"][0], 1), RESELECT), (round_uri(runs["adaptive"][0], 1), ROUND)]
    told = [float(open_artifact(uri, kind).manifest.provenance[SECONDS]) for uri, kind in places]
    assert found is not None and found.scoring is None and found.arms.keys() == runs.keys()
    assert found.arms["adaptive"] == pytest.approx(sum(told))
    seed = config.distill.model_copy(update={"seed": 5})
    untimed = start_run(dataset, None, seed, config.reselect.model_copy(update={"beta": 0.0}), root)
    distill_round(untimed, 1)
    finish_run(untimed)
    sources = open_sources(dataset, None, None, runs | {"unpruned": [runs["unpruned"][0], untimed]}, [])
    assert measured(sources.artifacts, sources.runs) is None
