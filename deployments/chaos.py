"""python -m deployments.chaos --faults 20 --seed 0

A fault drill: small pipelines run as a service on this machine while a seeded choice of faults hits them, one after the other;
at the end every finished artefact is compared, byte for byte, with an undisturbed run's. Exit status 0 if all are the same.

With BILP_STORAGE=s3://... and AWS_ENDPOINT_URL the results lie there, reached through a relay that the drill also shuts for a while.
With BILP_STORAGE on a file system of its own that is smaller than 2 GiB (mount -t tmpfs -o size=256m none folder) it is also filled up
for a while. Workers and runs reach the server through a relay too: that is how the network between them is cut.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import flows  # noqa: F401  # settles how threads wait, before torch is imported anywhere
from bilp.config import PipelineConfig
from bilp.errors import BilpError
from bilp.manifest import digest
from bilp.seeds import generator
from bilp.storage import children, join, read
from deployments.rehearsal import SMALL, Service, kill
from deployments.relay import Relay
from tasks.remote import was_interrupted

NOTHING = "nothing runs that it could hit"
LONGEST_PAUSE = 8.0
STORAGE_OUTAGE = 60.0
FULL_DISK = 20.0
SMALL_DISK = 2 << 30  # bytes of a file system that may be filled up: nobody else's data lies there
LONGEST_CUT = 40
FINISH_LIMIT = 1200.0


class Drill:
    """One service, the pipeline that runs on it now, and the faults that may hit them."""

    def __init__(self, service: Service, network: Relay, storage: Relay | Path, seed: int) -> None:
        self.service, self.network, self.storage = service, network, storage
        self.choice = generator(seed, "chaos")
        self.runs: list[UUID] = []
        self.parameters: dict[str, object] = {}
        self.faults: dict[str, Callable[[], str]] = {
            "a run's process": self.kill_run,
            "a worker": self.kill_worker,
            "a machine": self.kill_machine,
            "the server": self.kill_server,
            "cancel": self.cancel,
            "twice": self.submit,
            "the network": self.cut_network,
        }
        if isinstance(storage, Relay):
            self.faults["the storage"] = self.close_storage
        elif shutil.disk_usage(storage).total < SMALL_DISK:
            self.faults["the disk"] = self.fill_disk

    def draw(self, below: int) -> int:
        import torch

        return int(torch.randint(below, (1,), generator=self.choice))

    def submit(self) -> str:
        """Another identical pipeline at the same time."""
        self.runs.append(self.service.submit("pipeline/digits", self.parameters))
        return str(self.runs[-1])

    def victims(self) -> list[int]:
        """Processes of runs that are going on."""
        running = [run for run in self.service.runs() if run.state_name == "Running" and run.deployment_id]
        return [pid for run in running for pid in self.service.process_of(run.id)]

    def kill_run(self) -> str:
        victims = self.victims()
        if not victims:
            return NOTHING
        victim = victims[self.draw(len(victims))]
        kill([victim])
        return f"process {victim}"

    def kill_worker(self) -> str:
        """The worker alone; the run that it had started goes on to its end."""
        return self._kill_with_parent(False)

    def kill_machine(self) -> str:
        """The worker and the run at once, so that nobody is left to report it."""
        return self._kill_with_parent(True)

    def _kill_with_parent(self, run_too: bool) -> str:
        victims = self.victims()
        if not victims:
            return NOTHING
        victim = victims[self.draw(len(victims))]
        workers = self.service.workers_of([victim])
        if not workers:
            return NOTHING
        kill([*workers, victim] if run_too else workers)
        return f"worker {workers[0]}" + (f" and process {victim}" if run_too else "")

    def kill_server(self) -> str:
        """And start it again after a while."""
        self.service.kill_server()
        pause = self.draw(10)
        time.sleep(pause)
        self.service.start_server()
        return f"away for {pause} s and its start"

    def cancel(self) -> str:
        """Cancel one pipeline and submit it anew."""
        going = [run for run in self.runs if not _over(self.service, run)]
        if not going:
            return NOTHING
        self.service.cancel(going[0])
        self.service.ended(going[0])
        self.runs.remove(going[0])
        return f"{going[0]}, again as {self.submit()}"

    def close_storage(self) -> str:
        """Nobody reaches the object storage for a minute."""
        assert isinstance(self.storage, Relay)
        with self.storage.closed():
            time.sleep(STORAGE_OUTAGE)
        return f"out of reach for {STORAGE_OUTAGE:.0f} s"

    def fill_disk(self) -> str:
        """Not a byte more can be written, for a while."""
        assert isinstance(self.storage, Path)
        ballast = self.storage / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        time.sleep(FULL_DISK)
        ballast.unlink()
        return f"full for {FULL_DISK:.0f} s"

    def cut_network(self) -> str:
        """Workers and runs do not reach the server, which lives on."""
        pause = 5 + self.draw(LONGEST_CUT - 5)
        with self.network.closed():
            time.sleep(pause)
        return f"cut for {pause} s"


def _over(service: Service, run: UUID) -> bool:
    """A pipeline that was interrupted is not over: the server's keeper starts it again."""
    state = service.run(run).state
    waits = state is not None and (was_interrupted(state) or "StorageError" in (state.message or ""))
    return state is not None and state.is_final() and not waits


def hit(drill: Drill, parameters: dict[str, object], left: int) -> int:
    """One pipeline under fire until it is through, however often it was started; the number of faults that are left."""
    drill.parameters, drill.runs = parameters, []
    drill.submit()
    end = time.monotonic() + FINISH_LIMIT
    names = sorted(drill.faults)
    while not all(_over(drill.service, run) for run in drill.runs):
        if time.monotonic() > end:
            raise BilpError(f"not through after {FINISH_LIMIT:.0f} s:\n{drill.service.logs()}")
        time.sleep(1.0 + drill.draw(int(LONGEST_PAUSE)) if left else 1.0)
        if left and not all(_over(drill.service, run) for run in drill.runs):
            name = names[drill.draw(len(names))]
            what = drill.faults[name]()
            if what != NOTHING:
                left -= 1
                _say(f"  fault: {name}: {what}")
    states = [drill.service.run(run).state for run in drill.runs]
    if not all(state is not None and state.is_completed() for state in states):
        raise BilpError(f"ended as {[(state.name, state.message) for state in states if state is not None]}:\n{drill.service.logs()}")
    return left


def artefacts(root: str) -> dict[str, str]:
    """Checksum of every file of every artefact below a root, but what tells times, places or attempts."""
    found: dict[str, str] = {}
    for part in ("datasets", "scores", "selections", "runs", "evaluations"):
        _collect(join(root, part), part, found)
    return found


def _collect(uri: str, name: str, found: dict[str, str]) -> None:
    names = children(uri)
    for below in names:
        _collect(join(uri, below), f"{name}/{below}", found)
    if not names and not name.endswith("_manifest.json"):
        found[name] = digest(read(uri))


def drill(folder: Path, faults: int, seed: int) -> int:
    """Pipelines until all faults are used up, then the comparison; the number of differences."""
    storage = os.environ.get("BILP_STORAGE") or str(folder / "storage")
    settings: dict[str, str] = {}
    target: Relay | Path
    if "://" not in storage:
        target = Path(storage)
        target.mkdir(parents=True, exist_ok=True)
    elif "AWS_ENDPOINT_URL" in os.environ:
        target = Relay(os.environ["AWS_ENDPOINT_URL"])
        settings["AWS_ENDPOINT_URL"] = target.url
    else:
        raise BilpError(f"no relay can be put in front of {storage}: set AWS_ENDPOINT_URL, or BILP_STORAGE to a folder")
    root, calm = join(storage, f"chaos-{seed}", "disturbed"), join(storage, f"chaos-{seed}", "calm")
    service = Service(folder, storage, **settings)
    network = Relay(f"http://127.0.0.1:{service.port}")
    service.worker_environment["PREFECT_API_URL"] = f"{network.url}/api"
    (folder / "home").mkdir(exist_ok=True)
    done: list[dict[str, object]] = []
    try:
        service.start_server()
        service.start_workers()
        left, current = faults, Drill(service, network, target, seed)
        while left or not done:
            config = SMALL | {"seed": len(done)}
            _say(f"pipeline with seed {len(done)}, {left} faults left")
            left = hit(current, {"config": config, "root": root}, left)
            done.append(config)
    finally:
        service.stop()
    return compare(root, calm, done)


def compare(root: str, calm: str, configs: Sequence[dict[str, object]]) -> int:
    """Run the same pipelines undisturbed in this process; the number of files that differ."""
    from flows.pipeline import pipeline

    for config in configs:
        pipeline(PipelineConfig.model_validate(config), calm)
    disturbed, undisturbed = artefacts(root), artefacts(calm)
    different = sorted(name for name in disturbed.keys() | undisturbed.keys() if disturbed.get(name) != undisturbed.get(name))
    for name in different:
        _say(f"  differs: {name}: {disturbed.get(name)} instead of {undisturbed.get(name)}")
    _say(f"{len(undisturbed)} files of {len(configs)} pipelines compared, {len(different)} differ")
    return len(different)


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.chaos", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same faults; when they hit depends on the machine")
    parser.add_argument("--folder", type=Path, help="where the service keeps its state (default: a temporary folder)")
    options = parser.parse_args(arguments)
    _say(f"{options.faults} faults, seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="bilp-chaos-", ignore_cleanup_errors=True) as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return 1 if drill(folder, options.faults, options.seed) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
