"""python -m benchmarks.server_load --trials 200 --classes 1000 --shards 64

What a run of many units asks of the Prefect server: requests, rows, bytes and CPU time per unit, and what follows for 64 GPUs.

A real server process (`deployments.server`, SQLite) and the real pipeline, in units, on a made-up data set of 1000 classes of three
8x8 images. Units do their real work, which is tiny, and say to the server what they always say; they are claimed by Prefect's own
worker class. Only the interpreter that a worker starts for each run is left out: runs are threads of this process. What that
changes is shown by one more unit that a real worker starts. Requests are counted on their way, by a relay. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

# Where units are submitted to, how often running flows say that they live, and one thread for torch: before anything is imported.
os.environ |= {"BILP_EXECUTION": "workers", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30", "OMP_NUM_THREADS": "1", "BILP_DEVICE": "cpu"}
os.environ |= {"PREFECT_CLIENT_MAX_RETRIES": "8", "PREFECT_API_REQUEST_TIMEOUT": "600"}

import flows  # noqa: F401  # settles how threads wait, before torch is imported anywhere
from benchmarks.watched_server import CountingRelay, cpu_seconds, rows, start_worker
from drill.rehearsal import Service
from tasks.execution import Execution
from tasks.polling import LONGEST, interval
from tasks.progress_bars import ARTIFACT_INTERVAL
from tasks.remote import POLLS_PER_SECOND

AT_ONCE = 6  # runs at a time in this process
CALLS = 300  # of each kind whose cost is measured alone
IDLE_SECONDS = 20.0
GPUS = 64
WAVES = 3  # units per GPU that a stage submits at once: 200 trials on 64 GPUs
BEAT_SECONDS = 30.0  # between two heartbeats, of runs and of workers
LOOK = "GET /flow_runs/{id}"

# What is asked again and again while something runs or waits, whatever the number of units.
_STEADY = ("/get_scheduled_flow_runs", "/workers/heartbeat")


def make_images(folder: Path, classes: int) -> None:
    """Parquet files of random 8x8 images, three for training and one for testing of each class."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from PIL import Image

    from bilp.seeds import generator

    folder.mkdir(parents=True)
    for split, each in (("train", 3), ("test", 1)):
        labels = [c for c in range(classes) for _ in range(each)]
        pixels = torch.randint(256, (len(labels), 8, 8), generator=generator(0, split), dtype=torch.uint8).numpy()
        encoded = []
        for image in pixels:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        names = {"names": [f"class {c}" for c in range(classes)], "_type": "ClassLabel"}
        features = {"info": {"features": {"image": {"_type": "Image"}, "label": names}}}
        table = pa.table({"image": encoded, "label": pa.array(labels, pa.int64())})
        pq.write_table(table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()}), folder / f"{split}-00000.parquet")


def configuration(images: Path, trials: int, shards: int) -> dict[str, Any]:
    """Every unit takes a fraction of a second; ten rounds each, as usual."""
    narrow = {"width": 4, "depth": 1}
    return {
        "dataset": "parquet",
        "ingest": {"uri": str(images)},
        "keep": 0.7,
        "score": {"trials": trials, "epochs": 1, "init_epochs": 1, "network": narrow},
        "distill": {"iterations": 10, "rounds": 10, "batch_real": 2, "network": narrow, "shards": shards},
        "reselect": {"candidates_per_class": 2},
        "evaluate": {"seeds": 2, "epochs": 1, "full_epochs": 1, "baselines": ["random"], "networks": [narrow]},
    }


def of_one_real_unit(service: Service, relay: CountingRelay, parameters: Mapping[str, Any]) -> Counter[str]:
    """Requests of one scoring trial that a real worker starts in a process of its own; what is steady left out."""
    service.worker_environment |= {"PREFECT_API_URL": f"{relay.url}/api"}
    service.start_workers()
    time.sleep(15)
    before = relay.requests.copy()
    run = service.submit("score-trial/gpu", parameters)
    service.ended(run)
    time.sleep(5)
    assert service.workers is not None
    service.workers.terminate()
    service.workers.wait()
    return without_steady(relay.requests - before)


def without_steady(requests: Counter[str]) -> Counter[str]:
    return Counter({kind: count for kind, count in requests.items() if not any(part in kind for part in _STEADY)})


class Costs:
    """Server CPU per call of what is asked again and again, in milliseconds, without what an idle server takes (`idle`, a share)."""

    def __init__(self, pid: int) -> None:
        self.pid, self.idle = pid, 0.0
        began = self.begin()
        time.sleep(IDLE_SECONDS)
        self.idle = self.per_call(*began) * CALLS / 1000 / IDLE_SECONDS

    def begin(self) -> tuple[float, float]:
        return cpu_seconds(self.pid), time.monotonic()

    def per_call(self, cpu: float, clock: float) -> float:
        return 1000 * (cpu_seconds(self.pid) - cpu - self.idle * (time.monotonic() - clock)) / CALLS

    def of(self, call: Callable[[], object], settle: float = 0.0) -> float:
        began = self.begin()
        for _ in range(CALLS):
            call()
        time.sleep(settle)
        return self.per_call(*began)


def steady_costs(pid: int, run: UUID) -> dict[str, float]:
    """What is asked again and again: a look at a unit's run, an update of its progress bar, a worker's look for work, signs of life."""
    from prefect.artifacts import create_progress_artifact, update_progress_artifact
    from prefect.client.orchestration import get_client
    from prefect.events import emit_event

    costs = Costs(pid)
    with get_client(sync_client=True) as client:
        look = costs.of(lambda: client.read_flow_run(run))
    bar: Any = create_progress_artifact(0.0, description="score trial 0: loss 2.301")
    progress = costs.of(lambda: update_progress_artifact(bar, 50.0, description="score trial 0: loss 2.301"))
    resource = {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.name": "score trial 0"}
    beat = costs.of(lambda: emit_event("prefect.flow-run.heartbeat", resource=resource), settle=20.0)

    async def of_a_worker() -> tuple[float, float]:
        async with get_client() as client:
            began = costs.begin()
            for _ in range(CALLS):
                await client.get_scheduled_flow_runs_for_work_pool("gpu")
            work, began = costs.per_call(*began), costs.begin()
            for _ in range(CALLS):
                await client.send_worker_heartbeat("gpu", "in-this-process", heartbeat_interval_seconds=30)
            return work, costs.per_call(*began)

    work, pulse = asyncio.run(of_a_worker())
    return {"idle": 1000 * costs.idle, "look": look, "progress": progress, "beat": beat, "work": work, "pulse": pulse}


def extrapolated(costs: Mapping[str, float], per_unit: float, requests: float, minutes: float, query: float) -> tuple[float, float]:
    """Requests per second and share of a core of the server while GPUS workers are busy with WAVES * GPUS units of these minutes."""
    submitted_ago, runs_for = minutes * 60 * WAVES / 2, minutes * 60 / 2  # on average, as seen at any moment
    rates = {
        "look": WAVES * GPUS / 2 / min(max(interval(submitted_ago, Execution().poll_seconds), WAVES * GPUS / POLLS_PER_SECOND), LONGEST),
        "progress": GPUS / interval(runs_for, ARTIFACT_INTERVAL),
        "beat": GPUS / BEAT_SECONDS,
        "work": GPUS / query,
        "pulse": GPUS / BEAT_SECONDS,
    }
    units = GPUS / (minutes * 60)
    busy = costs["idle"] + units * per_unit + sum(rate * costs[name] for name, rate in rates.items())
    return units * requests + sum(rates.values()), busy / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bilp-load-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        (folder / "service").mkdir()
        # A busy machine is no fault of the server: nothing that waits is taken for dead.
        service = Service(folder / "service", str(folder / "store"), BILP_GPUS="0", BILP_START_SECONDS="900", BILP_LEASE_SECONDS="60")
        try:
            service.start_server()
            measure(service, folder, arguments)
        finally:
            service.stop()
    sys.stdout.flush()
    os._exit(0)  # the worker's thread has no other end


def measure(service: Service, folder: Path, arguments: argparse.Namespace) -> None:
    """Run, count and print."""
    assert service.server is not None
    pid, database = service.server.pid, Path(service.environment["PREFECT_HOME"]) / "prefect.db"
    relay = CountingRelay(f"http://127.0.0.1:{service.port}")
    os.environ |= {"PREFECT_HOME": service.environment["PREFECT_HOME"], "PREFECT_API_URL": f"{relay.url}/api"}
    os.environ["PREFECT_API_AUTH_STRING"] = service.environment["PREFECT_API_AUTH_STRING"]
    os.environ |= {"BILP_STORAGE": service.storage, "BILP_CACHE": service.environment["BILP_CACHE"], "BILP_HOME": str(Path.cwd())}

    from prefect.context import refresh_global_settings_context

    from bilp.config import PipelineConfig, ScoreConfig
    from flows.ingest import ingest
    from flows.pipeline import pipeline
    from flows.units.table import score_trial

    refresh_global_settings_context()
    make_images(folder / "images", arguments.classes)
    config = PipelineConfig.model_validate(configuration(folder / "images", arguments.trials, arguments.shards))
    dataset = ingest(config.ingest, service.storage)
    alone = ScoreConfig(trials=1, epochs=1, init_epochs=1, network=config.score.network, seed=7)
    real = of_one_real_unit(service, relay, score_trial.call(service.storage, dataset_uri=dataset, config=alone, trial=0).parameters)

    start_worker(AT_ONCE)
    before, requests, began, clock = rows(database), relay.requests.copy(), cpu_seconds(pid), time.monotonic()
    pipeline(config, service.storage)
    time.sleep(10)  # logs and events come in parcels
    seconds, cpu = time.monotonic() - clock, cpu_seconds(pid) - began
    asked, after = relay.requests - requests, rows(database)
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        run = UUID(connection.execute("select id from flow_run where name = 'score trial 1'").fetchone()[0])
    costs = steady_costs(pid, run)
    units = arguments.trials + 2 * arguments.shards + 3
    steady = {"idle": seconds * costs["idle"], "look": asked.pop(LOOK, 0) * costs["look"]}
    steady["work"] = sum(count for kind, count in asked.items() if "get_scheduled_flow_runs" in kind) * costs["work"]
    asked = without_steady(asked)
    print(
        f"\n{arguments.trials} trials, 2 x {arguments.shards} shards of 10 rounds, 3 evaluations: {units} units in {seconds:.0f} s, "
        f"load {os.getloadavg()[0]:.1f}; requests of one unit in a process of its own: {sum(real.values())}"
    )
    show(units, cpu, steady, asked, real, {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in after})
    print("\n| asked again and again | server CPU, ms |\n|---|---|")
    for name, value in costs.items():
        print(f"| {name} | {value:.1f} |")
    per_unit, requests_per_unit = (1000 * cpu - sum(steady.values())) / units, sum(asked.values()) / units
    heads = (f"minutes per unit ({GPUS} GPUs)", "units per hour", "workers look every", "requests per s", "server, % of a core")
    print(f"\n| {' | '.join(heads)} |\n|---|---|---|---|---|")
    for minutes in (1.0, 10.0, 60.0):
        for query in (2.0, 10.0):
            rate, busy = extrapolated(costs, per_unit, requests_per_unit, minutes, query)
            print(f"| {minutes:g} | {GPUS * 60 / minutes:.0f} | {query:g} s | {rate:.0f} | {100 * busy:.0f} |")


def show(
    units: int,
    cpu: float,
    steady: Mapping[str, float],
    asked: Counter[str],
    real: Counter[str],
    grown: Mapping[str, tuple[int, int]],
) -> None:
    """What the run cost by request and by table; `cpu` in seconds, `steady` in milliseconds, `grown` in rows and bytes."""
    own = (1000 * cpu - sum(steady.values())) / units
    parts = ", ".join(f"{name} {value / 1000:.1f} s" for name, value in steady.items())
    print(f"server: {cpu:.1f} s CPU, of it {parts}; the rest is {own:.0f} ms per unit; {sum(asked.values()) / units:.1f} requests per unit")
    print("\n| request | per unit | one unit in a process of its own |\n|---|---|---|")
    for kind in sorted({*asked, *real}, key=lambda kind: -asked[kind] / units - real[kind])[:24]:
        print(f"| {kind} | {asked[kind] / units:.2f} | {real[kind]} |")
    print("\n| table | rows | rows per unit | bytes per unit |\n|---|---|---|---|")
    for name, (count, size) in sorted(grown.items(), key=lambda item: -item[1][1])[:10]:
        print(f"| {name} | {count:,} | {count / units:.1f} | {size / units:,.0f} |")
    rows_in_all, size_in_all = (sum(part) for part in zip(*grown.values(), strict=True))
    print(f"| all | {rows_in_all:,} | {rows_in_all / units:.1f} | {size_in_all / units:,.0f} |")


if __name__ == "__main__":
    main()
