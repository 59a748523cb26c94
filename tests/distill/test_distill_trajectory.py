"""The loop of MTT and TESLA against a slow restatement, stored curves, and what it draws, carries and publishes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_distillation import NARROW, Store, assert_follows, guard_for
from tiny_experts import EXPERTS, experts, trajectory_config
from tiny_reference import reference

from benchmarks.references.trajectory import TrajectoryReference
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import round_uri
from bilp.config import DistillConfig, EvaluateConfig, PruneConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.loops.mtt import distill, draw_steps, draw_trajectory
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import ConfigError, Diverged
from bilp.evaluate import evaluate_synthetic
from bilp.experts.buffer import ExpertBuffer
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune

pytestmark = pytest.mark.slow

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)
METHODS = pytest.mark.parametrize("method", ["mtt", "tesla"])


def assemble(config: DistillConfig, pool: RealPool, buffer: ExpertBuffer) -> Setting:
    return Setting.assemble(config, OFF, pool, "cpu", RunInputs(buffer))


def _run(config: DistillConfig, pool: RealPool, buffer: ExpertBuffer, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = assemble(config, pool, buffer), initial_state(config, pool)
    return state, distill(setting, state, iterations, None, guard_for(setting))


@METHODS
@pytest.mark.parametrize(("ipc", "batch"), [(1, None), (3, 8)])
def test_loop_equals_the_slow_restatement(few: Few, buffer: ExpertBuffer, method: str, ipc: int, batch: int | None) -> None:
    config = trajectory_config(method, {"batch": batch}, ipc=ipc)
    pool = few(12)
    state, records = _run(config, pool, buffer, 3)
    slow = reference(config, pool, experts=buffer, dtype=torch.float64)
    assert isinstance(slow, TrajectoryReference)
    before, curve = slow.images, slow.run(3)
    assert [record.loss for record in records] == pytest.approx(curve, rel=1e-4)
    assert (state.images - slow.images).norm() < 2e-3 * (slow.images - before).norm()
    assert float(state.method["step_size"]) == pytest.approx(float(slow.step_size), rel=1e-5)
    assert float(state.method["step_momentum"]) == pytest.approx(float(slow.step_momentum), rel=1e-3)
    assert slow.step_size != 0.1
    assert [(record.real_used, record.dropped_share) for record in records] == [(0, 0.0)] * 3


@METHODS
def test_twenty_steps_follow_the_stored_curve(few: Few, buffer: ExpertBuffer, method: str) -> None:
    """The files hold what this call gave once."""
    expected = json.loads((HERE / f"expected_{method}.json").read_text())
    config = trajectory_config(method, ipc=2, iterations=20)
    state, records = _run(config, few(24), buffer, 20)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-2)
    assert float(state.method["step_size"]) == pytest.approx(expected["step_size"], rel=1e-2)


@METHODS
def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, buffer: ExpertBuffer, method: str) -> None:
    config, pool = trajectory_config(method, {"batch": 7}, ipc=2), few(10)
    whole, _ = _run(config, pool, buffer, 4)
    state = initial_state(config, pool)
    for stop in (1, 1, 3, 4):
        setting = assemble(config, pool, buffer)  # another process has another network module
        distill(setting, state, stop, None, guard_for(setting))
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)
    assert state.iteration == 4


def test_matching_comes_closer_to_the_experts(few: Few, buffer: ExpertBuffer) -> None:
    config = trajectory_config("mtt", {"max_start": 0, "steps": 8}, ipc=1, iterations=30)
    _, records = _run(config, few(12), buffer, 30)
    assert sum(record.loss for record in records[-5:]) < 0.9 * sum(record.loss for record in records[:5])


def test_what_is_drawn(few: Few, buffer: ExpertBuffer) -> None:
    config = trajectory_config("mtt", {"steps": 6, "batch": 8}, ipc=2)
    setting = assemble(config, few(4), buffer)
    steps = draw_steps(setting, 20, 0)
    assert [len(step.rows) for step in steps] == [8, 8, 4, 8, 8, 4]
    for epoch in (steps[:3], steps[3:]):
        assert sorted(torch.cat([step.rows for step in epoch]).tolist()) == list(range(20))
    assert [step.rows.tolist() for step in steps[:3]] != [step.rows.tolist() for step in steps[3:]]
    counts = {len(value) for step in steps if step.params for value in step.params.values.values()}
    assert counts == {8, 4}, "parameters are drawn per image"
    known = {buffer.parameters(k, epoch)[0].sum().item(): (k, epoch) for k in range(2) for epoch in range(5)}
    drawn = set()
    for t in range(60):
        piece = draw_trajectory(setting, buffer, t)
        (expert, start), (same, end) = (known[values[0].sum().item()] for values in (piece.start, piece.target))
        assert (expert, start + 1) == (same, end)
        drawn.add((expert, start))
    assert drawn == {(k, epoch) for k in range(2) for epoch in range(4)}


@METHODS
def test_two_samples_per_class_from_the_first_stage_to_the_last(store: Store, tmp_path: Path, method: str) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.014), store.root)
    buffer = experts(store, few, EXPERTS.model_copy(update={"batch_size": 256, "count": 1}))
    config = trajectory_config(method, ipc=2)
    run = start_run(store.uri, few, config, OFF, str(tmp_path), buffer)
    for number in (1, 2):
        assert reselect_round(run, number) == run
        distill_round(run, number)
    uri = finish_run(run)
    images, labels = load_synthetic(uri)
    assert images.shape == (20, 1, 8, 8)
    assert labels.bincount().tolist() == [2] * 10
    assert open_artifact(uri, "synthetic").parents["experts"] == buffer


def test_the_learned_step_size_is_published_and_used(store: Store, selection: str, buffer: ExpertBuffer, tmp_path: Path) -> None:
    root = str(tmp_path)
    run = start_run(store.uri, selection, trajectory_config("mtt"), OFF, root, buffer.uri)
    for number in (1, 2):
        distill_round(run, number)
    uri = finish_run(run)
    learned = open_artifact(uri, "synthetic").fact("learning_rate")
    held = open_artifact(round_uri(run, 2), "round")
    assert learned == float(round_state(held).method["step_size"])
    assert learned not in (0.1, 0.01)
    config = EvaluateConfig(networks=(NARROW,), seeds=2, epochs=2)
    own, fixed = (
        evaluate_synthetic(store.uri, uri, "static", 0, config.model_copy(update={"learned_rate": on}), root) for on in (True, False)
    )
    assert open_artifact(own, "evaluation").manifest.config["learning_rate"] == learned
    assert open_artifact(fixed, "evaluation").manifest.config["learning_rate"] == 0.01
    assert own != fixed


def test_what_cannot_go_on_says_why(few: Few, buffer: ExpertBuffer) -> None:
    pool = few(8)
    with pytest.raises(Diverged, match=r"iteration \d+: the learned step size became -.*; lower distill.trajectory.step_rate, .* 1e\+08"):
        _run(trajectory_config("mtt", {"step_rate": 1e9}), pool, buffer, 4)
    with pytest.raises(Diverged, match=r"iteration \d+: .*The learning rate of the images is 1e\+20"):
        _run(trajectory_config("mtt", learning_rate=1e20, iterations=9), pool, buffer, 9)
    config = trajectory_config("mtt")
    setting = Setting.assemble(config, OFF, pool, "cpu")
    with pytest.raises(ConfigError, match="start the run with experts and beta = 0"):
        distill(setting, initial_state(config, pool), 1, None, guard_for(setting))
    setting = assemble(config, pool, buffer)
    pruner = AdaptivePruner(pool.dataset.train.labels, 10, ReselectConfig(beta=0.1))
    with pytest.raises(ConfigError, match="has no adaptive pruning"):
        distill(setting, initial_state(config, pool), 1, pruner, guard_for(setting))
