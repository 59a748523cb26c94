"""Which loop runs which method. A loop moves the synthetic images; everything around it is the same for every method."""

from __future__ import annotations

from typing import Protocol

from bilp.config import MethodName
from bilp.distill.loops import cafe, dm_dc, idc, idm, mtt
from bilp.distill.step import reselection
from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.progress import Progress
from bilp.pruning.adaptive import AdaptivePruner


class Advance(Protocol):
    """Advance `state` in place from `state.iteration` to `stop`, and `pruner` with it; one record per iteration.

    Writes nothing, reads at most the experts or the pretrained networks of `setting`, and depends on its arguments alone:
    cut between two iterations and continued, it arrives at the same bytes. What it must remember from one iteration to the
    next is part of `state`.
    """

    def __call__(
        self, setting: Setting, state: DistillState, stop: int, pruner: AdaptivePruner | None, guard: Guard, progress: Progress
    ) -> list[Record]: ...


LOOPS: dict[MethodName, Advance] = {
    "dm": dm_dc.distill,
    "dc": dm_dc.distill,
    "dsa": dm_dc.distill,
    "idc": idc.distill,
    "dream": idc.distill,
    "idm": idm.distill,
    "mtt": mtt.distill,
    "tesla": mtt.distill,
    "cafe": cafe.distill,
}
# Where the networks of a reselection come from, if not from where DM, DC, DSA and CAFE take theirs.
NETWORKS: dict[MethodName, reselection.Prepare] = {
    "idc": idc.draw_trained_network,
    "dream": idc.draw_trained_network,
    "idm": idm.draw_trained_network,
}


def loop_for(method: MethodName) -> Advance:
    """The loop of a method."""
    return LOOPS[method]


def networks_for(method: MethodName) -> reselection.Prepare:
    """What draws the networks on which a method's samples are reselected at the boundary of a round."""
    return NETWORKS.get(method, reselection.draw_trained_network)
