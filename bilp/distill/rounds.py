"""Rounds of a run: reselect, distill, publish; each is a whole artifact or nothing, so a killed run goes on from the last."""

from __future__ import annotations

import statistics

import pyarrow as pa
import torch

from bilp.artifacts.run_layout import CHECKPOINT, RESELECT, ROUND
from bilp.artifacts.tables import ITE, LOSSES
from bilp.data.pool import RealPool
from bilp.distill.checkpoint import state_of
from bilp.distill.first_decision import starting_state
from bilp.distill.inputs import first_state, open_difficulty, open_experts, open_pool, open_pretrained, open_teacher
from bilp.distill.kept import clear, find_state, is_done, is_lacking, open_state, unless_done
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.outside import open_supplied
from bilp.distill.part import Part, open_part
from bilp.distill.round_files import open_round, publish_reselection, publish_round, reselected
from bilp.distill.run import Run
from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.reselection import Decision, reselect
from bilp.distill.step.round_bounds import bounds
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState
from bilp.nets.arithmetic import arithmetic
from bilp.progress import Progress, silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.storage.objects import Uri, as_uri


def reselect_round(
    run_uri: Uri, round: int, device: torch.device | str = "cpu", progress: Progress = silent, shard: int | None = None
) -> str:
    """Measure causal effects on the state before `round` (from 1) and decide which samples sit it out.

    Publishes rounds/<round>/reselect and returns its URI; returns `run_uri` and publishes nothing with beta = 0. Of a run
    that is divided, `shard` (from 0) names the part in question. Raises MissingArtifact if the round before, or a pretrained
    network, is not there, ConfigError for a round or shard that the run does not have.

    Args:
        run_uri: the run.
        round: number of the round, from 1.
        device: where the effects are computed.
        progress: told after every class of every network.
        shard: number of the shard, from 0, of a run that is divided.
    """
    run_uri = as_uri(run_uri)
    part = open_part(run_uri, shard)
    run = part.run
    bounds(run.distill, round)
    if not run.reselect.active:
        return run_uri
    if not part.there_already(RESELECT, round):
        with unless_done(part, RESELECT, round):
            _reselect(part, round, device, progress)
    return part.place(RESELECT, round)


def _reselect(part: Part, round: int, device: torch.device | str, progress: Progress) -> None:
    """Decide which samples sit a round out, and publish that."""
    run_uri, run = part.run_uri, part.run
    pool = open_pool(run_uri, run)
    before = _state_before(part, pool, (RESELECT, round), device, progress)
    pretrained, supplied = open_pretrained(run_uri, run), open_supplied(run.distill, pool.dataset, run.parents)
    teacher, difficulty = open_teacher(run_uri, run), open_difficulty(run_uri, run, pool)
    inputs = RunInputs(pretrained=pretrained, teacher=teacher, supplied=supplied, difficulty=difficulty)
    setting = Setting.assemble(run.distill, run.reselect, pool, device, inputs, part.classes(pool.classes))
    pruner = new_pruner(run, pool)
    if before.pruner:
        pruner.load(before.pruner, setting.classes)
    guard, networks = _guard(part, setting, round, before), networks_for(run.distill.method)
    with arithmetic(run.distill.gpu, device):
        measured = reselect(setting, before.to(device), round, pruner, guard, progress, networks)
    table = _ite_table(measured, round, pruner)
    publish_reselection(part, round, table, pruner, setting.classes, before.iteration, device)


def distill_round(
    run_uri: Uri, round: int, device: torch.device | str = "cpu", progress: Progress = silent, shard: int | None = None
) -> str:
    """Run the iterations of `round` (from 1) and publish rounds/<round> with the state after it; returns its URI.

    Continues from the round before; `shard` as for `reselect_round`. Raises MissingArtifact if that round, this one's
    reselection where beta > 0, or a pretrained network is not there, DamagedArtifact if a checksum is wrong, ConfigError for
    a round or shard that the run does not have, and Diverged (then nothing of the round is published).

    Args:
        run_uri: the run.
        round: number of the round, from 1.
        device: where the images are distilled.
        progress: told after every iteration, by idc and dream after every image step.
        shard: number of the shard, from 0, of a run that is divided.
    """
    run_uri = as_uri(run_uri)
    part = open_part(run_uri, shard)
    bounds(part.run.distill, round)
    if not part.there_already(ROUND, round) or is_lacking(part, round):
        with unless_done(part, ROUND, round):
            _advance(part, round, device, progress)
    return part.place(ROUND, round)


def _advance(part: Part, round: int, device: torch.device | str, progress: Progress, kind: str | None = ROUND) -> None:
    """Compute and publish a round, and the state after it; of rounds before, those states go that are needed no more. Without a `kind`,
    although the round is there: for its state."""
    run_uri, run = part.run_uri, part.run
    _, stop = bounds(run.distill, round)
    pool = open_pool(run_uri, run)
    before = _state_before(part, pool, (kind, round), device, progress)
    inputs = RunInputs(
        experts=open_experts(run_uri, run),
        pretrained=open_pretrained(run_uri, run),
        teacher=open_teacher(run_uri, run),
        supplied=open_supplied(run.distill, pool.dataset, run.parents),
        difficulty=open_difficulty(run_uri, run, pool),
    )
    setting = Setting.assemble(run.distill, run.reselect, pool, device, inputs, part.classes(pool.classes))
    pruner = None
    if run.reselect.active:
        pruner = new_pruner(run, pool)
        pruner.load(reselected(part, round), setting.classes)
    state = before.to(device)
    advance = loop_for(run.distill.method)
    with arithmetic(run.distill.gpu, device):
        records = advance(setting, state, stop, pruner, _guard(part, setting, round, before), progress)
    if round == 1:
        state.reference_loss = statistics.median(record.loss for record in records)
    publish_round(part, round, state, _loss_table(records), records[-1].loss, pruner, pool)
    clear(part, range(1, round))


def new_pruner(run: Run, pool: RealPool) -> AdaptivePruner:
    """A pruner that has decided nothing yet."""
    return AdaptivePruner(pool.dataset.train.labels, pool.classes, run.reselect)


def _state_before(part: Part, pool: RealPool, work: tuple[str | None, int], device: torch.device | str, progress: Progress) -> DistillState:
    """The state that a round begins with. One that was not kept, and is needed after all, is computed again.

    Raises MissingArtifact if it is gone because somebody else has just done the `work` that it is wanted for, a kind and a round;
    of no kind is what is done whatever there is.
    """
    kind, round_number = work
    if round_number == 1:
        if kind == RESELECT:
            return first_state(part.run_uri, part.run, pool, part.classes(pool.classes), device)
        return starting_state(part, pool, device)
    open_round(part, round_number - 1)
    if find_state(part, round_number - 1) is None and (kind is None or not is_done(part, kind, round_number)):
        _advance(part, round_number - 1, device, progress, None)
    return state_of(open_state(part, round_number - 1), part, pool)


def _guard(part: Part, setting: Setting, round_number: int, before: DistillState) -> Guard:
    if round_number == 1:
        last_good = "No round of the run was finished before."
    else:
        held = open_state(part, round_number - 1).place(CHECKPOINT)
        last_good = f"The last good state is {held} (iteration {before.iteration})."
    names = setting.pool.dataset.class_names
    return Guard(part.run.distill.learning_rate, names, before.reference_loss, last_good, setting.classes)


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
