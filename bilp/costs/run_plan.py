"""The plan of a pipeline: every unit of every stage, what is stored, how long it takes so many workers, and what to do otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from bilp.config import METHODS, PipelineConfig
from bilp.config.arms import needs_experts, needs_scores, needs_selection, planned_runs
from bilp.config.measures import MEASURES
from bilp.costs.data_counts import DataCounts
from bilp.costs.evaluation_units import evaluation_units
from bilp.costs.network_cost import NetworkCost
from bilp.costs.run_units import pool_of, run_units, stored_run
from bilp.costs.speed import DISK_BYTES, TRAINING, Speed
from bilp.costs.work import Unit, Work, makespan

TRIAL_ROW = 17
"""Bytes of a sample after an epoch in the table of a trial, about."""
EFFECT_ROW = 21
"""Bytes of a measured sample in the table of a reselection, about."""
PRETRAINING = "pretrain"
"""The stage of a plan in which networks are trained for iterations to start from."""
REQUESTS_OF_ARTIFACT = 6
"""Requests that publishing a result takes, about: is it there, its lease, its files, its manifest."""


@dataclass(frozen=True)
class Plan:
    """What a run will do and cost."""

    config: PipelineConfig
    data: DataCounts
    speed: Speed
    units: tuple[Unit, ...]
    workers: int

    @cached_property
    def stages(self) -> dict[str, list[Unit]]:
        """Units by stage, in the order of the pipeline."""
        return {stage: list(units) for stage, units in groupby(self.units, key=lambda unit: unit.stage)}

    @property
    def critical_path(self) -> float:
        """Seconds from the first unit to the last: stages follow one another, and workers share the units of each."""
        return sum(self.seconds_of(stage) for stage in self.stages)

    def seconds_of(self, stage: str) -> float:
        """Seconds until all units of a stage are done."""
        return makespan(self.stages.get(stage, []), self.workers)

    @property
    def gpu_seconds(self) -> float:
        """Sum over the units of which a GPU is part."""
        return sum(unit.seconds for unit in self.units if unit.on_gpu)

    @cached_property
    def stored(self) -> Mapping[str, int]:
        """Bytes that are stored, by what they are; store and checkpoints exactly, the others about."""
        runs, data, score = planned_runs(self.config), self.data, self.config.score
        checkpoints = sum(stored_run(run, self.speed).checkpoints for run in runs)
        tables = data.index_bytes
        if _scores(self.config):
            tables += score.trials * score.epochs * data.samples * TRIAL_ROW
        tables += sum(EFFECT_ROW * work.samples for unit in self.units for work in unit.works if work.what == "measured")
        found = {"store": data.store_bytes, "checkpoints": checkpoints, "tables": tables}
        if needs_experts(self.config):
            parameters = self.network.parameters
            found["experts"] = 4 * parameters * (self.config.experts.epochs + 1) * self.config.experts.count
        networks = sum(unit.stage == PRETRAINING for unit in self.units)
        if networks:
            found["pretrained networks"] = 4 * self.network.parameters * networks
        return found

    @property
    def cache_bytes(self) -> int:
        """What a worker keeps of a storage on S3: the pixels, and the last state of its run."""
        return self.data.store_bytes + max((stored_run(run, self.speed).largest for run in planned_runs(self.config)), default=0)

    @property
    def scratch_bytes(self) -> int:
        """Free space that a worker needs at once in $TMPDIR."""
        state = max((2 * stored_run(run, self.speed).largest for run in planned_runs(self.config)), default=0)
        return max(state, 0 if self.data.part_items else self.data.store_bytes)

    @property
    def requests(self) -> int:
        """Requests to a storage on S3, about."""
        rounds = sum(run.distill.rounds * (run.distill.shards + 1) * (1 + run.reselect.active) for run in planned_runs(self.config))
        shards = sum(map(len, self.data.shard_rows.values()))
        readers = min(self.workers, sum(unit.on_gpu for unit in self.units))
        return REQUESTS_OF_ARTIFACT * (len(self.units) + rounds) + shards * (2 + readers)

    @cached_property
    def network(self) -> NetworkCost:
        """The network of distillation."""
        return self.speed.network(self.config.distill.network)

    @property
    def unknown(self) -> str:
        """Why the time of distillation is not known; empty if it is."""
        method = METHODS[self.config.method]
        return (
            "" if method.work else f"no formula says what an iteration of method {method.name} costs: distillation counts as nothing here"
        )


def plan_of(config: PipelineConfig, data: DataCounts, speed: Speed, workers: int) -> Plan:
    """The plan of a pipeline for so many workers. Raises ConfigError for a network that does not take such samples."""
    units = [
        *_ingest(data),
        *_scoring(config, speed),
        *_experts(config, speed),
        *_pretraining(config, speed),
        *run_units(config, speed),
        *evaluation_units(config, speed),
    ]
    return Plan(config, data, speed, tuple(units), workers)


def _ingest(data: DataCounts) -> list[Unit]:
    seconds = data.store_bytes / DISK_BYTES
    decoding = Speed.decoding_of(data)
    if not data.part_items:
        return [Unit("ingest", "ingest", data.items * decoding + seconds)]
    parts = [Unit("ingest", "part", items * decoding, bytes_read=0) for items in data.part_items]
    return [*parts, Unit("join", "join", seconds, bytes_read=data.store_bytes)]


def _scores(config: PipelineConfig) -> bool:
    return needs_selection(config) and needs_scores(config.prune)


def _scoring(config: PipelineConfig, speed: Speed) -> list[Unit]:
    if not _scores(config):
        return []
    score, measure, samples = config.score, MEASURES[config.score.measure], speed.data.samples
    trained = score.epochs * (round(score.subset_share * samples) if measure.subsets else samples)
    recorded = samples * (score.epochs if measure.per_epoch else 1)
    works = [Work("trained", trained, TRAINING), Work("recorded", recorded, 1.0)]
    if score.gradient_norm == "all":
        works.append(Work("gradients", samples * (score.early_to - score.early_from + 1), TRAINING))
    real = sum(work.samples for work in works)
    trial = speed.unit("score", "trial", score.network, score.gpu, works, samples, real=real)
    return [trial] * score.trials


def _experts(config: PipelineConfig, speed: Speed) -> list[Unit]:
    if not needs_experts(config):
        return []
    samples, experts = speed.data.samples, config.experts
    works = [Work("trained", experts.epochs * samples, TRAINING)]
    one = speed.unit("experts", "expert", config.distill.network, experts.gpu, works, samples, real=experts.epochs * samples)
    return [one] * (experts.count * len({run.chosen for run in planned_runs(config)}))


def _pretraining(config: PipelineConfig, speed: Speed) -> list[Unit]:
    """Networks that iterations start from: those of a run for each choice of samples and seed, which arms share."""
    units: list[Unit] = []
    for run in {(run.chosen, run.distill.seed): run for run in planned_runs(config)}.values():
        distill, settings = run.distill, run.distill.pretrained
        trained = settings.epochs * int(pool_of(config, run, speed).sum())
        works = [Work("trained", trained, TRAINING)]
        units += [speed.unit(PRETRAINING, "network", distill.network, distill.gpu, works, trained // settings.epochs, real=trained)] * (
            settings.networks
        )
    return units


def described(plan: Plan, warnings: Sequence[str]) -> dict[str, Any]:
    """The plan as plain values, for plan.json."""
    data, network = plan.data, plan.network
    return {
        "dataset": plan.config.dataset,
        "method": plan.config.method,
        "ipc": plan.config.ipc,
        "workers": plan.workers,
        "gpu": plan.speed.profile.name,
        "factor": plan.speed.factor,
        "counts": {
            "origin": data.origin,
            "items": data.items,
            "parts": len(data.part_items),
            "train": data.samples,
            "test": int(data.test.sum()),
            "classes": data.classes,
            "shape": list(data.shape),
            "shard_rows": {split: list(rows) for split, rows in data.shard_rows.items()},
        },
        "stored_bytes": dict(plan.stored),
        "cache_bytes": plan.cache_bytes,
        "scratch_bytes": plan.scratch_bytes,
        "requests": plan.requests,
        "network": {"parameters": network.parameters, "flops": network.flops, "maps": network.maps},
        "units": [_group(list(same)) for _, same in groupby(plan.units, key=lambda unit: (unit.stage, unit.name))],
        "stages": {stage: plan.seconds_of(stage) for stage in plan.stages},
        "critical_path_seconds": plan.critical_path,
        "gpu_seconds": plan.gpu_seconds,
        "unknown": plan.unknown,
        "notes": list(data.notes),
        "warnings": list(warnings),
    }


def _group(units: Sequence[Unit]) -> dict[str, Any]:
    """Units of one kind together."""
    works = [work for unit in units for work in unit.works]
    return {
        "stage": units[0].stage,
        "unit": units[0].name,
        "number": len(units),
        "samples": {what: sum(work.samples for work in works if work.what == what) for what in dict.fromkeys(work.what for work in works)},
        "bytes_read": max(unit.bytes_read for unit in units),
        "gpu_bytes": max(unit.gpu_bytes for unit in units),
        "resident": units[0].resident,
        "longest_seconds": max(unit.seconds for unit in units),
        "seconds": sum(unit.seconds for unit in units),
    }
