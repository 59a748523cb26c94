"""What the state after a round must be, beyond what the file says of itself: that of this run, this round and these samples."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bilp.artifacts.artifact import Artefact
from bilp.artifacts.facts import RoundFacts
from bilp.data.pool import RealPool
from bilp.distill.loops.mtt import require_step_size
from bilp.distill.part import Part
from bilp.distill.step.network_pool import require_pool
from bilp.distill.step.state import DistillState, decode_state
from bilp.errors import DamagedArtefact
from bilp.nets import build
from bilp.storage.verification import again

CHECKPOINT = "checkpoint.safetensors"


def round_state(artefact: Artefact) -> DistillState:
    """The state after a round. Raises DamagedArtefact if its file cannot be read, or is not of the iteration that the manifest states."""
    facts, where = artefact.stated(RoundFacts), artefact.place(CHECKPOINT)
    state = decode_state(artefact.read(CHECKPOINT), where)
    if state.iteration != facts.iteration:
        raise _damaged(artefact, f"is the state of iteration {state.iteration}, not {facts.iteration}")
    if not math.isfinite(state.reference_loss):
        raise _damaged(artefact, "holds no reference loss, by which a divergence is noticed")
    return state


def state_of(artefact: Artefact, part: Part, pool: RealPool) -> DistillState:
    """As `round_state`, of a round of `part`.

    Raises DamagedArtefact if the images are not those of its classes, or what the method or the pruner carries on is missing or
    cannot be so.
    """
    state, config, classes = round_state(artefact), part.run.distill, part.classes(pool.classes)
    labels = torch.arange(classes.start, classes.stop).repeat_interleave(config.ipc)
    expected = (len(labels), *pool.dataset.shape)
    if tuple(state.images.shape) != expected:
        raise _damaged(artefact, f"holds images {list(state.images.shape)} instead of {list(expected)}")
    if not torch.equal(state.labels, labels):
        raise _damaged(artefact, f"does not hold {config.ipc} images of each of its classes in their order")
    if bool(state.pruner) != (part.run.reselect.beta > 0):
        found = "holds the state of a pruner, which the run does not have" if state.pruner else "holds no state of the pruner"
        raise _damaged(artefact, found)
    _require_method(state.method, part, pool, artefact.place(CHECKPOINT))
    return state


def _require_method(tensors: Mapping[str, Tensor], part: Part, pool: RealPool, where: str) -> None:
    config = part.run.distill
    if config.method in ("mtt", "tesla"):
        require_step_size(tensors, where)
    elif config.method == "idm":
        require_pool(tensors, config, build(config.network, pool.dataset.shape, pool.classes), where)
    elif tensors:
        held = ", ".join(tensors)[:200]
        raise DamagedArtefact(f"{where} holds {held}, which method {config.method} does not carry on: run the round again")


def _damaged(artefact: Artefact, what: str) -> DamagedArtefact:
    return DamagedArtefact(f"{artefact.place(CHECKPOINT)} {what}: {again(artefact.uri)}")
