"""Rounds and reselections as artifacts: how they are published, found and read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch

from bilp.artifacts.artifact import Artifact, check_sizes
from bilp.artifacts.facts import ReselectFacts, RoundFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import Content, publish
from bilp.artifacts.run_layout import CHECKPOINT, GRID, ITE_TABLE, LOSS_TABLE, MOMENTUM, PRUNER_STATE, RESELECT, ROUND, SNAPSHOT, STATE
from bilp.artifacts.tables import ITE, LOSSES
from bilp.artifacts.tensors import decode_tensors, encode_tensors
from bilp.config.methods import METHODS
from bilp.config.reselect import RESELECT_SCORES
from bilp.data.pool import RealPool
from bilp.distill.inputs import lineage
from bilp.distill.kept import is_lacking
from bilp.distill.part import Part
from bilp.distill.pictures import grid_png
from bilp.distill.run import open_run, settings
from bilp.distill.snapshot import snapshot
from bilp.distill.step.round_bounds import bounds
from bilp.distill.step.state import DistillState, write_state
from bilp.errors import DamagedArtifact, MissingArtifact
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.weights import effective_share
from bilp.storage.scratch import require_room, scratch_folder
from bilp.storage.verification import again


def publish_reselection(
    part: Part,
    round: int,
    table: pa.Table,
    pruner: AdaptivePruner,
    classes: range,
    iteration: int,
    device: torch.device | str | None = None,
) -> str:
    """Publish what was decided about the samples of some classes, and the pruner's memory of it; the URI.

    Args:
        part: the run, or the shard of it.
        round: number of the round, from 1.
        table: the scores and decisions, with the schema ITE.
        pruner: what decided.
        classes: the classes of the part.
        iteration: the iteration before which was decided.
        device: where the effects were computed, if they were computed here.
    """
    dropped, weights = int(table["dropped"].to_numpy().sum()), pruner.weights(torch.from_numpy(table["sample_id"].to_numpy().copy()))
    files = {
        ITE_TABLE: encode(table, ITE, {**_origin(part, RESELECT, round), "score": part.run.reselect.score}),
        PRUNER_STATE: encode_tensors(pruner.state(classes)),
    }
    facts = {
        "round": round,
        "iteration": iteration,
        "dropped_share": 1.0 - (len(table) - dropped) / len(table),
        "dropped_share_so_far": pruner.dropped_share(),
        "score": part.run.reselect.score,
        "quantile_classes": _quantile_classes(pruner, classes),
    }
    if weights is not None:
        labels = torch.from_numpy(table["label"].to_numpy().copy())
        facts["effective_share"] = statistics.fmean(effective_share(weights[labels == c]) for c in labels.unique().tolist())
    return _publish(part, RESELECT, round, files, facts, device)


def publish_round(
    part: Part, round: int, state: DistillState, losses: pa.Table, last_loss: float, pruner: AdaptivePruner | None, pool: RealPool
) -> str:
    """Publish a round with the state after it, or that beside it if the round does not keep it; the URI of the round.

    The pruner's memory becomes part of the state. Of a run that is merged, a state that is not kept is not published at all.

    Args:
        part: the run, or the shard of it.
        round: number of the round, from 1.
        state: the state after its last iteration.
        losses: one row per iteration, with the schema LOSSES.
        last_loss: the last of them, not rounded to the table's float32.
        pruner: what adaptive pruning decided, or None without it.
        pool: the real samples of the run.
    """
    first, stop = bounds(part.run.distill, round)
    facts: dict[str, Any] = {"round": round, "first_iteration": first, "iteration": stop, "loss": last_loss}
    if pruner is not None:
        classes = part.classes(pool.classes)
        state.pruner = pruner.state(classes)
        facts |= {
            "decided_per_class": state.pruner["decided"].tolist(),
            "dropped_per_class": state.pruner["dropped"].tolist(),
            "quantile_classes": _quantile_classes(pruner, classes),
        }
    dataset, device = pool.dataset, state.images.device
    files: dict[str, Content] = {
        LOSS_TABLE: encode(losses, LOSSES, _origin(part, ROUND, round)),
        GRID: grid_png(state.images, part.run.distill.ipc, dataset.mean, dataset.std, dataset.whitening),
        SNAPSHOT: encode_tensors(snapshot(state.images, state.labels, dataset)),
    }
    there = part.find(ROUND, round)  # published meanwhile by another process, or long ago without its state
    kept = part.keeps(round) and (there is None or CHECKPOINT in there.manifest.files)
    if not kept and part.shard is None and part.run.distill.shards > 1:
        return _publish(part, ROUND, round, files, facts, device)
    with scratch_folder("bilp-round-") as folder:
        stepped = METHODS[part.run.distill.method].optimizes
        names = (CHECKPOINT, MOMENTUM) if stepped else (CHECKPOINT,)
        held: dict[str, Content] = {name: folder / name for name in names}
        require_room(folder, 2 * state.images.nbytes, f"the state after round {round} of {part.uri}")
        write_state(state, folder / CHECKPOINT, folder / MOMENTUM if stepped else None)
        if not kept:
            _publish(part, STATE, round, held, {"round": round, "iteration": stop}, device)
        return _publish(part, ROUND, round, files | held if kept else files, facts, device)


def open_round(part: Part, round_number: int) -> Artifact:
    """A complete round. Raises MissingArtifact, naming what to run, if it is not there."""
    artifact = part.find(ROUND, round_number)
    if artifact is None:
        raise MissingArtifact(
            f"round {round_number} of {part.uri} is not there (of {part.run.distill.rounds}): run {_makes_round(part)} for it first"
        )
    return artifact


def open_reselection(part: Part, round_number: int) -> Artifact:
    """A complete reselection. Raises MissingArtifact, naming what to run, if it is not there."""
    artifact = part.find(RESELECT, round_number)
    if artifact is None:
        uri, beta = part.place(RESELECT, round_number), part.run.reselect.beta
        raise MissingArtifact(f"the reselection of round {round_number} is not at {uri}: run reselect_round for it first (beta = {beta})")
    return artifact


def reselected(part: Part, round_number: int) -> dict[str, torch.Tensor]:
    """State of the pruner after this round's reselection."""
    artifact = open_reselection(part, round_number)
    return decode_tensors(artifact.read(PRUNER_STATE), artifact.place(PRUNER_STATE))


def round_losses(artifact: Artifact) -> pa.Table:
    """The losses of a round, see `bilp.artifacts.tables.LOSSES`. Raises DamagedArtifact unless each of its iterations is there."""
    facts = artifact.stated(RoundFacts)
    first, stop = facts.first_iteration, facts.iteration
    table = artifact.table(LOSS_TABLE, LOSSES, rows=stop - first, below={"iteration": stop})
    if stop > first and table["iteration"][0].as_py() != first:  # ascending, so many, and below stop: all others follow
        raise DamagedArtifact(f"{artifact.place(LOSS_TABLE)} does not begin with iteration {first}: {again(artifact.uri)}")
    return table


def round_effects(artifact: Artifact, labels: torch.Tensor) -> pa.Table:
    """What a reselection measured, see `bilp.artifacts.tables.ITE`; `labels` [N] are those of the whole train split.

    Raises DamagedArtifact for samples of other classes, another round or another number of dropped ones than the manifest states.
    """
    facts = artifact.stated(ReselectFacts)
    table = artifact.table(ITE_TABLE, ITE, below={"sample_id": len(labels)})
    own = labels.numpy()[table["sample_id"].to_numpy()]
    dropped = int(table["dropped"].to_numpy().sum())
    share = 1.0 - (len(table) - dropped) / len(table) if len(table) else math.nan
    if not RESELECT_SCORES[facts.score].signed and (table["ite"].to_numpy() < 0).any():
        raise DamagedArtifact(f"{artifact.place(ITE_TABLE)} holds negative scores by {facts.score}: {again(artifact.uri)}")
    if (own != table["label"].to_numpy()).any() or (table["round"].to_numpy() != facts.round).any() or share != facts.dropped_share:
        what = "holds other samples, another round or another share of dropped ones than is stated"
        raise DamagedArtifact(f"{artifact.place(ITE_TABLE)} {what}: {again(artifact.uri)}")
    return table


def is_complete(run_uri: str, shard: int | None = None) -> bool:
    """Whether every round of a run, or of one of its shards, is there with its reselection if it has one.

    Raises DamagedArtifact if a file of theirs is missing or of another size; one look at the storage for all of them.
    """
    part = Part(run_uri, open_run(run_uri), shard)
    kinds = (ROUND, RESELECT) if part.run.reselect.active else (ROUND,)
    artifacts = []
    for number in range(part.run.distill.rounds, 0, -1):  # the last one first: it is the one that an unfinished run lacks
        for kind in kinds:
            artifact = part.find(kind, number)
            if artifact is None:
                return False
            artifacts.append(artifact)
        if is_lacking(part, number):
            return False
    check_sizes(part.uri, artifacts)
    return True


def _publish(
    part: Part, kind: str, number: int, files: Mapping[str, Content], facts: Mapping[str, Any], device: torch.device | str | None
) -> str:
    """Publish the round (kind ROUND), its reselection (RESELECT) or the state after it (STATE); the URI.

    Args:
        part: the run, or the shard of it.
        kind: one of these three.
        number: number of the round, from 1.
        files: content by name.
        facts: what the manifest states.
        device: where it was computed, if it was computed here.
    """
    uri, key = part.place(kind, number), part.key(kind, number)
    parents = lineage(part.run_uri, part.run)
    return publish(uri, kind, key, files, config=settings(part.run), parents=parents, facts=facts, device=device).uri


def _makes_round(part: Part) -> str:
    return "merge_round" if part.shard is None and part.run.distill.shards > 1 else "distill_round"


def _quantile_classes(pruner: AdaptivePruner, classes: range) -> list[int]:
    return [c for c in pruner.quantile_classes.tolist() if c in classes]


def _origin(part: Part, kind: str, round_number: int) -> dict[str, Any]:
    """What a table says that it is."""
    return {"stage": kind, "key": part.key(kind, round_number), "run": part.run.key, "round": round_number}
