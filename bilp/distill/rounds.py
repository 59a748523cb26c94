"""Rounds of a run: reselect, distill, publish; each is a whole artifact or nothing, so a killed run goes on from the last."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch

from bilp.artifacts.artifact import Artifact, check_sizes, find, there_already
from bilp.artifacts.facts import ReselectFacts, RoundFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish
from bilp.artifacts.tables import ITE, LOSSES
from bilp.artifacts.tensors import decode_tensors, encode_tensors
from bilp.data.pool import RealPool
from bilp.distill.checkpoint import CHECKPOINT, state_of
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.part import Part, open_part
from bilp.distill.pictures import grid_png
from bilp.distill.run import Run, bounds, lineage, open_experts, open_pool, open_pretrained, open_run, settings
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.reselection import Decision, reselect
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import DamagedArtifact, MissingArtifact
from bilp.nets.arithmetic import arithmetic
from bilp.progress import Progress, silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri
from bilp.storage.verification import again

ROUND, RESELECT = "round", "reselect"
LOSS_TABLE, GRID = "losses.parquet", "grid.png"
ITE_TABLE, PRUNER_STATE = "ite.parquet", "pruner.safetensors"


def reselect_round(
    run_uri: Uri, round: int, device: torch.device | str = "cpu", progress: Progress = silent, shard: int | None = None
) -> str:
    """Measure causal effects on the state before `round` (from 1) and decide which samples sit it out.

    Publishes rounds/<round>/reselect and returns its URI; returns `run_uri` and publishes nothing with beta = 0. Of a run
    that is divided, `shard` (from 0) names the part in question. Raises MissingArtifact if the round before, or a pretrained
    network, is not there, ConfigError for a round or shard that the run does not have.
    """
    run_uri = as_uri(run_uri)
    part = open_part(run_uri, shard)
    run = part.run
    bounds(run.distill, round)
    if run.reselect.beta == 0:
        return run_uri
    uri = part.reselect_uri(round)
    if there_already(uri, RESELECT, part.key(RESELECT, round)) is not None:
        return uri
    pool = open_pool(run_uri, run)
    before = _state_before(part, pool, round)
    pretrained = open_pretrained(run_uri, run)
    setting = Setting.assemble(run.distill, run.reselect, pool, device, None, part.classes(pool.classes), pretrained)
    pruner = new_pruner(run, pool)
    if before.pruner:
        pruner.load(before.pruner, setting.classes)
    guard, networks = _guard(part, setting, round, before), networks_for(run.distill.method)
    with arithmetic(run.distill.gpu, device):
        measured = reselect(setting, before.to(device), round, pruner, guard, progress, networks)
    table = _ite_table(measured, round, pruner)
    return publish_reselection(part, round, table, pruner, setting.classes, before.iteration, device)


def distill_round(
    run_uri: Uri, round: int, device: torch.device | str = "cpu", progress: Progress = silent, shard: int | None = None
) -> str:
    """Run the iterations of `round` (from 1) and publish rounds/<round> with the state after it; returns its URI.

    Continues from the round before; `shard` as for `reselect_round`. Raises MissingArtifact if that round, this one's
    reselection where beta > 0, or a pretrained network is not there, DamagedArtifact if a checksum is wrong, ConfigError for
    a round or shard that the run does not have, and Diverged (then nothing of the round is published).
    """
    run_uri = as_uri(run_uri)
    part = open_part(run_uri, shard)
    run = part.run
    _, stop = bounds(run.distill, round)
    uri = part.round_uri(round)
    if there_already(uri, ROUND, part.key(ROUND, round)) is not None:
        return uri
    pool = open_pool(run_uri, run)
    before = _state_before(part, pool, round)
    experts, pretrained = open_experts(run_uri, run), open_pretrained(run_uri, run)
    setting = Setting.assemble(run.distill, run.reselect, pool, device, experts, part.classes(pool.classes), pretrained)
    pruner = None
    if run.reselect.beta > 0:
        pruner = new_pruner(run, pool)
        pruner.load(reselected(part, round), setting.classes)
    state = before.to(device)
    advance = loop_for(run.distill.method)
    with arithmetic(run.distill.gpu, device):
        records = advance(setting, state, stop, pruner, _guard(part, setting, round, before), progress)
    if round == 1:
        state.reference_loss = statistics.median(record.loss for record in records)
    return publish_round(part, round, state, _loss_table(records), records[-1].loss, pruner, pool)


def publish_reselection(
    part: Part,
    round: int,
    table: pa.Table,
    pruner: AdaptivePruner,
    classes: range,
    iteration: int,
    device: torch.device | str | None = None,
) -> str:
    """Publish what was decided about `classes` before `iteration`: `table` with the schema ITE, and the pruner's memory.

    `device` is where the effects were computed, if they were computed here.
    """
    dropped = int(table["dropped"].to_numpy().sum())
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
    return _publish(part, RESELECT, round, files, facts, device)


def publish_round(
    part: Part, round: int, state: DistillState, losses: pa.Table, last_loss: float, pruner: AdaptivePruner | None, pool: RealPool
) -> str:
    """Publish the state after a round, with `losses` of the schema LOSSES; the pruner's memory becomes part of the state."""
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
    files = {
        CHECKPOINT: encode_state(state),
        LOSS_TABLE: encode(losses, LOSSES, _origin(part, ROUND, round)),
        GRID: grid_png(state.images, part.run.distill.ipc, pool.dataset.mean, pool.dataset.std, pool.dataset.whitening),
    }
    return _publish(part, ROUND, round, files, facts, state.images.device)


def open_round(part: Part, round_number: int) -> Artifact:
    """A complete round. Raises MissingArtifact, naming what to run, if it is not there."""
    artifact = find(part.round_uri(round_number), ROUND, part.key(ROUND, round_number))
    if artifact is None:
        raise MissingArtifact(
            f"round {round_number} of {part.uri} is not there (of {part.run.distill.rounds}): run {_makes_round(part)} for it first"
        )
    return artifact


def open_reselection(part: Part, round_number: int) -> Artifact:
    """A complete reselection. Raises MissingArtifact, naming what to run, if it is not there."""
    uri = part.reselect_uri(round_number)
    artifact = find(uri, RESELECT, part.key(RESELECT, round_number))
    if artifact is None:
        beta = part.run.reselect.beta
        raise MissingArtifact(f"the reselection of round {round_number} is not at {uri}: run reselect_round for it first (beta = {beta:g})")
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
    if (own != table["label"].to_numpy()).any() or (table["round"].to_numpy() != facts.round).any() or share != facts.dropped_share:
        what = "holds other samples, another round or another share of dropped ones than is stated"
        raise DamagedArtifact(f"{artifact.place(ITE_TABLE)} {what}: {again(artifact.uri)}")
    return table


def is_complete(run_uri: str, shard: int | None = None) -> bool:
    """Whether every round of a run, or of one of its shards, is there with its reselection if it has one.

    Raises DamagedArtifact if a file of theirs is missing or of another size; one look at the storage for all of them.
    """
    part = Part(run_uri, open_run(run_uri), shard)
    kinds = (ROUND, RESELECT) if part.run.reselect.beta > 0 else (ROUND,)
    artifacts = []
    for number in range(part.run.distill.rounds, 0, -1):  # the last one first: it is the one that an unfinished run lacks
        for kind in kinds:
            place = part.round_uri(number) if kind == ROUND else part.reselect_uri(number)
            artifact = find(place, kind, part.key(kind, number))
            if artifact is None:
                return False
            artifacts.append(artifact)
    check_sizes(part.uri, artifacts)
    return True


def new_pruner(run: Run, pool: RealPool) -> AdaptivePruner:
    """A pruner that has decided nothing yet."""
    return AdaptivePruner(pool.dataset.train.labels, pool.classes, run.reselect)


def _state_before(part: Part, pool: RealPool, round_number: int) -> DistillState:
    if round_number == 1:
        return initial_state(part.run.distill, pool, part.classes(pool.classes))
    return state_of(open_round(part, round_number - 1), part, pool)


def _guard(part: Part, setting: Setting, round_number: int, before: DistillState) -> Guard:
    if round_number == 1:
        last_good = "No round of the run was finished before."
    else:
        last_good = f"The last good state is {objects.join(part.round_uri(round_number - 1), CHECKPOINT)} (iteration {before.iteration})."
    names = setting.pool.dataset.class_names
    return Guard(part.run.distill.learning_rate, names, before.reference_loss, last_good, setting.classes)


def _publish(
    part: Part, kind: str, number: int, files: Mapping[str, bytes], facts: Mapping[str, Any], device: torch.device | str | None
) -> str:
    uri, key = part.round_uri(number) if kind == ROUND else part.reselect_uri(number), part.key(kind, number)
    parents = lineage(part.run_uri, part.run)
    return publish(uri, kind, key, files, config=settings(part.run), parents=parents, facts=facts, device=device).uri


def _makes_round(part: Part) -> str:
    return "merge_round" if part.shard is None and part.run.distill.shards > 1 else "distill_round"


def _quantile_classes(pruner: AdaptivePruner, classes: range) -> list[int]:
    return [c for c in pruner.quantile_classes.tolist() if c in classes]


def _origin(part: Part, kind: str, round_number: int) -> dict[str, Any]:
    """What a table says that it is."""
    return {"stage": kind, "key": part.key(kind, round_number), "run": part.run.key, "round": round_number}


def _loss_table(records: list[Record]) -> pa.Table:
    columns = {name: [getattr(record, name) for record in records] for name in LOSSES.names}
    return pa.table(columns, schema=LOSSES)


def _ite_table(measured: list[Decision], round_number: int, pruner: AdaptivePruner) -> pa.Table:
    """One row per measured sample, ascending by sample_id."""
    ids = torch.cat([part.ids for part in measured])
    labels = torch.cat([torch.full_like(part.ids, part.class_index) for part in measured])
    order = ids.argsort()
    columns = {
        "sample_id": ids,
        "label": labels,
        "round": torch.full_like(ids, round_number),
        "ite": torch.cat([part.mean for part in measured]),
        "ite_std": torch.cat([part.std for part in measured]),
        "visits": pruner.state()["visits"][ids],
        "dropped": ~torch.cat([part.kept for part in measured]),
    }
    arrays = [pa.array(columns[name][order].numpy()).cast(ITE.field(name).type) for name in ITE.names]
    return pa.Table.from_arrays(arrays, schema=ITE)
