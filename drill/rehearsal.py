"""A real server and real workers in processes of their own, and the means to disturb them: for tests and for `drill.chaos`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry, Cancelling, Scheduled

from bilp.errors import BilpError
from deployments.state_folder import REPOSITORY
from flows.server import login

PATIENCE = 600.0  # seconds; a busy machine is no failure
LOOK_SECONDS = 0.5  # between two questions whether a run has ended: who watches should not be what slows it down

T = TypeVar("T")


class Stuck(BilpError):
    """Something that should have happened did not; the message tells what the logs say."""


# Long enough to be disturbed in the middle, short enough for a test: seconds on one core.
SMALL: dict[str, Any] = {
    "dataset": "digits",
    "score": {"trials": 2, "epochs": 8, "init_epochs": 1, "network": {"width": 8}},
    "reselect": {"candidates_per_class": 12},
    "distill": {"iterations": 300, "rounds": 6, "batch_real": 16, "network": {"width": 8}},
    "evaluate": {"seeds": 2, "epochs": 4, "baselines": ["random"], "networks": [{"width": 8}]},
}


class Service:
    """Server and workers on loopback; everything they keep lies in `folder`."""

    def __init__(self, folder: Path, storage: str, **settings: str) -> None:
        self.folder, self.storage, self.port = folder, storage, free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "BILP_STORAGE": storage,
            "BILP_CACHE": str(folder / "cache"),
            "BILP_GPUS": "0,1",  # two workers of pool gpu; there need be no such GPUs to compute on the CPU
            "BILP_DEVICE": "cpu",
            # What dies is noticed sooner than elsewhere; the lease is long enough for a process that waits its turn on a busy machine.
            "BILP_LEASE_SECONDS": "20",
            "BILP_POLL_SECONDS": "0.5",
            "BILP_LOOK_SECONDS": "2",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "BILP_START_SECONDS": "300",
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        self.worker_environment = dict(self.environment)
        self.server: subprocess.Popen[str] | None = None
        self.workers: subprocess.Popen[bytes] | None = None
        self._client: SyncPrefectClient | None = None

    def start_server(self, until: str = "up to date") -> None:
        """Start it and wait until it has said `until`."""
        with (self.folder / "server.log").open("a") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "deployments.server"],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.server.stdout is not None
        said = []
        for line in self.server.stdout:
            said.append(line)
            if until in line:
                found = login.find(self.environment["PREFECT_API_URL"], [Path(self.environment["PREFECT_HOME"])])
                self.environment |= {login.CLIENT: found} if found else {}
                return
        raise Stuck("".join([*said, (self.folder / "server.log").read_text()]))

    def start_workers(self) -> None:
        """Start the machine's workers; they look for the server until it answers."""
        with (self.folder / "workers.log").open("a") as log:
            command = [sys.executable, "-m", "deployments.worker"]
            environment = self.worker_environment
            if environment["PREFECT_API_URL"] != self.environment["PREFECT_API_URL"]:  # a relay's, where no login is looked for
                environment = {login.CLIENT: self.environment[login.CLIENT]} | environment
            self.workers = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True)

    def kill_server(self) -> None:
        """As `kill -9`."""
        assert self.server is not None
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.communicate()

    def stop(self) -> None:
        """End everything that was started here, runs included."""
        for process in (self.workers, self.server):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if self._client is not None:
            self._client.__exit__(None, None, None)
            self._client = None
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, **wanted: str) -> list[int]:
        """Processes of this service whose environment holds what is wanted."""
        marks = [f"{name}={value}" for name, value in {"PREFECT_HOME": self.environment["PREFECT_HOME"], **wanted}.items()]
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                settings = path.read_bytes().decode(errors="replace").split("\0")
                if all(mark in settings for mark in marks) and int(path.parent.name) != os.getpid():
                    found.append(int(path.parent.name))
        return found

    @contextlib.contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """The client of this server: one, because making one costs four times what a question costs."""
        if self._client is None:
            client = SyncPrefectClient(self.environment["PREFECT_API_URL"], auth_string=self.environment.get("PREFECT_API_AUTH_STRING"))
            self._client = client.__enter__()
        yield self._client

    def submit(self, deployment: str, parameters: Mapping[str, Any], name: str | None = None) -> UUID:
        """A run by the API, as the UI's form makes one."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=dict(parameters), state=Scheduled(), name=name).id

    def go_on(self, run: UUID) -> None:
        """As the UI's button Retry does."""
        with self.client() as client:
            client.set_flow_run_state(run, AwaitingRetry(scheduled_time=datetime.now(UTC)), force=True)

    def cancel(self, run: UUID) -> None:
        """As the UI's button does."""
        with self.client() as client:
            client.set_flow_run_state(run, Cancelling())

    def run(self, run_id: UUID) -> FlowRun:
        """What the server knows about a run."""
        with self.client() as client:
            return client.read_flow_run(run_id)

    def runs(self, name: str = "") -> list[FlowRun]:
        """Runs whose name begins so, in the order of their start."""
        with self.client() as client:
            found = client.read_flow_runs(limit=200)
        return sorted((run for run in found if run.name.startswith(name)), key=lambda run: str(run.created))

    def ended(self, run_id: UUID, patience: float = PATIENCE) -> FlowRun:
        """The run once it has ended."""

        def over() -> FlowRun | None:
            run = self.run(run_id)
            return run if run.state is not None and run.state.is_final() else None

        return until(over, lambda: f"{[(run.name, run.state_name) for run in self.runs()]}\n{self.logs()}", patience, LOOK_SECONDS)

    def running(self, name: str) -> FlowRun:
        """A run of this name that is running, with its process."""

        def begun() -> FlowRun | None:
            going = [run for run in self.runs(name) if run.state_name == "Running" and self.process_of(run.id)]
            return going[0] if going else None

        return until(begun, lambda: f"{[(run.name, run.state_name) for run in self.runs()]}\n{self.logs()}")

    def process_of(self, run_id: UUID) -> list[int]:
        """Processes that carry the run out."""
        return self.processes(PREFECT__FLOW_RUN_ID=str(run_id))

    def workers_of(self, runs: list[int]) -> list[int]:
        """The workers of this service that started these processes; none for a process whose worker is gone already."""
        ours = set(self.processes())
        parents = {
            int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in runs if Path(f"/proc/{pid}").exists()
        }
        return sorted(parents & ours)

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(path.read_text()[-4000:] for path in self.folder.glob("*.log"))


def until(found: Callable[[], T | None], why: Callable[[], str] = lambda: "", patience: float = PATIENCE, every: float = 0.2) -> T:
    """What `found`, called every so many seconds, gives as soon as it gives anything; raises Stuck with `why` if that takes too long."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        result = found()
        if result:
            return result
        time.sleep(every)
    raise Stuck(f"it took longer than {patience:.0f} s: {why()}")


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def kill(processes: list[int]) -> None:
    """As `kill -9`."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def finished_artifacts(root: str) -> dict[str, bytes]:
    """Every file of every complete artifact below a local root but what tells the time; reports name their root and are left out."""
    found = {}
    for manifest in Path(root).rglob("_manifest.json"):
        folder = manifest.parent
        if folder.relative_to(root).parts[0] == "reports":
            continue
        for name, entry in json.loads(manifest.read_bytes())["files"].items():
            found[str((folder / name).relative_to(root))] = entry["sha256"].encode() + (folder / entry.get("stored", name)).read_bytes()
    return found
