"""The loop of DC, DSA and DM as CUDA graphs: the operations of `dm_dc`, launched a few times an image step instead of a thousand.

Everything random is drawn by the host from the streams that the reference names, some image steps ahead and in threads, and travels in
one copy. Losses stay on the device until a good many image steps are done; a step that diverged is noticed then, before anything is
published. Image steps that decide anew which samples to keep away, or whose batches have another size, run as in the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bilp.capture import Ahead
from bilp.capture.captured_step import WARM_UPS
from bilp.config.reselect import RESELECT_MODES
from bilp.distill.loops.dm_dc import SummedIterations
from bilp.distill.loops.iterations import Step
from bilp.distill.loops.step_graphs import StepGraphs
from bilp.distill.loops.step_inputs import Drawn
from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.progress import Progress, silent
from bilp.pruning.adaptive import AdaptivePruner

# Image steps whose losses wait on the device until they are read together, at the end of an iteration.
READ_EVERY = 16
# Image steps that are drawn at once, each in a thread: one of DM takes the host longer than the device.
DRAWN_AHEAD = 2


@dataclass(frozen=True)
class _Waiting:
    """An outer loop that was queued, with what was drawn for it, or one that ran as in the reference."""

    place: int
    """Counted from the run's first."""
    known: Drawn | Step


class CapturedIterations(SummedIterations):
    """The iterations of the reference on fixed tensors."""

    def advance(self, stop: int, progress: Progress = silent) -> list[Record]:
        """As the reference; progress is told of several iterations at once."""
        outer_loops, first, records = self.setting.schedule.outer_loops, self.state.iteration, list[Record]()
        graphs = StepGraphs(self, DRAWN_AHEAD + 1, READ_EVERY + outer_loops)
        waiting: list[_Waiting] = []
        with Ahead(graphs.draw, DRAWN_AHEAD) as ahead:
            for place in range(first * outer_loops, stop * outer_loops):
                waiting.append(_Waiting(place, self._take(graphs, ahead, place, stop * outer_loops)))
                if (place + 1) % outer_loops:
                    continue
                self.state.iteration = (place + 1) // outer_loops
                if len(waiting) >= READ_EVERY or self.state.iteration == stop:
                    for record, steps in self._read(graphs, waiting):
                        records.append(record)
                        progress(len(records), stop - first, self.note(record, steps))
                    waiting.clear()
        return records

    def _take(self, graphs: StepGraphs, ahead: Ahead[Drawn | None], place: int, stop: int) -> Drawn | Step:
        """An outer loop: queued on the device, or run as in the reference. What comes next is drawn meanwhile, unless this decides it."""
        drawn = None if self._decides(place) else ahead.take(place)
        if drawn is None:
            return self.outer_loop(*self._where(place))
        graphs.queue(place)
        for following in range(place + 1, min(place + 1 + DRAWN_AHEAD, stop)):
            if self._decides(following):
                break
            ahead.announce(following)
        return drawn

    def _where(self, place: int) -> tuple[int, int]:
        """Iteration, and outer loop within it."""
        return divmod(place, self.setting.schedule.outer_loops)

    def _decides(self, place: int) -> bool:
        return self.reselects(*self._where(place))

    def _read(self, graphs: StepGraphs, waiting: list[_Waiting]) -> Iterator[tuple[Record, list[Step]]]:
        """Records and image steps of the iterations that wait, from one transfer. Raises Diverged."""
        told = graphs.told()
        by_iteration: dict[int, list[Step]] = {}
        for one in waiting:
            number, step = self._where(one.place)[0], one.known
            if isinstance(step, Drawn):
                values = self.guard.check_measured(number, told[one.place % len(told)])
                step = Step(values, step.real_used, step.withheld)
            by_iteration.setdefault(number, []).append(step)
        for number, steps in by_iteration.items():
            yield self._checked(number, steps), steps


def can_be_captured(setting: Setting, pruner: AdaptivePruner | None) -> bool:
    """Whether image steps are the same operations on the same sizes every time, and the device has graphs.

    Batches that shrink or are weighed by decisions change in size or kind; batch norm is estimated on images that are drawn in
    between.
    """
    mode = RESELECT_MODES[setting.reselect.mode]
    changing = pruner is not None and (mode.shrinks or mode.weighs)
    estimated = any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in setting.network.modules())
    return setting.device.type == "cuda" and not (changing or estimated)


def distill(
    setting: Setting, state: DistillState, stop: int, pruner: AdaptivePruner | None, guard: Guard, progress: Progress = silent
) -> list[Record]:
    """Advance a state as `bilp.distill.loops.dm_dc.distill` does; see `Iterations.distill`.

    By graphs where that is possible, if any will be replayed: not in a few image steps.

    Args:
        setting: what stays fixed.
        state: the state to advance; its tensors lie on the setting's device.
        stop: the iteration before which to stop.
        pruner: what adaptive pruning decided so far, or None without it.
        guard: what raises Diverged.
        progress: told of iterations that are done.
    """
    steps = (stop - state.iteration) * setting.schedule.outer_loops
    loop = CapturedIterations if steps > WARM_UPS and can_be_captured(setting, pruner) else SummedIterations
    return loop.distill(setting, state, stop, pruner, guard, progress)
