"""CAFE's loop: its objective written out, its two rules on a network's accuracy, stored curves, and adaptive pruning."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_distillation import NARROW, Store, assemble, assert_follows, guard_for, spelled_out
from tiny_reference import reference

from benchmarks.references.summed import AlignmentReference
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import reselect_uri
from bilp.artifacts.tables import ITE
from bilp.config import AlignmentConfig, DistillConfig, PruneConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, reselect_round, start_run
from bilp.distill.loops import cafe as alignment
from bilp.distill.loops.cafe import distill, image_gradient, learning_rate
from bilp.distill.loops.late_reading import Course, Reading
from bilp.distill.loops.whole_alignment import whole_gradient
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.real import draw_batches
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import Diverged
from bilp.matching.alignment import AlignmentMatching
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune

pytestmark = pytest.mark.slow

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
SHORT = AlignmentConfig(watched=2, most_steps=3, most_epochs=3, measured_per_class=4)


def cafe(**changes: Any) -> DistillConfig:
    """Four iterations of at most three image steps."""
    values: dict[str, Any] = {"method": "cafe", "iterations": 4, "rounds": 2, "batch_real": 16, "network": NARROW, "init": "noise"}
    values |= {"augment": (), "learning_rate": 0.1, "batch_train": 8, "alignment": SHORT}
    return spelled_out(values | changes)


def aligned(**changes: Any) -> AlignmentConfig:
    return SHORT.model_copy(update=changes)


def _run(config: DistillConfig, pool: RealPool, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = assemble(config, pool), initial_state(config, pool)
    return state, distill(setting, state, iterations, None, guard_for(setting))


@pytest.mark.parametrize(("ipc", "samples", "families"), [(1, 12, ()), (3, 9, ("color", "crop")), (2, 2, ())])
def test_objective_and_gradient_equal_the_papers_formula(few: Few, ipc: int, samples: int, families: tuple[str, ...]) -> None:
    """That of the first image step, in one graph over all classes."""
    config, pool = cafe(ipc=ipc, augment=families), few(samples)
    setting, slow = assemble(config, pool), reference(config, pool)
    assert isinstance(slow, AlignmentReference)
    setting.draw_network("network", 0)
    slow.start("network", 0)
    state = initial_state(config, pool)
    leaf = state.images.clone().requires_grad_()
    wanted = slow.loss(leaf, 0, 0)
    gradient, losses = image_gradient(setting, state.images, state.labels, draw_batches(setting, None, 0, 0))
    torch.testing.assert_close(losses.sum(), wanted.detach(), rtol=1e-5, atol=0.0)
    (right,) = torch.autograd.grad(wanted, leaf)
    assert (gradient - right).norm() < 1e-4 * right.norm()


@pytest.mark.parametrize(("changes", "real_bytes"), [({}, 2**34), ({"pruned": 3}, 2**34), ({"pruned": 3}, 1)], ids=str)
def test_all_classes_together_give_what_one_after_the_other_gives(few: Few, changes: dict[str, int], real_bytes: int) -> None:
    config, pool = cafe(ipc=2, augment=("color", "crop", "cutout")), few(9)
    setting = assemble(config, pool)
    setting.draw_network("network", 0)
    state, batches = initial_state(config, pool), draw_batches(setting, None, 0, 0)
    if changes:
        batches[4] = replace(batches[4], ids=batches[4].ids[: -changes["pruned"]])
    expected, losses = image_gradient(setting, state.images, state.labels, batches)
    matching = setting.matching
    assert isinstance(matching, AlignmentMatching)
    found, told = whole_gradient(setting, matching, state.images, batches, real_bytes)
    torch.testing.assert_close(told, losses, rtol=1e-5, atol=0.0)
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert found.shape == state.images.shape


@pytest.mark.parametrize(("ipc", "families"), [(1, ()), (2, ("color", "crop"))])
def test_loop_equals_the_slow_restatement(few: Few, ipc: int, families: tuple[str, ...]) -> None:
    """The step size is halved before the last two iterations; a network is left early if its accuracy settles."""
    settings = aligned(settled=0.05, decay_at=(0.5,))
    config, pool = cafe(ipc=ipc, augment=families, learning_rate=0.02, alignment=settings), few(8)
    slow = reference(config, pool)
    before, curve = slow.images, slow.run(4)
    state, records = _run(config, pool, 4)
    assert [record.loss for record in records] == pytest.approx(curve, rel=2e-4)
    assert (state.images - slow.images).norm() < 2e-3 * (slow.images - before).norm()


def test_gradient_by_finite_differences(few: Few) -> None:
    network = NARROW.model_copy(update={"activation": "swish", "depth": 1})
    config = cafe(ipc=2, network=network, alignment=aligned(discrimination=0.5))
    setting = assemble(config, few(6))
    setting.draw_network("network", 0)
    state, batches = initial_state(config, setting.pool), draw_batches(setting, None, 0, 0)
    gradient, _ = image_gradient(setting, state.images, state.labels, batches)
    direction = gradient / gradient.norm()  # float32: only the steepest direction stands out of the rounding
    ahead, behind = (image_gradient(setting, state.images + s * direction, state.labels, batches)[1].sum() for s in (0.01, -0.01))
    assert float(gradient.norm()) == pytest.approx(float(ahead - behind) / 0.02, rel=1e-2)


def test_twenty_steps_follow_the_stored_curve(few: Few) -> None:
    expected = json.loads((HERE / "expected_cafe.json").read_text())
    config = cafe(ipc=2, iterations=20, alignment=aligned(most_steps=1))
    state, records = _run(config, few(24), 20)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-3)


def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few) -> None:
    config, pool = cafe(ipc=2), few(10)
    whole, _ = _run(config, pool, 4)
    state = initial_state(config, pool)
    for stop in (1, 1, 3, 4):
        setting = assemble(config, pool)
        distill(setting, state, stop, None, guard_for(setting))
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)


def test_step_size_is_halved_at_the_stated_shares(few: Few) -> None:
    setting = assemble(cafe(iterations=20, learning_rate=0.8), few(4))
    rates = [learning_rate(setting, iteration) for iteration in range(20)]
    assert rates == [0.8] * 12 + [0.4] * 4 + [0.2] * 2 + [0.1] * 2


def test_spread_looks_back_on_the_last_accuracies_only() -> None:
    course = Course(3, Reading(torch.device("cpu")))
    for value in (0.9, 0.1):
        course.add(torch.tensor(value), 1)
        assert not course.spread < 1.0, "too few to tell"
        assert not course.spread > 0.0
    for value in (0.3, 0.2):
        course.add(torch.tensor(2 * value), 2)
    assert course.spread == pytest.approx(0.2)


def test_what_is_read_late_is_read_in_order_and_once() -> None:
    found: list[tuple[str, list[float]]] = []
    for kind, expected in (("cpu", 2), ("meta", 0)):
        reading = Reading(torch.device(kind))
        reading.take(torch.tensor([[1.0, 2.0]]), lambda numbers: found.append(("losses", numbers)))
        reading.take(torch.tensor(0.1, dtype=torch.float64), lambda numbers: found.append(("accuracy", numbers)))
        assert len(found) == expected, "on a CPU at once"
        reading.read()
        reading.read()
        assert found == [("losses", [1.0, 2.0]), ("accuracy", [0.1])]
        found.clear()


def watch(monkeypatch: pytest.MonkeyPatch, accuracies: Callable[[int, int | None], float]) -> list[tuple[int, int]]:
    """Replace measured accuracies; collects (step, epoch) of every epoch that a network is trained."""
    trained: list[tuple[int, int]] = []
    monkeypatch.setattr(
        alignment,
        "rightly_classified",
        lambda setting, t, step, epoch=None: (torch.tensor(accuracies(step, epoch), dtype=torch.float64), 1),
    )

    monkeypatch.setattr(Setting, "train_epoch", lambda setting, images, labels, t, step, epoch: trained.append((step, epoch)))
    return trained


def steps_of(record: Record, pool: RealPool) -> int:
    return record.real_used // len(pool)


def test_a_network_is_left_once_its_accuracy_settles(few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, config = few(4), cafe(alignment=aligned(watched=3, most_steps=9, most_epochs=5))
    course = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.32, 4: 0.31}  # the last three vary by 0.02 after the fifth step
    trained = watch(monkeypatch, lambda step, epoch: course[step] if epoch is None else 0.1 * epoch)
    _, records = _run(config, pool, 1)
    assert steps_of(records[0], pool) == 5
    assert trained == [(step, epoch) for step in range(4) for epoch in range(3)], "three accuracies that differ end the training"


def test_a_network_that_never_moves_and_one_that_never_settles_are_left_in_the_end(few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, config = few(4), cafe(alignment=aligned(watched=2, most_steps=4, most_epochs=6))
    trained = watch(monkeypatch, lambda step, epoch: step % 2 if epoch is None else 1.0)
    _, records = _run(config, pool, 1)
    assert steps_of(records[0], pool) == 4
    assert trained == [(step, epoch) for step in range(3) for epoch in range(6)]


def test_accuracy_is_that_of_the_real_training_samples(few: Few) -> None:
    setting = assemble(cafe(alignment=aligned(measured_per_class=100)), few(7))
    setting.draw_network("network", 0)
    ids = torch.cat(setting.pool.by_class)
    with torch.no_grad():
        right = setting.network(setting.pool.images(ids)).argmax(1) == setting.pool.dataset.train.labels[ids]
    found, among = alignment.rightly_classified(setting, 0, 0)
    assert (float(found), among) == (float(right.sum()), len(ids))
    assert setting.network.training


def test_two_samples_per_class_and_adaptive_pruning(store: Store, tmp_path: Path) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.014), store.root)
    run = start_run(store.uri, few, cafe(ipc=3, batch_real=256), ReselectConfig(beta=0.3, interval=1), str(tmp_path))
    for number in (1, 2):
        reselect_round(run, number)
        distill_round(run, number)
    images, labels = load_synthetic(finish_run(run))
    assert images.shape == (30, 1, 8, 8)
    assert labels.bincount().tolist() == [3] * 10
    table = open_artifact(reselect_uri(run, 1), "reselect").table("ite.parquet", ITE)
    assert len(table) == 20
    assert min(table["ite"].to_pylist()) > 0


def test_decisions_inside_a_round_drop_from_the_batch(few: Few) -> None:
    config, pool = cafe(iterations=2, batch_real=32), few(20)
    reselect = ReselectConfig(beta=0.4, interval=2, threshold="quantile")
    setting, state = assemble(config, pool, reselect), initial_state(config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, reselect)
    records = distill(setting, state, 2, pruner, guard_for(setting))
    assert all(0.0 < record.dropped_share < 0.7 for record in records)
    assert pruner.dropped_share() == pytest.approx(0.4, abs=0.1)
    assert (pruner.state()["visits"][torch.cat(pool.by_class)] == 1).all()


def test_batch_norm_is_frozen_for_matching(few: Few) -> None:
    config, pool = cafe(network=NARROW.model_copy(update={"norm": "batch"})), few(6)
    one, records = _run(config, pool, 2)
    other, _ = _run(config, pool, 2)
    assert torch.equal(one.images, other.images)
    assert all(torch.isfinite(torch.tensor(record.loss)) for record in records)


def test_an_absurd_learning_rate_diverges_with_a_name(few: Few) -> None:
    with pytest.raises(Diverged, match=r"iteration \d+: .* class \d .*1e\+20"):
        _run(cafe(learning_rate=1e20), few(6), 4)
