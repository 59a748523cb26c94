"""python -m benchmarks.workers --job dm --repeats 2

Two workers against one on this machine, one thread each: a real server, real workers of pool gpu on CPUs, the same job.

The job is one of two pipelines on digits. `dm`: a DM distillation in two shards of three minutes each, with next to nothing around it.
`pipeline`: every stage is as many equal units as two workers share evenly, of one to two minutes each: four scoring trials, two DM
distillations in two shards each, two evaluations. Runs with one and with two workers take turns. Printed are: the wall time
of the whole job; the time in which at least one unit computed, which leaves out the start of interpreters, of flows and the
single-threaded ends of stages; and the CPU time of each worker's units, whose largest is what the job would take at least if
every core were free. Needs Linux (/proc) and two idle cores: the load average before each run is printed beside it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import flows  # noqa: F401  # settles how threads wait, before torch is imported anywhere
from drill.rehearsal import Service

LIMIT = 3600.0
JOBS: dict[str, dict[str, Any]] = {
    "dm": {
        "dataset": "digits",
        "arms": ["unpruned"],
        "distill": {"iterations": 4000, "rounds": 5, "shards": 2},
        "evaluate": {"seeds": 2, "epochs": 100, "baselines": []},
    },
    "pipeline": {
        "dataset": "digits",
        "arms": ["unpruned", "bilp"],
        "score": {"trials": 4, "epochs": 180, "init_epochs": 5},
        "distill": {"iterations": 1800, "rounds": 5, "shards": 2},
        "evaluate": {"seeds": 20, "epochs": 450, "baselines": []},
    },
}


@dataclass(frozen=True)
class Measured:
    """One run of the job, all in seconds."""

    wall: float
    computing: float
    """Time in which at least one unit computed."""
    cpu: list[float]
    """CPU time of each worker's units."""
    load: float
    """Load average before it."""


def measure(workers: int, job: dict[str, Any], folder: Path) -> Measured:
    """The job from its submission to its end, on a service of its own that is there and idle when it begins."""
    service = Service(folder, str(folder / "store"), BILP_GPUS=",".join(map(str, range(workers))))
    try:
        service.start_server()
        service.start_workers()
        ended = service.ended(service.submit("ingest/ingest", {"config": {"source": "digits"}}))  # workers answer now
        if ended.state_name != "Completed":
            raise SystemExit(service.logs())
        load, began = os.getloadavg()[0], time.monotonic()
        run = service.ended(service.submit("pipeline/digits", {"config": job}), LIMIT)
        wall = time.monotonic() - began
        if run.state_name != "Completed":
            raise SystemExit(service.logs())
        return Measured(wall, covered(computing_intervals(service)), cpu_of_units(service), load)
    finally:
        service.stop()


def computing_intervals(service: Service) -> list[tuple[datetime, datetime]]:
    """When the tasks of all units began and ended."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    found: list[tuple[datetime, datetime]] = []
    with service.client() as client:
        units = [run for run in client.read_flow_runs(limit=200) if run.work_pool_name == "gpu"]
        for unit in units:
            tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[unit.id])))
            found += [(task.start_time, task.end_time) for task in tasks if task.start_time and task.end_time]
    return found


def covered(intervals: Iterable[tuple[datetime, datetime]]) -> float:
    """Seconds that lie in at least one of the intervals."""
    total, reached = 0.0, None
    for began, ended in sorted(intervals):
        since = began if reached is None else max(began, reached)
        if ended > since:
            total += (ended - since).total_seconds()
            reached = ended
    return total


def cpu_of_units(service: Service) -> list[float]:
    """CPU time of the processes that each worker of pool gpu started and waited for."""
    tick = os.sysconf("SC_CLK_TCK")
    found = []
    for pid in service.processes():
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"--pool" in command and command[command.index(b"--pool") + 1] == b"gpu":
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found.append((int(fields[13]) + int(fields[14])) / tick)
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", choices=JOBS, default="dm")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    results: dict[int, list[Measured]] = {1: [], 2: []}
    print("| workers | wall, s | a unit computes, s | CPU of each worker's units, s | load before |\n|---|---|---|---|---|")
    for _ in range(arguments.repeats):
        for workers in (1, 2):
            with tempfile.TemporaryDirectory(prefix="bilp-workers-") as folder:
                found = measure(workers, JOBS[arguments.job], Path(folder))
            results[workers].append(found)
            units = " + ".join(f"{seconds:.0f}" for seconds in found.cpu)
            print(f"| {workers} | {found.wall:.0f} | {found.computing:.0f} | {units} | {found.load:.1f} |", flush=True)
    one, two = results[1], results[2]
    wall = statistics.median(run.wall for run in one) / statistics.median(run.wall for run in two)
    computing = statistics.median(run.computing for run in one) / statistics.median(run.computing for run in two)
    cpu = statistics.median(max(run.cpu) for run in one) / statistics.median(max(run.cpu) for run in two)
    print(f"\none over two, medians of {len(one)}: wall {wall:.2f}, computing {computing:.2f}, CPU of the busiest worker {cpu:.2f}")


if __name__ == "__main__":
    main()
