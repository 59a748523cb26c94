"""The units of distillation of a plan, and what they store."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from bilp.artifacts.tensors import Form
from bilp.config import METHODS, PipelineConfig
from bilp.config.arms import PlannedRun, planned_runs
from bilp.costs.data_counts import Counts
from bilp.costs.speed import Speed
from bilp.costs.tensor_bytes import tensor_file_bytes
from bilp.costs.work import Unit, Work
from bilp.distill.part import share_of_classes
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.static import kept_counts
from bilp.registry import resolve

MEASURED = 3.2
"""What measuring a sample costs in image steps, where the method's entry does not say so."""


@dataclass(frozen=True)
class StoredRun:
    """Bytes of what a run keeps."""

    checkpoints: int
    """All that stay, exactly, of methods that carry nothing else from round to round."""
    largest: int
    """One state of the whole run, its momentum included."""


def run_units(config: PipelineConfig, speed: Speed) -> list[Unit]:
    """One unit for each run, or for each shard of it."""
    return [unit for run in planned_runs(config) for unit in _units_of(config, run, speed)]


def pool_of(config: PipelineConfig, run: PlannedRun, speed: Speed) -> Counts:
    """Real samples of each class that take part in a run; all where the share that stays is still a word."""
    if not run.chosen.entry.after_static or isinstance(config.keep, str):
        return speed.data.train
    return kept_counts(config.keep, speed.data.train)


def _units_of(config: PipelineConfig, run: PlannedRun, speed: Speed) -> list[Unit]:
    distill, pool = run.distill, pool_of(config, run, speed)
    name = run.arm if config.experiments == 1 else f"{run.arm} {run.experiment + 1}/{config.experiments}"
    units = []
    for shard in range(distill.shards):
        classes = share_of_classes(speed.data.classes, shard, distill.shards)
        own = pool[classes.start : classes.stop]
        works = _works(run, own)
        state = 3 * 4 * len(own) * distill.ipc * speed.data.sample_bytes
        real = sum(work.samples for work in works if work.what in ("real", "measured"))
        label = name if distill.shards == 1 else f"{name} shard"
        network = config.evaluate.teacher.network if METHODS[distill.method].needs_teacher else distill.network
        units.append(speed.unit("distill", label, network, distill.gpu, works, int(own.sum()), state, real))
    return units


def _works(run: PlannedRun, pool: Counts) -> list[Work]:
    distill, method = run.distill, METHODS[run.distill.method]
    if not method.work:
        return []
    real = int(np.minimum(pool, method.looked_at(distill)).sum())
    synthetic = len(pool) * distill.decode.count(distill.ipc)
    step: list[Work] = resolve(method.work)(distill, real, synthetic)
    works = [Work(each.what, distill.iterations * each.samples, each.forwards) for each in step]
    if run.reselect.active:
        forwards = (method.measuring_cost or MEASURED) * next(each.forwards for each in step if each.what == "real")
        works.append(Work("measured", _measured(run, pool), forwards))
    return works


def _measured(run: PlannedRun, pool: Counts) -> int:
    """Samples whose effect is measured: at the beginning of each round those whose turn it is, and at intervals a batch."""
    reselect, distill = run.reselect, run.distill
    total = 0
    for number in range(distill.rounds):
        total += sum(_turn(int(count), reselect.candidates_per_class, number) for count in pool) * reselect.networks
    if reselect.interval:
        total += math.ceil(distill.iterations / reselect.interval) * int(np.minimum(pool, distill.batch_real).sum())
    return total


def _turn(count: int, most: int | None, round_index: int) -> int:
    """Samples of a class of `count` whose turn it is, as `bilp.data.pool.even_chunks` cuts them."""
    parts = max(1, min(-(-count // (most or count)), count // 2))
    share, rest = divmod(count, parts)
    return share + (round_index % parts < rest)


def stored_run(run: PlannedRun, speed: Speed) -> StoredRun:
    """What the checkpoints of a run take."""
    distill, classes = run.distill, speed.data.classes
    whole = _state_bytes(run, speed, range(classes))
    kept = distill.rounds if distill.keep_rounds == "all" else min(distill.rounds, distill.keep_rounds)
    total = kept * whole
    if distill.shards > 1 and distill.keep_rounds == "all":
        parts = [share_of_classes(classes, shard, distill.shards) for shard in range(distill.shards)]
        total += distill.rounds * sum(_state_bytes(run, speed, part) for part in parts)
    return StoredRun(total, whole)


def _state_bytes(run: PlannedRun, speed: Speed, classes: range) -> int:
    """Bytes of the two files of a state of these classes."""
    count = len(classes) * run.distill.ipc
    images: Form = (torch.float32, (count, *speed.data.shape))
    forms: dict[str, Form] = {
        "images": images,
        "labels": (torch.int64, (count,)),
        "iteration": (torch.int64, ()),
        "reference_loss": (torch.float64, ()),
    }
    if run.reselect.active:
        labels = torch.from_numpy(np.repeat(np.arange(speed.data.classes), speed.data.train))
        pruner = AdaptivePruner(labels, speed.data.classes, run.reselect)
        forms |= {f"pruner.{name}": (value.dtype, value.shape) for name, value in pruner.state(classes).items()}
    return tensor_file_bytes(forms) + tensor_file_bytes({"momentum": images})
