"""What the state after a round must be, beyond what the file says of itself: that of this run, this round and these samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import StateFacts
from bilp.artifacts.run_layout import CHECKPOINT, MOMENTUM
from bilp.config import METHODS, DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.part import Part
from bilp.distill.real_part import require_real
from bilp.distill.step.state import DistillState, read_state
from bilp.errors import DamagedArtifact
from bilp.registry import resolve
from bilp.storage.verification import again

Carried = Callable[[Mapping[str, Tensor], DistillConfig, RealPool, str], None]
"""Raises DamagedArtifact, naming the place `str`, unless the tensors are what a method carries from round to round."""


def round_state(artifact: Artifact) -> DistillState:
    """The state after a round, of the artifact that holds it (`bilp.distill.kept`): tensors that take memory as they are used.

    Raises DamagedArtifact if its files cannot be read, or are not of the iteration that the manifest states.
    """
    facts = artifact.stated(StateFacts)
    with ExitStack() as stack:
        names = [name for name in (CHECKPOINT, MOMENTUM) if name == CHECKPOINT or name in artifact.manifest.files]
        first, *second = [(stack.enter_context(artifact.fetched(name)), artifact.place(name)) for name in names]
        state = read_state(first, second[0] if second else None)
    if state.iteration != facts.iteration:
        raise _damaged(artifact, f"is the state of iteration {state.iteration}, not {facts.iteration}")
    if not math.isfinite(state.reference_loss):
        raise _damaged(artifact, "holds no reference loss, by which a divergence is noticed")
    return state


def state_of(artifact: Artifact, part: Part, pool: RealPool) -> DistillState:
    """As `round_state`, of a round of `part`.

    Raises DamagedArtifact if the images are not those of its classes, or what the method or the pruner carries on is missing or
    cannot be so.
    """
    state, config, classes = round_state(artifact), part.run.distill, part.classes(pool.classes)
    labels = torch.arange(classes.start, classes.stop).repeat_interleave(config.ipc)
    expected = (len(labels), *pool.dataset.shape)
    if tuple(state.images.shape) != expected:
        raise _damaged(artifact, f"holds images {list(state.images.shape)} instead of {list(expected)}")
    if not torch.equal(state.labels, labels):
        raise _damaged(artifact, f"does not hold {config.ipc} images of each of its classes in their order")
    if bool(state.pruner) != (part.run.reselect.active):
        found = "holds the state of a pruner, which the run does not have" if state.pruner else "holds no state of the pruner"
        raise _damaged(artifact, found)
    require_real(state, config, pool, artifact.place(CHECKPOINT))
    _require_method(state.method, part, pool, artifact.place(CHECKPOINT))
    return state


def _require_method(tensors: Mapping[str, Tensor], part: Part, pool: RealPool, where: str) -> None:
    config = part.run.distill
    carried = METHODS[config.method].carried
    if carried:
        check: Carried = resolve(carried)
        check(tensors, config, pool, where)
    elif tensors:
        held = ", ".join(tensors)[:200]
        raise DamagedArtifact(f"{where} holds {held}, which method {config.method} does not carry on: run the round again")


def _damaged(artifact: Artifact, what: str) -> DamagedArtifact:
    return DamagedArtifact(f"{artifact.place(CHECKPOINT)} {what}: {again(artifact.uri)}")
