"""The frame of the loops, by a method of the test's own: it says what one iteration does and gets the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from tiny_distillation import assemble, guard_for, small_config

from bilp.data.pool import RealPool
from bilp.distill.loops.iterations import Iterations, SharedStep, Step
from bilp.distill.step.initial import initial_state
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import Diverged

Few = Callable[[int], RealPool]


class Centers(Iterations):
    """Every class towards the mean pixel values of its real batch, in two image steps per iteration."""

    progress_steps = 2

    def prepare(self) -> None:
        self._shared = SharedStep(self.setting, self.state)

    def iteration(self, number: int) -> Iterator[Step]:
        self.setting.draw_network("network", number)
        for step in range(2):
            found = list(self.targets(number, step))
            goal = torch.stack([target.batch.images(self.setting).mean(0) for target in found]).repeat_interleave(
                self.setting.config.ipc, 0
            )
            apart = self.state.images - goal
            self._shared.take(2 * apart)
            losses = apart.square().flatten(1).sum(1).unflatten(0, (len(found), -1)).sum(1)
            values = self.guard.check_step(number, losses, apart, self.state.images)
            yield Step(values, sum(len(target.batch.ids) for target in found), 0.25 * step)


def test_a_method_that_says_what_an_iteration_does_gets_the_rest(few: Few) -> None:
    config, pool = small_config("dm", ipc=2, learning_rate=0.05), few(8)
    setting, state = assemble(config, pool), initial_state(config, pool)
    told: list[tuple[int, int, str]] = []
    records = Centers.distill(setting, state, 3, None, guard_for(setting), lambda done, total, note="": told.append((done, total, note)))
    assert [(record.iteration, record.real_used, record.dropped_share) for record in records] == [(t, 160, 0.125) for t in range(3)]
    assert records[0].loss > records[1].loss > records[2].loss > 0
    assert state.iteration == 3
    assert [(done, total) for done, total, _ in told] == [(k, 6) for k in range(1, 7)]
    assert all(note.startswith("loss ") for _, _, note in told)


def test_its_loss_is_the_mean_over_image_steps_and_classes_and_cutting_it_changes_no_byte(few: Few) -> None:
    config, pool = small_config("dm", ipc=2, learning_rate=0.05), few(8)
    setting, whole, steps = assemble(config, pool), initial_state(config, pool), list[Step]()
    watched = Centers(setting, whole, None, guard_for(setting))
    for number in range(3):
        steps += watched.iteration(number)
    cut, records = initial_state(config, pool), []
    for stop in (1, 1, 3):
        cut = cut.to("cpu")
        records += Centers.distill(assemble(config, pool), cut, stop, None, guard_for(setting))
    assert torch.equal(cut.images, whole.images)
    assert torch.equal(cut.momentum, whole.momentum)
    expected = [torch.tensor([step.losses for step in steps[2 * t : 2 * t + 2]]).double().mean().item() for t in range(3)]
    assert [record.loss for record in records] == pytest.approx(expected, rel=1e-6)


def test_it_is_stopped_when_its_loss_leaves_the_beginning_behind(few: Few) -> None:
    config, pool = small_config("dm", ipc=1, learning_rate=1.2, momentum=0.0, iterations=60), few(4)
    setting = assemble(config, pool)
    state: DistillState = initial_state(config, pool)
    before = encode_state(state)
    with pytest.raises(Diverged, match=r"iteration \d+: the loss is .* and rising, .* the worst class is \d"):
        Centers.distill(setting, state, 60, None, guard_for(setting, reference_loss=1e-3))
    assert encode_state(state) != before
