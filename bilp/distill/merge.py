"""Rounds of a divided run: what its shards published, joined into the artifacts that an undivided run has.

Images, momentum, the pruner's memory and what the method carries belong to one class each, so they are laid side by side. What is
told of all classes together is computed from the shards' own: losses and shares are means over classes, counts are sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from bilp.artifacts.run_layout import RESELECT, ROUND
from bilp.artifacts.tables import LOSSES
from bilp.data.pool import RealPool
from bilp.distill.checkpoint import state_of
from bilp.distill.inputs import open_pool
from bilp.distill.kept import clear, open_state, unless_done
from bilp.distill.part import Part, parts_of
from bilp.distill.round_files import (
    open_reselection,
    open_round,
    publish_reselection,
    publish_round,
    reselected,
    round_effects,
    round_losses,
)
from bilp.distill.rounds import new_pruner
from bilp.distill.run import open_run
from bilp.distill.step.round_bounds import bounds
from bilp.distill.step.state import DistillState
from bilp.errors import ConfigError
from bilp.storage.objects import Uri, as_uri


def merge_round(run_uri: Uri, round: int) -> str:
    """Publish rounds/<round> of a divided run, and with beta > 0 its reselection, from those of its shards; returns its URI.

    Nothing is computed twice; a merge that was interrupted begins again with what it had not published. Raises
    MissingArtifact if a shard, or the merge of round 1, has not come as far, and ConfigError for a run that is not divided
    or has no such round.
    """
    run_uri = as_uri(run_uri)
    run = open_run(run_uri)
    bounds(run.distill, round)
    if run.distill.shards == 1:
        raise ConfigError(f"{run_uri} is not divided into shards, so there is nothing to merge: run distill_round")
    whole, parts = Part(run_uri, run, None), parts_of(run_uri, run)
    if run.reselect.active and not whole.there_already(RESELECT, round):
        _merge_reselection(whole, parts, round, open_pool(run_uri, run))
    if not whole.there_already(ROUND, round):
        with unless_done(whole, ROUND, round):
            _merge_state(whole, parts, round, open_pool(run_uri, run))
    for part in parts:
        clear(part, range(round, round + 1))
    return whole.place(ROUND, round)


def _merge_reselection(whole: Part, parts: Sequence[Part], round: int, pool: RealPool) -> None:
    pruner, tables = new_pruner(whole.run, pool), []
    for part in parts:
        pruner.load(reselected(part, round), part.classes(pool.classes))
        tables.append(round_effects(open_reselection(part, round), pool.dataset.train.labels))
    table = pa.concat_tables(tables).sort_by("sample_id")
    publish_reselection(whole, round, table, pruner, range(pool.classes), bounds(whole.run.distill, round)[0])


def _merge_state(whole: Part, parts: Sequence[Part], round: int, pool: RealPool) -> None:
    artifacts = [open_round(part, round) for part in parts]
    shares = [len(part.classes(pool.classes)) for part in parts]
    losses = _joined_losses([round_losses(artifact) for artifact in artifacts], shares)
    first = losses if round == 1 else round_losses(open_round(whole, 1))
    states = [state_of(open_state(part, round), part, pool) for part in parts]
    pruner = new_pruner(whole.run, pool) if whole.run.reselect.active else None
    if pruner is not None:
        for part, state in zip(parts, states, strict=True):
            pruner.load(state.pruner, part.classes(pool.classes))
    state = DistillState(
        images=torch.cat([state.images for state in states]),
        labels=torch.cat([state.labels for state in states]),
        momentum=torch.cat([state.momentum for state in states]),
        iteration=states[0].iteration,
        reference_loss=float(np.median(first["loss"])),
        method={name: torch.cat([state.method[name] for state in states]) for name in states[0].method},  # by class, as images are
        real=_joined_real(states),
    )
    publish_round(whole, round, state, losses, losses["loss"][-1].as_py(), pruner, pool)


def _joined_real(states: Sequence[DistillState]) -> torch.Tensor | None:
    """The real part of all classes, if the run has one."""
    parts = [state.real for state in states if state.real is not None]
    return torch.cat(parts) if parts else None


def _joined_losses(tables: Sequence[pa.Table], classes: Sequence[int]) -> pa.Table:
    """The table of all classes from one per shard; `classes` are the numbers of theirs."""

    def mean(name: str) -> np.ndarray:
        columns = np.stack([table[name].to_numpy().astype(np.float64) for table in tables])
        return np.average(columns, axis=0, weights=classes)

    columns = {
        "iteration": tables[0]["iteration"],
        "loss": mean("loss").astype(np.float32),
        "real_used": np.sum([table["real_used"].to_numpy() for table in tables], axis=0),
        "dropped_share": mean("dropped_share").astype(np.float32),
    }
    return pa.table(columns).select(LOSSES.names).cast(LOSSES)
