"""Iterations of DM, DC and DSA as graphs: the images, losses and errors of the loop that launches every operation by itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from pretend_cuda import pretend_cuda
from tiers import first_tier
from torch import Tensor

from benchmarks.gpu.iterations import config_for
from benchmarks.step_settings import Noise
from bilp.capture.captured_step import WARM_UPS
from bilp.config import DistillConfig, ReselectConfig
from bilp.data import Dataset
from bilp.data.pool import RealPool
from bilp.distill.loops.captured import READ_EVERY, CapturedIterations, can_be_captured, distill
from bilp.distill.loops.dm_dc import SummedIterations
from bilp.distill.loops.step_inputs import PIXELS, SAMPLES, StepInputs
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.errors import Diverged
from bilp.pruning.adaptive import AdaptivePruner

CLASSES, SHAPE = 3, (3, 16, 16)
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "dm": ("dm", 1, {}),
    "dm, plain": ("dm", 1, {"augment": ()}),
    "dc": ("dc", 1, {}),
    # Two trainings of two epochs each, in mini-batches of 4 and 2.
    "dc, trained": ("dc", 2, {"outer_loops": 3, "inner_epochs": 2, "batch_train": 4}),
    "dsa, trained": ("dsa", 2, {"outer_loops": 2, "inner_epochs": 2, "batch_train": 4}),
}


class Run:
    """A distillation on 8 noisy images a class, on a device, as far as it has come."""

    def __init__(self, case: str, device: str, reselect: ReselectConfig | None = None, **changes: Any) -> None:
        method, ipc, own = CASES[case]
        self.config: DistillConfig = config_for(method, ipc, 4, 6, own | changes)
        pool = RealPool(cast(Dataset, Noise(CLASSES, 8, SHAPE)))
        self.setting = Setting.assemble(self.config, reselect or ReselectConfig(beta=0.0), pool, device)
        self.state: DistillState = initial_state(self.config, pool).to(device)
        labels = pool.dataset.train.labels
        self.pruner = None if reselect is None else AdaptivePruner(labels, CLASSES, reselect)
        self.guard = Guard(self.config.learning_rate, pool.dataset.class_names, math.nan, "")

    def advance(self, loop: type[SummedIterations], stop: int) -> list[Record]:
        """Go on to `stop`."""
        return loop.distill(self.setting, self.state, stop, self.pruner, self.guard)


def assert_same(found: list[Record], expected: list[Record]) -> None:
    assert [replace(record, loss=0.0) for record in found] == [replace(record, loss=0.0) for record in expected]
    assert [record.loss for record in found] == pytest.approx([record.loss for record in expected], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "travels"), [("auto", False), ("streamed", True)])
def test_images_that_a_device_keeps_do_not_travel_and_those_that_do_are_the_same(
    way: str, travels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILP_DATA", way)
    count = WARM_UPS + 3
    expected = Run("dm", "cpu").advance(SummedIterations, count)
    with pretend_cuda():
        away = Run("dm", "cuda")
        inputs = StepInputs(away.setting, None, len(away.state.images), 0)
        assert (PIXELS in inputs.fields, SAMPLES in inputs.fields) == (travels, not travels)
        assert_same(away.advance(CapturedIterations, count), expected)


@pytest.mark.parametrize("case", first_tier(CASES, "dm"))
def test_graphs_take_the_steps_of_the_reference(case: str) -> None:
    at_home = Run(case, "cpu")
    start, count = at_home.state.images.clone(), WARM_UPS + 3
    expected = at_home.advance(SummedIterations, count)
    with pretend_cuda() as counts:
        away = Run(case, "cuda")
        assert can_be_captured(away.setting, None)
        counts.clear()
        found = away.advance(CapturedIterations, count)
        assert counts.operations["graph"] > 0
        images, momentum = away.state.images.detach().cpu(), away.state.momentum.cpu()
    assert_same(found, expected)
    moved = (at_home.state.images.detach() - start).norm()
    assert float((images - at_home.state.images.detach()).norm() / moved) < 1e-4
    torch.testing.assert_close(momentum, at_home.state.momentum, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_an_image_step_is_a_copy_and_two_launches_and_waits_for_nothing() -> None:
    """Twice as many iterations cost so much more."""
    found = []
    for number in (1, 2):
        with pretend_cuda() as counts:
            run = Run("dc", "cuda")
            counts.clear()
            run.advance(CapturedIterations, number * READ_EVERY)
            found.append((counts.operations.copy(), counts.copies.total(), counts.waits.total()))
    steps = READ_EVERY
    (before, copies, waits), (after, more_copies, more_waits) = found
    assert after - before == {"graph": 2 * steps, "copy_": steps}
    assert more_copies - copies == steps
    assert more_waits - waits == 1


@pytest.mark.slow
def test_real_images_travel_where_the_device_does_not_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes either way: their numbers are sent where it does."""

    def run() -> tuple[Tensor, int]:
        with pretend_cuda() as counts:
            run = Run("dc, trained", "cuda")
            counts.clear()
            run.advance(CapturedIterations, 4)
            return run.state.images.detach().cpu(), counts.copied_bytes

    images, sent = run()
    monkeypatch.setenv("BILP_DATA", "streamed")
    same, pixels = run()
    assert torch.equal(same, images)
    assert pixels - sent > 4 * CLASSES * 6 * 3 * 16 * 16, "of every real image of an image step, at least"


@pytest.mark.slow
def test_cut_anywhere_and_continued_it_arrives_at_the_same_bytes() -> None:
    with pretend_cuda():
        whole, cut = Run("dc, trained", "cuda"), Run("dc, trained", "cuda")
        expected = whole.advance(CapturedIterations, 7)
        found = [record for stop in (2, 6, 7) for record in cut.advance(CapturedIterations, stop)]
        assert found == expected
        assert torch.equal(cut.state.images.detach().cpu(), whole.state.images.detach().cpu())
        assert torch.equal(cut.state.momentum.cpu(), whole.state.momentum.cpu())


@pytest.mark.slow
@pytest.mark.parametrize(("interval", "beta"), [(1, 0.25), (3, 0.25), (3, 0.5)])
def test_steps_that_reselect_run_between_graphs(interval: int, beta: float) -> None:
    """Six of eight samples of a class are a batch; where fewer are left, batches have another size, and the reference takes them."""
    reselect = ReselectConfig(beta=beta, interval=interval, candidates_per_class=8)
    with pretend_cuda() as counts:
        one_by_one, captured = (Run("dc, trained", "cuda", reselect) for _ in range(2))
        expected = one_by_one.advance(SummedIterations, 7)
        counts.clear()
        assert can_be_captured(captured.setting, captured.pruner)
        found = captured.advance(CapturedIterations, 7)
        assert counts.operations["graph"] > 0
        assert found == expected
        assert any(record.dropped_share > 0 for record in expected)
        assert torch.equal(captured.state.images.detach().cpu(), one_by_one.state.images.detach().cpu())


def test_batches_that_shrink_are_left_to_the_reference() -> None:
    reselect = ReselectConfig(beta=0.25, interval=2, mode="shrink", candidates_per_class=8)
    with pretend_cuda():
        run = Run("dc", "cuda", reselect)
        assert not can_be_captured(run.setting, run.pruner)
        assert not can_be_captured(Run("dc", "cuda", network={"norm": "batch"}).setting, None)
    assert not can_be_captured(Run("dc", "cpu").setting, None)


@pytest.mark.slow
def test_divergence_is_noticed_later_and_named_alike() -> None:
    told = []
    with pretend_cuda():
        for loop in (SummedIterations, CapturedIterations):
            run = Run("dc, trained", "cuda", learning_rate=3e4)
            with pytest.raises(Diverged) as error:
                run.advance(loop, 20)
            told.append((str(error.value), run.state.iteration))
    assert told[0][0] == told[1][0]
    assert told[0][1] <= told[1][1] <= told[0][1] + READ_EVERY


@pytest.mark.slow
def test_the_loop_is_chosen_by_the_device() -> None:
    with pretend_cuda() as counts:
        run = Run("dm", "cuda")
        distill(run.setting, run.state, WARM_UPS + 2, None, run.guard)
        assert counts.operations["graph"] > 0
        counts.clear()
        distill(run.setting, run.state, 2 * WARM_UPS + 2, None, run.guard)
        assert counts.operations["graph"] == 0, "so few would be none"
