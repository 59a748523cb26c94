"""python -m deployments.worker [cpu] [gpu]

The workers of this machine: one for the pool `cpu`, and for the pool `gpu` one per GPU, each with its own CUDA_VISIBLE_DEVICES and
one run at a time. On a machine without a GPU one worker of `gpu` computes on the CPU. A worker that ends is started again;
Ctrl-C, SIGTERM or the end of the terminal stops them all, and what they ran continues elsewhere from its last checkpoint. The login of
a server on this machine is found in that server's folder; for any other, set PREFECT_API_AUTH_STRING.

BILP_GPUS (such as 0,2) chooses the GPUs, BILP_ARITHMETIC how they compute where settings do not say, BILP_CPU_LIMIT the runs at a time
in `cpu` (they mostly wait for units), BILP_UMASK the permissions of what runs write (those of this command otherwise). On Linux, a
process beside the workers has imported PyTorch, Prefect and the flows, and forks the processes of runs (`deployments.warm`): they begin
in milliseconds, for some 0.7 GB of memory; BILP_WARM=false starts an interpreter for each run instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bilp import ending
from bilp.config.arithmetics import DETERMINISTIC, PAPERS, VARIABLE, WORKSPACE
from bilp.errors import ConfigError
from deployments.state_folder import DEFAULT, REPOSITORY, settle
from deployments.warm.protocol import ADDRESS, PASSED_ON
from flows.server import file_permissions, installation, login
from flows.server.loopback import is_loopback

PROGRAM = "python -m deployments.worker"
POOLS = ("cpu", "gpu")
RESTART_SECONDS = 5.0
LOGIN_SECONDS = 30.0  # a server on a busy machine takes 15 to begin
STOP_SECONDS = 45.0
LONGEST_FOLDER = 70
"""Bytes of a path, so that those of sockets below it have fewer than the 104 that every system takes."""
QUERY_SECONDS = "2"  # between two looks for work; the default of 10 is what a GPU would idle between two units
FILE = REPOSITORY / "deployments" / "prefect.yaml"
LOCAL_API = "http://127.0.0.1:4200/api"


@dataclass(frozen=True)
class Worker:
    """One worker process."""

    pool: str
    name: str
    limit: int
    environment: Mapping[str, str]

    def start(self) -> subprocess.Popen[bytes]:
        arguments = ["worker", "start", "--pool", self.pool, "--type", _type(), "--name", self.name, "--limit", str(self.limit)]
        environment = _signed_in(os.environ) | dict(self.environment)
        program = "deployments.warm.worker" if _type() == "process" else "prefect"
        # In a session of its own it hears of an interrupt from the keyboard once, from this program: Prefect answers two with a traceback.
        return subprocess.Popen([sys.executable, "-P", "-m", program, *arguments], env=environment, start_new_session=True)


@dataclass(frozen=True)
class WarmServer:
    """The process that forks the runs of all workers (`deployments.warm`)."""

    address: str
    name: str = "of forked runs"

    def start(self) -> subprocess.Popen[bytes]:
        serve = f"from deployments.warm.server import serve; serve({self.address!r})"
        # Its standard input ends with this program.
        return subprocess.Popen([sys.executable, "-P", "-c", serve], stdin=subprocess.PIPE, start_new_session=True)


def _signed_in(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the login of a server on this machine, which may have begun after this program."""
    found = _login(environment)
    return dict(environment) | ({login.CLIENT: found} if found else {})


def _login(environment: Mapping[str, str]) -> str | None:
    """The login of a server on this machine, unless one is given."""
    homes = (Path(environment["PREFECT_HOME"]), DEFAULT)
    return None if environment.get(login.CLIENT) else login.find(environment["PREFECT_API_URL"], homes)


def await_login(environment: Mapping[str, str], stop: threading.Event, seconds: float = LOGIN_SECONDS) -> None:
    """Give a server on this machine that is being started the time to say its login; Prefect's worker ends in a traceback without it."""
    address = environment["PREFECT_API_URL"]
    if environment.get(login.CLIENT) or not is_loopback(urlsplit(address).hostname or ""):
        return
    end, told = time.monotonic() + seconds, False
    while _login(environment) is None and time.monotonic() < end and not stop.wait(0.5):
        if not told and time.monotonic() > end - seconds + 1.5:
            told = True
            with contextlib.suppress(OSError):
                sys.stderr.write(f"waiting for the server at {address}\n")


def _type() -> str:
    return os.environ.get("BILP_POOL_TYPE", "process")


def plan(pools: Sequence[str], gpus: Sequence[str], host: str, cpu_limit: int, given: Mapping[str, str]) -> list[Worker]:
    """The workers of a machine with these GPUs; variables that are `given` go before those that are usual here.

    A worker of a GPU computes on that one, or says why not, rather than on the CPU. One of the pool `cpu` makes the settings of
    what these compute.
    """
    on_cpu = {"CUDA_VISIBLE_DEVICES": "", "BILP_DEVICE": "cpu"}
    on_gpu = {"BILP_DEVICE": given.get("BILP_DEVICE", "cuda"), WORKSPACE: given.get(WORKSPACE, DETERMINISTIC)}
    planning = {VARIABLE: given.get(VARIABLE, PAPERS)} if gpus and on_gpu["BILP_DEVICE"] != "cpu" else {}
    workers = []
    if "cpu" in pools:
        workers.append(Worker("cpu", f"cpu-{host}", cpu_limit, on_cpu | planning))
    if "gpu" in pools and gpus:
        workers += [Worker("gpu", f"gpu-{host}-{gpu}", 1, {"CUDA_VISIBLE_DEVICES": gpu, **on_gpu}) for gpu in gpus]
    elif "gpu" in pools:
        workers.append(Worker("gpu", f"gpu-{host}-none", 1, on_cpu))
    return workers


def with_warm_server(workers: Sequence[Worker], folder: str) -> list[Worker | WarmServer]:
    """The workers, and before them the server that forks their runs at a socket in `folder`."""
    address = str(Path(folder) / "warm")
    return [WarmServer(address), *(replace(worker, environment={**worker.environment, ADDRESS: address}) for worker in workers)]


def forks(environment: Mapping[str, str]) -> bool:
    """Whether runs are forked: on Linux, in processes of this machine, unless BILP_WARM=false."""
    return sys.platform == "linux" and _type() == "process" and environment.get("BILP_WARM", "true").lower() not in ("false", "0", "no")


def folder_of_sockets() -> str:
    """Where a folder with sockets can be made: for temporary files, unless that has a longer path than the system takes for a socket."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= LONGEST_FOLDER else "/tmp"  # in which it gets a name that nobody knows


def job_environment() -> dict[str, str]:
    """Variables that deployments/prefect.yaml gives to every run and that libraries read while they are imported."""
    given = yaml.safe_load(FILE.read_text(encoding="utf-8"))["definitions"]["cpu"]["job_variables"]["env"]
    return {name: value for name, value in given.items() if not name.startswith(PASSED_ON)}


def cpu_limit(environment: Mapping[str, str]) -> int:
    """Runs at a time in the pool `cpu`, 8 unless BILP_CPU_LIMIT says otherwise. Raises ConfigError."""
    given = environment.get("BILP_CPU_LIMIT", "8")
    if not (given.isascii() and given.isdigit() and int(given) > 0):
        raise ConfigError(f"BILP_CPU_LIMIT = {given!r} is no number of runs: use 1 or more")
    return int(given)


def visible_gpus() -> list[str]:
    """Numbers of this machine's GPUs: $BILP_GPUS, or $CUDA_VISIBLE_DEVICES, or all that the driver lists."""
    for name in ("BILP_GPUS", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            return [part for part in os.environ[name].split(",") if part.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return listed.stdout.split()


def keep_running(workers: Sequence[Worker | WarmServer], stop: threading.Event) -> None:
    """Start all, start again what ends, until `stop`; then end them and wait for them."""
    running: list[subprocess.Popen[bytes]] = []
    ended: dict[str, float] = {}
    try:
        running += [worker.start() for worker in workers]
        while not stop.wait(0.5):
            for position, worker in enumerate(workers):
                if running[position].poll() is None:
                    continue
                since = ended.setdefault(worker.name, time.monotonic())
                if time.monotonic() - since >= RESTART_SECONDS:
                    with contextlib.suppress(OSError):  # the log's disk may be full
                        sys.stderr.write(f"worker {worker.name} ended with status {running[position].returncode}; starting it again\n")
                    running[position] = worker.start()
                    del ended[worker.name]
    finally:
        end_all(running)


def end_all(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask all to stop, which stops what they run; kill those that do not."""
    for process in running:
        process.terminate()
    end = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(arguments: Sequence[str]) -> None:
    wrong = [argument for argument in arguments if argument not in POOLS]
    if wrong:
        ending.fail(PROGRAM, [f"no pool {', '.join(wrong)}: use cpu, gpu or nothing for both"], ending.MISUSED)
    file_permissions.keep_private(os.environ)
    settle(os.environ)
    os.environ.setdefault("PREFECT_API_URL", LOCAL_API)
    login.check_address(os.environ["PREFECT_API_URL"])
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", QUERY_SECONDS)
    if installation.IS_CHECKOUT:  # which runs see first, also where another one is installed
        os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    stop = threading.Event()
    hung_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]  # a closed terminal, unless under nohup
    for number in (signal.SIGINT, signal.SIGTERM, *hung_up):
        signal.signal(number, lambda *_: stop.set())
    os.environ.update(job_environment())
    await_login(os.environ, stop)
    workers = plan(arguments or POOLS, visible_gpus(), socket.gethostname(), cpu_limit(os.environ), os.environ)
    with tempfile.TemporaryDirectory(prefix="bilp-", dir=folder_of_sockets()) as folder:
        keep_running(with_warm_server(workers, folder) if forks(os.environ) else workers, stop)


if __name__ == "__main__":
    with ending.one_line(PROGRAM, "keeping workers running"):
        main(sys.argv[1:])
