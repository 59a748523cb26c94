"""The units of distillation of a plan, and of what is trained before it: experts, networks that iterations start from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from bilp.config import METHODS, ExpertsConfig, PipelineConfig
from bilp.config.arms import Chosen, PlannedRun, needs_experts, planned_runs
from bilp.config.reselect import RESELECT_SCORES
from bilp.costs.data_counts import Counts
from bilp.costs.effects_work import measured_forwards
from bilp.costs.iteration import Formula, Iteration
from bilp.costs.network_cost import NetworkCost
from bilp.costs.speed import Speed
from bilp.costs.work import MEASURED, TRAINING, Unit, Work
from bilp.distill.part import share_of_classes
from bilp.experts.resident_experts import SHARES
from bilp.pruning.reach import turns_of
from bilp.pruning.static import kept_counts
from bilp.registry import resolve

DISTILL, RESELECT = "distill", "reselect"
"""What is measured of a distillation (`bilp.costs.rates`)."""


def run_units(config: PipelineConfig, speed: Speed) -> list[Unit]:
    """One unit for each run, or for each shard of it."""
    return [unit for run in planned_runs(config) for unit in _units_of(config, run, speed)]


def pool_of(config: PipelineConfig, chosen: Chosen, speed: Speed) -> Counts:
    """Real samples of each class of a choice of them; all where the share that stays is still a word."""
    if not chosen.entry.after_static or isinstance(config.keep, str):
        return speed.data.train
    return kept_counts(config.keep, speed.data.train)


def expert_units(config: PipelineConfig, speed: Speed) -> list[Unit]:
    """One unit for each expert; the experts of runs that learn from the same samples are the same."""
    if not needs_experts(config):
        return []
    experts, units = config.experts, list[Unit]()
    for run in {run.chosen: run for run in planned_runs(config)}.values():
        pool = pool_of(config, run.chosen, speed)
        samples, learned = int(pool.sum()), sum(_learned(experts, pool, epoch) for epoch in range(experts.epochs))
        works = [Work("trained", learned, TRAINING, stored=True)]
        units += [speed.unit("experts", "expert", speed.network(config.distill.network), experts.gpu, works, samples)] * experts.count
    return units


def _learned(experts: ExpertsConfig, pool: Counts, epoch: int) -> int:
    """Samples that an epoch of an expert learns, of so many of each class."""
    if experts.curriculum.criterion is None:
        return int(pool.sum())
    return sum(len(experts.curriculum.ranks(epoch, int(count))) for count in pool)


def pretraining_units(config: PipelineConfig, speed: Speed) -> list[Unit]:
    """One unit for each network that iterations start from; runs of the same samples and seed share them."""
    units = list[Unit]()
    for run in {(run.chosen, run.distill.seed): run for run in planned_runs(config)}.values():
        distill, pretrained = run.distill, run.distill.pretrained
        samples = int(pool_of(config, run.chosen, speed).sum())
        works = [Work("trained", pretrained.epochs * samples, TRAINING, stored=True)]
        units += [speed.unit("pretrain", "network", speed.network(distill.network), distill.gpu, works, samples)] * pretrained.networks
    return units


def _units_of(config: PipelineConfig, run: PlannedRun, speed: Speed) -> Iterator[Unit]:
    distill, pool = run.distill, pool_of(config, run.chosen, speed)
    name = run.arm if config.experiments == 1 else f"{run.arm} {run.experiment + 1}/{config.experiments}"
    label = name if distill.shards == 1 else f"{name} shard"
    for shard in range(distill.shards):
        classes = share_of_classes(speed.data.classes, shard, distill.shards)
        network = speed.distilled_with(distill, config.evaluate.teacher.network)
        works = works_of(run, pool, classes, network, speed)
        state = 3 * 4 * len(classes) * distill.ipc * speed.data.sample_bytes + _held_experts(config, speed)
        read = int(pool[classes.start : classes.stop].sum())
        yield speed.unit("distill", label, network, distill.gpu, works, read, state, kind=f"{DISTILL} {run.arm}")


def _held_experts(config: PipelineConfig, speed: Speed) -> int:
    """Bytes of experts' parameters that stay on a GPU."""
    if not needs_experts(config):
        return 0
    experts = config.experts
    return min(SHARES["cuda"], 4 * speed.network(config.distill.network).parameters * (experts.epochs + 1) * experts.count)


def works_of(run: PlannedRun, pool: Counts, classes: range, network: NetworkCost, speed: Speed) -> list[Work]:
    """All that a run does to samples; nothing where no formula says so.

    Args:
        run: the run as it is planned.
        pool: real samples that take part, of every class.
        classes: those that are distilled.
        network: that its samples pass.
        speed: of the device, on the data set.
    """
    distill = run.distill
    step = iteration_of(run, pool, classes, network, speed)
    works = [each.times(distill.iterations) for each in step]
    # A round and the reselection before it are stages of their own, each of which begins anew.
    works += [each.times(distill.rounds * (1 + run.reselect.active)) for each in round_of(run, pool, classes, network, speed)]
    if run.reselect.active and step:
        works += measured_works(run, pool[classes.start : classes.stop], vector_cost(step), network, speed)
    return works


def iteration_of(run: PlannedRun, pool: Counts, classes: range, network: NetworkCost, speed: Speed) -> list[Work]:
    """What an iteration does, by the formula of the method; nothing where there is none. The arguments are those of `works_of`."""
    return _by_formula(METHODS[run.distill.method].work, run, pool, classes, network, speed)


def round_of(run: PlannedRun, pool: Counts, classes: range, network: NetworkCost, speed: Speed) -> list[Work]:
    """What a round does once beside its iterations, likewise."""
    return _by_formula(METHODS[run.distill.method].round_work, run, pool, classes, network, speed)


def _by_formula(name: str, run: PlannedRun, pool: Counts, classes: range, network: NetworkCost, speed: Speed) -> list[Work]:
    if not name:
        return []
    formula: Formula = resolve(name)
    return formula(Iteration(run.distill, pool, classes, network, speed.profile.gpu))


def vector_cost(step: list[Work]) -> float:
    """Forward passes that the vector of a real sample costs, as image steps form it."""
    return step[0].forwards


def measured_works(run: PlannedRun, pool: Counts, vector: float, network: NetworkCost, speed: Speed) -> list[Work]:
    """Samples whose effect is measured: at the beginning of each round those whose turn it is, and at intervals a batch.

    Args:
        run: the run as it is planned.
        pool: real samples that take part, of each class that is distilled.
        vector: forward passes that the vector of a sample costs.
        network: that samples pass.
        speed: of the device, on the data set.
    """
    reselect, distill = run.reselect, run.distill

    def measured(samples: int, together: int) -> Work:
        forwards = measured_forwards(run, max(2, together), vector, network.parameters, speed.data.shape, len(pool))
        return Work(MEASURED, samples, forwards, stored=True, kind=f"{RESELECT} {run.arm}")

    parts = [turns_of(int(count), reselect.candidates_per_class) for count in pool]
    turns = [sizes[number % len(sizes)] for number in range(distill.rounds) for sizes in parts]
    largest = max(turns, default=0)
    together = largest if RESELECT_SCORES[reselect.score].whole else _together(largest, distill.batch_real)
    works = [measured(sum(turns) * reselect.networks, together)]
    if reselect.interval:
        batch = int(np.minimum(pool, distill.batch_real).sum())
        works.append(measured(math.ceil(distill.iterations / reselect.interval) * batch, distill.batch_real))
    return works


def _together(count: int, batch: int) -> int:
    """Samples of a class of `count` that are measured together, as `bilp.data.pool.even_chunks` cuts them."""
    return -(-count // max(1, min(-(-count // batch), count // 2)))
