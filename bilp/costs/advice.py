"""What a plan warns of before anything runs: waiting workers, days that a setting costs, memory and disks that are too small."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from bilp.config import METHODS
from bilp.config.arms import planned_runs
from bilp.costs.run_plan import Plan
from bilp.storage.cache_folder import place as cache_place
from bilp.storage.objects import storage_root
from bilp.storage.ranges import is_remote
from bilp.storage.room import limit
from bilp.text.escaping import shown
from bilp.text.sample_words import spoken

HOUR = 3600.0
DAYS = 12 * HOUR
"""From here on a stage that costs more than distillation is worth a warning."""
LARGE = 50 * 10**9
"""Bytes of checkpoints likewise."""
LONG = HOUR


def advice(plan: Plan) -> list[str]:
    """One sentence for each thing that is worth changing before the run, each with what to set."""
    return [*plan.reach.warnings, *_sharing(plan), *_costly(plan), *_memory(plan), *_disks(plan), *_copies(plan)]


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR:,.1f} h"


def _sharing(plan: Plan) -> Iterator[str]:
    """Workers that wait, and shards that nobody is there for."""
    distill, runs = plan.config.distill, len(planned_runs(plan.config))
    units = len(plan.stages.get("distill", []))
    seconds = plan.seconds_of("distill")
    if distill.shards > 1 and units > plan.workers:
        fewer = max(1, plan.workers // runs)
        if fewer < distill.shards:
            yield f"distill.shards {distill.shards} makes {units} units for {plan.workers} workers: set distill.shards {fewer}"
    waiting, shards = plan.workers - units, ceil(plan.workers / runs)
    divided = distill.model_copy(update={"shards": shards})
    if waiting > 0 and seconds > LONG and not METHODS[plan.config.method].independent(divided):
        yield (
            f"{waiting} of {plan.workers} workers wait while {units} distill for {_hours(seconds)}, because method {plan.config.method} "
            f"with these settings cannot be divided: {units} workers distill as fast"
        )
    elif waiting > 0 and seconds > LONG and shards > distill.shards:
        saved = seconds - sum(unit.seconds for unit in plan.stages["distill"]) / plan.workers
        yield (
            f"{waiting} of {plan.workers} workers wait while {units} distill for {_hours(seconds)}: "
            f"set distill.shards {shards}, which saves about {_hours(saved)}"
        )


def _costly(plan: Plan) -> Iterator[str]:
    """Stages that cost more than what they serve."""
    distill, evaluate, score = (plan.seconds_of(stage) for stage in ("distill", "evaluate", "score"))
    if evaluate > max(distill, LONG) and not plan.unknown:
        settings = plan.config.evaluate
        yield (
            f"evaluation takes {_hours(evaluate)}, distillation {_hours(distill)}: lower evaluate.seeds ({settings.seeds}), "
            f"evaluate.epochs ({settings.epochs}) or evaluate.full_epochs ({settings.full_epochs}), or leave out a baseline"
        )
    if score > DAYS:
        config = plan.config.score
        yield (
            f"scoring takes {_hours(score)}: lower score.trials ({config.trials}) or score.epochs ({config.epochs}), "
            f"or take a prune.criterion that needs fewer"
        )

    if (experts := plan.seconds_of("experts")) > DAYS:
        trained = plan.config.experts
        lower = f"lower experts.count ({trained.count}) or experts.epochs ({trained.epochs})"
        yield f"experts take {_hours(experts)}: {lower}, or take more workers"


def _memory(plan: Plan) -> Iterator[str]:
    """Units that do not fit on the GPU, and images that travel."""
    profile = plan.speed.profile
    largest = max(plan.units, key=lambda unit: unit.gpu_bytes, default=None)
    if largest is not None and profile.gpu and largest.gpu_bytes > profile.memory:
        yield (
            f"{largest.name} ({largest.stage}) holds {largest.gpu_bytes / 1e9:.0f} GB, and {profile.title} has {profile.memory / 1e9:.0f}: "
            "raise distill.shards, or lower ingest.resolution"
        )
    streamed = next((unit for unit in plan.stages.get("distill", []) if unit.resident is False), None)
    if streamed is not None and streamed.bytes_read + streamed.gpu_bytes <= profile.memory:
        moved = sum(work.samples for work in streamed.works if work.stored) * plan.data.sample_bytes
        yield (
            f"{spoken('images')} are streamed to the GPU, which costs {_hours(moved / profile.from_host)} of each distillation: "
            "set BILP_DATA=resident for its workers, because they fit"
        )


def _disks(plan: Plan) -> Iterator[str]:
    """Checkpoints beyond need, and too little room for temporary files here."""
    distill, stored = plan.config.distill, plan.stored["checkpoints"]
    if distill.keep_rounds == "all" and stored > LARGE:
        yield f"checkpoints take {stored / 1e9:,.0f} GB: set distill.keep_rounds 3, which keeps the first and the last two of each run"
    folder = tempfile.gettempdir()
    free = _free(folder)
    if plan.scratch_bytes > free:
        yield (
            f"{folder} has {_gigabytes(free)} free, and a worker needs {_gigabytes(plan.scratch_bytes)}: "
            "point TMPDIR to a larger disk, there and on every worker"
        )
    root, total = storage_root(), sum(plan.stored.values())
    if not is_remote(root) and total > _free(root):
        yield (
            f"the storage {shown(root)} has {_gigabytes(_free(root))} free, and the run stores {_gigabytes(total)}: "
            "point BILP_STORAGE to a larger disk, or set distill.keep_rounds"
        )


def _copies(plan: Plan) -> Iterator[str]:
    """Too little room for copies of what a worker reads again and again from a storage on S3."""
    needed, most = plan.cache_bytes, limit()
    if most is not None and most < needed:
        yield (
            f"BILP_CACHE_BYTES lets copies fill {_gigabytes(most)}, and a worker reads {_gigabytes(needed)} again and again, which it then "
            f"fetches anew each time: set it to {needed} or more"
        )
    place = cache_place()
    if is_remote(storage_root()) and needed > _free(place):
        yield (
            f"{place} has {_gigabytes(_free(place))} free for copies, and a worker reads {_gigabytes(needed)} from the storage: "
            "point BILP_CACHE to a larger disk, there and on every worker"
        )


def _free(folder: str | Path) -> int:
    """Bytes that are free where a folder is, or would be made."""
    place = Path(folder)
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.0f} GB" if size >= 10 * 10**9 else f"{size / 1e9:.2g} GB"
