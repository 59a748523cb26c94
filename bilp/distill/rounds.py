"""Rounds of a run: reselect, distil, publish; each is a whole artefact or nothing, so a killed run goes on from the last."""

from __future__ import annotations

import statistics
from typing import Any

import pyarrow as pa
import torch

from bilp import storage
from bilp.arithmetic import arithmetic
from bilp.distill.boundary import Measured, reselect
from bilp.distill.guard import Guard
from bilp.distill.initial import initial_state
from bilp.distill.methods import loop_for, networks_for
from bilp.distill.pictures import grid_png
from bilp.distill.record import Record
from bilp.distill.run import VERSION, Run, bounds, lineage, open_experts, open_pool, open_run, reselect_uri, round_uri, settings
from bilp.distill.sampling import RealPool
from bilp.distill.setting import Setting
from bilp.distill.state import DistillState, decode_state, decode_tensors, encode_state, encode_tensors
from bilp.errors import MissingArtefact
from bilp.manifest import Artefact, content_key, find, provenance, publish
from bilp.progress import Progress, silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.tables import ITE, LOSSES, encode

ROUND, RESELECT = "round", "reselect"
CHECKPOINT, LOSS_TABLE, GRID = "checkpoint.safetensors", "losses.parquet", "grid.png"
ITE_TABLE, PRUNER_STATE = "ite.parquet", "pruner.safetensors"


def reselect_round(run_uri: str, round: int, device: torch.device | str = "cpu", progress: Progress = silent) -> str:
    """Measure causal effects on the state before `round` (from 1) and decide which samples sit it out.

    Publishes rounds/<round>/reselect and returns its URI; returns `run_uri` and publishes nothing with beta = 0.
    Raises MissingArtefact if the round before is not there, ConfigError for a round that the run does not have.
    """
    run = open_run(run_uri)
    bounds(run.distill, round)
    if run.reselect.beta == 0:
        return run_uri
    uri, key = reselect_uri(run_uri, round), content_key(RESELECT, VERSION, run=run.key, round=round)
    if find(uri, RESELECT, key) is not None:
        return uri
    pool = open_pool(run_uri, run)
    before = _state_before(run_uri, run, pool, round)
    setting = Setting.assemble(run.distill, run.reselect, pool, device)
    pruner = _pruner(setting, before.pruner)
    guard, networks = _guard(run_uri, run, pool, round, before), networks_for(run.distill.method)
    with arithmetic(run.distill.gpu, device):
        measured = reselect(setting, before.to(device), round, pruner, guard, progress, networks)
    dropped = 1.0 - sum(int(part.kept.sum()) for part in measured) / sum(len(part.kept) for part in measured)
    files = {
        ITE_TABLE: encode(_ite_table(measured, round, pruner), ITE, {**_table_provenance(run, round), "score": run.reselect.score}),
        PRUNER_STATE: encode_tensors(pruner.state()),
    }
    facts = {
        "round": round,
        "iteration": before.iteration,
        "dropped_share": dropped,
        "dropped_share_so_far": pruner.dropped_share(),
        "score": run.reselect.score,
        "quantile_classes": pruner.quantile_classes.tolist(),
    }
    return publish(uri, RESELECT, key, files, config=settings(run), parents=lineage(run_uri, run), facts=facts).uri


def distill_round(run_uri: str, round: int, device: torch.device | str = "cpu", progress: Progress = silent) -> str:
    """Run the iterations of `round` (from 1) and publish rounds/<round> with the state after it; returns its URI.

    Continues from the round before. Raises MissingArtefact if that, or this round's reselection where beta > 0, is not
    there, DamagedArtefact if its checksum is wrong, and Diverged (then nothing of the round is published).
    """
    run = open_run(run_uri)
    first, stop = bounds(run.distill, round)
    uri, key = round_uri(run_uri, round), content_key(ROUND, VERSION, run=run.key, round=round)
    if find(uri, ROUND, key) is not None:
        return uri
    pool = open_pool(run_uri, run)
    before = _state_before(run_uri, run, pool, round)
    setting = Setting.assemble(run.distill, run.reselect, pool, device, open_experts(run_uri, run))
    pruner = None
    if run.reselect.beta > 0:
        pruner = _pruner(setting, _reselected(run_uri, run, round))
    state = before.to(device)
    advance = loop_for(run.distill.method)
    with arithmetic(run.distill.gpu, device):
        records = advance(setting, state, stop, pruner, _guard(run_uri, run, pool, round, before), progress)
    if round == 1:
        state.reference_loss = statistics.median(record.loss for record in records)
    if pruner is not None:
        state.pruner = pruner.state()
    dataset = pool.dataset
    files = {
        CHECKPOINT: encode_state(state),
        LOSS_TABLE: encode(_loss_table(records), LOSSES, _table_provenance(run, round)),
        GRID: grid_png(state.images, run.distill.ipc, dataset.mean, dataset.std, dataset.whitening),
    }
    facts: dict[str, Any] = {"round": round, "first_iteration": first, "iteration": stop, "loss": records[-1].loss}
    if pruner is not None:
        facts |= {
            "decided_per_class": pruner.state()["decided"].tolist(),
            "dropped_per_class": pruner.state()["dropped"].tolist(),
            "quantile_classes": pruner.quantile_classes.tolist(),
        }
    return publish(uri, ROUND, key, files, config=settings(run), parents=lineage(run_uri, run), facts=facts).uri


def open_round(run_uri: str, run: Run, round_number: int) -> Artefact:
    """A complete round. Raises MissingArtefact, naming what to run, if it is not there."""
    key = content_key(ROUND, VERSION, run=run.key, round=round_number)
    artefact = find(round_uri(run_uri, round_number), ROUND, key)
    if artefact is None:
        raise MissingArtefact(f"round {round_number} of {run_uri} is not there (of {run.distill.rounds}): run distill_round for it first")
    return artefact


def round_state(artefact: Artefact) -> DistillState:
    """The verified state after a round."""
    return decode_state(artefact.read(CHECKPOINT), storage.join(artefact.uri, CHECKPOINT))


def _state_before(run_uri: str, run: Run, pool: RealPool, round_number: int) -> DistillState:
    if round_number == 1:
        return initial_state(run.distill, pool)
    return round_state(open_round(run_uri, run, round_number - 1))


def _reselected(run_uri: str, run: Run, round_number: int) -> dict[str, torch.Tensor]:
    """State of the pruner after this round's reselection."""
    uri = reselect_uri(run_uri, round_number)
    artefact = find(uri, RESELECT, content_key(RESELECT, VERSION, run=run.key, round=round_number))
    if artefact is None:
        raise MissingArtefact(
            f"the reselection of round {round_number} is not at {uri}: run reselect_round for it first (beta = {run.reselect.beta:g})"
        )
    return decode_tensors(artefact.read(PRUNER_STATE), storage.join(uri, PRUNER_STATE))


def _pruner(setting: Setting, state: dict[str, torch.Tensor]) -> AdaptivePruner:
    pruner = AdaptivePruner(setting.pool.dataset.train.labels, setting.pool.classes, setting.reselect)
    if state:
        pruner.load(state)
    return pruner


def _guard(run_uri: str, run: Run, pool: RealPool, round_number: int, before: DistillState) -> Guard:
    if round_number == 1:
        last_good = "No round of the run was finished before."
    else:
        last_good = (
            f"The last good state is {storage.join(round_uri(run_uri, round_number - 1), CHECKPOINT)} (iteration {before.iteration})."
        )
    return Guard(run.distill.learning_rate, pool.dataset.class_names, before.reference_loss, last_good)


def _table_provenance(run: Run, round_number: int) -> dict[str, Any]:
    return {"run": run.key, "round": round_number, "parents": run.parents, "versions": provenance()}


def _loss_table(records: list[Record]) -> pa.Table:
    columns = {name: [getattr(record, name) for record in records] for name in LOSSES.names}
    return pa.table(columns, schema=LOSSES)


def _ite_table(measured: list[Measured], round_number: int, pruner: AdaptivePruner) -> pa.Table:
    """One row per measured sample, ascending by sample_id."""
    ids = torch.cat([part.ids for part in measured])
    labels = torch.cat([torch.full_like(part.ids, c) for c, part in enumerate(measured)])
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
