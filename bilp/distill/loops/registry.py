"""Which loop runs which method. A loop moves the synthetic images; everything around it is the same for every method."""

from __future__ import annotations

from typing import Protocol

from bilp.config import METHODS, MethodName
from bilp.distill.step import reselection
from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.progress import Progress
from bilp.pruning.adaptive import AdaptivePruner
from bilp.registry import resolve


class Advance(Protocol):
    """Advance `state` in place from `state.iteration` to `stop`, and `pruner` with it; one record per iteration.

    Writes nothing, reads at most the experts or the pretrained networks of `setting`, and depends on its arguments alone:
    cut between two iterations and continued, it arrives at the same bytes. What it must remember from one iteration to the
    next is part of `state`.
    """

    def __call__(
        self, setting: Setting, state: DistillState, stop: int, pruner: AdaptivePruner | None, guard: Guard, progress: Progress
    ) -> list[Record]: ...


def loop_for(method: MethodName) -> Advance:
    """The loop of a method. Raises ConfigError for a name that no method has."""
    loop: Advance = resolve(METHODS.known(method).loop)
    return loop


def networks_for(method: MethodName) -> reselection.Prepare:
    """What draws the networks on which a method's samples are reselected at the boundary of a round."""
    prepare: reselection.Prepare = resolve(METHODS.known(method).networks)
    return prepare
