"""The plan of a pipeline: every unit of every stage, what is stored, how long it takes so many workers, and what to do otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from bilp.config import METHODS, PipelineConfig
from bilp.config.arms import planned_runs
from bilp.costs.data_counts import DataCounts
from bilp.costs.evaluation_units import evaluation_units
from bilp.costs.network_cost import NetworkCost
from bilp.costs.network_files import EXPERTS, stored_networks
from bilp.costs.run_files import StoredRun, stored_run
from bilp.costs.run_units import expert_units, pool_of, pretraining_units, run_units
from bilp.costs.scoring_units import scoring_units, scorings
from bilp.costs.speed import DISK_BYTES, Speed
from bilp.costs.work import MEASURED, Unit, makespan
from bilp.pruning.reach_words import ReachTold, told_reach

TRIAL_ROW = 17
"""Bytes of a sample after an epoch in the table of a trial, about."""
EFFECT_ROW = 21
"""Bytes of a measured sample in the table of a reselection, about."""
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
        """Sum over the units in which networks compute."""
        return sum(unit.seconds for unit in self.units if unit.device)

    @cached_property
    def stored(self) -> Mapping[str, int]:
        """Bytes that are stored, by what they are; store and checkpoints exactly, the others about."""
        data = self.data
        checkpoints = sum(run.checkpoints for run in self._stored_runs)
        tables = data.index_bytes
        tables += sum(score.trials * score.epochs * data.samples * TRIAL_ROW for score in scorings(self.config))
        tables += sum(EFFECT_ROW * work.samples for unit in self.units for work in unit.works if work.what == MEASURED)
        return {"store": data.store_bytes, "checkpoints": checkpoints, "tables": tables, **stored_networks(self.config, self.speed)}

    @cached_property
    def _stored_runs(self) -> list[StoredRun]:
        """What each run keeps; runs of an arm, which differ in their seeds, keep the same."""
        runs = planned_runs(self.config)
        by_arm = {arm: stored_run(run, self.speed) for arm, run in {run.arm: run for run in runs}.items()}
        return [by_arm[run.arm] for run in runs]

    @property
    def _largest_state(self) -> int:
        """Bytes of the largest state of a whole run."""
        return max((run.largest for run in self._stored_runs), default=0)

    @property
    def cache_bytes(self) -> int:
        """What a worker reads again and again of a storage on S3: the pixels, the last state of its run, the experts of its samples."""
        experts = self.stored.get(EXPERTS, 0) // max(1, len({run.chosen for run in planned_runs(self.config)}))
        return self.data.store_bytes + experts + self._largest_state

    @property
    def scratch_bytes(self) -> int:
        """Free space that a worker needs at once in $TMPDIR."""
        return max(2 * self._largest_state, 0 if self.data.part_items else self.data.store_bytes)

    @property
    def requests(self) -> int:
        """Requests to a storage on S3, about."""
        rounds = sum(run.distill.rounds * (run.distill.shards + 1) * (1 + run.reselect.active) for run in planned_runs(self.config))
        shards = sum(map(len, self.data.shard_rows.values()))
        readers = min(self.workers, sum(unit.device for unit in self.units))
        return REQUESTS_OF_ARTIFACT * (len(self.units) + rounds) + shards * (2 + readers)

    @cached_property
    def network(self) -> NetworkCost:
        """The network that samples of a distillation pass."""
        return self.speed.distilled_with(self.config.distill, self.config.evaluate.teacher.network)

    @property
    def network_name(self) -> str:
        """What it is called."""
        distill, teacher = self.config.distill, self.config.evaluate.teacher
        return distill.linear.encoder or (teacher.network if METHODS[distill.method].needs_teacher else distill.network).name

    @cached_property
    def reach(self) -> ReachTold:
        """How much of each class adaptive pruning can keep away."""
        return told_reach(planned_runs(self.config), lambda run: pool_of(self.config, run.chosen, self.speed))

    @property
    def unknown(self) -> str:
        """Why the time of distillation is not known; empty if it is."""
        method = METHODS[self.config.method]
        return (
            "" if method.work else f"no formula says what an iteration of method {method.name} costs: distillation counts as nothing here"
        )

    def most_seconds_of(self, stage: str) -> float | None:
        """Seconds until all units of a stage are done at the latest, where rules of the method end them; None where they do not."""
        units = self.stages.get(stage, [])
        if all(unit.most_seconds is None for unit in units):
            return None
        return makespan([replace(unit, seconds=unit.most_seconds or unit.seconds) for unit in units], self.workers)


def plan_of(config: PipelineConfig, data: DataCounts, speed: Speed, workers: int) -> Plan:
    """The plan of a pipeline for so many workers. Raises ConfigError for a network that does not take such samples."""
    units = [
        *_ingest(data),
        *scoring_units(config, speed),
        *expert_units(config, speed),
        *pretraining_units(config, speed),
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


def described(plan: Plan, warnings: Sequence[str]) -> dict[str, Any]:
    """The plan as plain values, for plan.json."""
    data, network = plan.data, plan.network
    return {
        "dataset": plan.config.dataset,
        "method": plan.config.method,
        "ipc": plan.config.ipc,
        "workers": plan.workers,
        "gpu": plan.speed.profile.name,
        "measured": dict(plan.speed.rates),
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
        "stages_at_most": {stage: most for stage in plan.stages if (most := plan.most_seconds_of(stage)) is not None},
        "critical_path_seconds": plan.critical_path,
        "gpu_seconds": plan.gpu_seconds,
        "unknown": plan.unknown,
        "reach": list(plan.reach.sentences),
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
        "forward_passes": sum(work.cost for work in works),
        "bytes_read": max(unit.bytes_read for unit in units),
        "gpu_bytes": max(unit.gpu_bytes for unit in units),
        "resident": units[0].resident,
        "longest_seconds": max(unit.seconds for unit in units),
        "seconds": sum(unit.seconds for unit in units),
    }
