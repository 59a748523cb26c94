"""A process that is forked for a run is as good as one of its own: its streams, signals and end are the run's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deployments import worker
from deployments.warm import protocol, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux alone")

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER = """
import os, sys
from deployments.warm.server import fork_for
fork_for(sys.argv[1], ["json", *sys.argv[2:]], lambda: exec(os.environ["BILP_TEST_WORK"]))
"""
SAYS_WHO = "import os, sys; print(os.getpid(), os.getcwd(), 'json' in sys.modules, sys.stdin.read(), flush=True)"
WAITS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
COLD = "import sys; from deployments.warm.run import main; main(['-c', 'print(\"cold\")'])"


def variables_of_a_worker() -> dict[str, str]:
    """The same for a server and its runs: pytest changes its own with each phase of a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


@dataclass
class Forking:
    """A server, and how to begin programs that have their processes forked by it."""

    address: str
    server: subprocess.Popen[bytes]
    folder: Path
    programs: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, work: str, **variables: str) -> subprocess.Popen[str]:
        environment = variables_of_a_worker() | {protocol.ADDRESS: self.address, "BILP_TEST_WORK": work} | variables
        pipe = subprocess.PIPE
        program = subprocess.Popen(
            [sys.executable, "-c", COLD], env=environment, cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        self.programs.append(program)
        return program

    def said(self, work: str, given: str = "", **variables: str) -> tuple[str, int]:
        program = self.run(work, **variables)
        said, wrong = program.communicate(given, timeout=60)
        assert wrong == ""
        return said.strip(), program.returncode


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Forking]]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), str(tmp_path)]))
    begun_all: list[Forking] = []

    def begun(*modules: str) -> Forking:
        address = tmp_path / "socket"
        command = [sys.executable, "-c", SERVER, str(address), *modules]
        server = subprocess.Popen(command, env=variables_of_a_worker(), stdin=subprocess.PIPE)
        while not address.exists():
            assert server.poll() is None
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        begun_all.append(Forking(str(address), server, folder))
        return begun_all[-1]

    yield begun
    for forking in begun_all:
        for program in forking.programs:
            program.kill()
            program.wait()
            for stream in (program.stdin, program.stdout, program.stderr):
                assert stream is not None
                stream.close()
        assert forking.server.stdin is not None
        forking.server.stdin.close()
        assert forking.server.wait(60) in (0, -signal.SIGKILL)


def wait_for_end(process: int) -> None:
    """Of a process that was killed: its files are closed a moment before it counts as ended."""
    while True:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return
        except (FileNotFoundError, ProcessLookupError):
            return


def test_streams_folder_and_variables_are_those_of_the_run(begin: Callable[..., Forking]) -> None:
    forking = begin()
    said, status = forking.said(SAYS_WHO, "typed")
    process, folder, imported, typed = said.split()
    assert (folder, imported, typed, status) == (str(forking.folder), "True", "typed", 0)
    assert forking.said("import os; print(os.environ['PREFECT__X'], os.environ.get('BILP_WARM_SERVER'))", PREFECT__X="7") == ("7 None", 0)
    assert forking.said(SAYS_WHO)[0].split()[0] != process


@pytest.mark.parametrize(
    ("work", "status"),
    [
        ("raise SystemExit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import atexit, os; atexit.register(os._exit, 5)", 5),
    ],
)
def test_it_ends_as_its_process_ended(begin: Callable[..., Forking], work: str, status: int) -> None:
    assert begin().said(work) == ("", status)


def test_signals_are_passed_on(begin: Callable[..., Forking]) -> None:
    program = begin().run(
        "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(9))\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    assert program.stdout is not None and program.stdout.readline() == "ready\n"
    program.terminate()
    assert program.wait(60) == 9


def test_a_run_that_is_killed_takes_its_process_along(begin: Callable[..., Forking]) -> None:
    forking = begin()
    program = forking.run(WAITS)
    assert program.stdout is not None
    process = int(program.stdout.readline())
    program.kill()
    program.wait()
    assert program.stdout.read() == "", "nobody holds the other end any more"
    wait_for_end(process)
    assert forking.said("print(1)") == ("1", 0), "the server goes on"


def test_a_server_that_is_killed_takes_its_processes_along(begin: Callable[..., Forking]) -> None:
    forking = begin()
    program = forking.run(WAITS)
    assert program.stdout is not None
    process = int(program.stdout.readline())
    forking.server.kill()
    assert program.wait(60) == run.LOST
    assert program.stdout.read() == ""
    wait_for_end(process)
    assert forking.said("print(1)") == ("cold", 0)


def test_a_server_that_is_to_end_waits_for_its_processes(begin: Callable[..., Forking]) -> None:
    forking = begin()
    program = forking.run("print('ready', flush=True); input()")
    assert program.stdout is not None and program.stdin is not None and program.stdout.readline() == "ready\n"
    forking.server.terminate()
    while forking.said("print(1)") != ("cold", 0):
        pass
    assert forking.server.poll() is None
    program.stdin.write("go\n")
    program.stdin.close()
    assert (program.wait(60), forking.server.wait(60)) == (0, 0)


def test_where_something_else_is_set_that_libraries_read_when_they_are_imported_it_starts_on_its_own(begin: Callable[..., Forking]) -> None:
    forking = begin()
    assert forking.said("print(1)", OMP_NUM_THREADS="17") == ("cold", 0)
    assert forking.said("print(1)", MALLOC_ARENA_MAX="3") == ("cold", 0)
    assert forking.said("print(1)", BILP_STORAGE="/elsewhere", CUDA_VISIBLE_DEVICES="3") == ("1", 0)


@pytest.mark.slow
def test_each_process_of_several_gpus_sees_its_own_alone_and_none_has_been_used_before(begin: Callable[..., Forking]) -> None:
    """What CUDA and cuBLAS read when a process first uses a GPU is there by then: in what is forked, and in what starts on its own."""
    forking = begin("torch")
    says = (
        "import os, torch; names = ('CUDA_VISIBLE_DEVICES', 'CUBLAS_WORKSPACE_CONFIG', 'BILP_DEVICE'); "
        "print(*(os.environ[name] for name in names), torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork())"
    )
    workers = worker.plan(["gpu"], ["0", "3", "5"], "box", 1, {})
    assert [found.limit for found in workers] == [1, 1, 1]
    for found, gpu in zip(workers, ("0", "3", "5"), strict=True):
        expected = f"{gpu} :4096:8 cuda False"
        assert forking.said(says, **found.environment) == (expected, 0)
        environment = variables_of_a_worker() | dict(found.environment)
        alone = subprocess.run([sys.executable, "-c", says], env=environment, capture_output=True, text=True, check=True)
        assert alone.stdout.strip() == expected


def test_changed_code_is_not_run_with_the_code_of_before(
    begin: Callable[..., Forking], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is told that this folder is the project's."""
    module = tmp_path / "changes.py"
    module.write_text("VALUE = 1")
    monkeypatch.setattr(sys.modules[__name__], "SERVER", f"import deployments.warm.server as s; s.PROJECT = {str(tmp_path)!r}\n{SERVER}")
    forking = begin("changes")
    assert forking.said("import changes; print(changes.VALUE)") == ("1", 0)
    module.write_text("VALUE = 10")
    assert forking.said("import changes; print(changes.VALUE)") == ("cold", 0)
    assert forking.server.wait(60) == 0, "for another one to be started"


def test_what_is_no_request_ends_nothing(begin: Callable[..., Forking]) -> None:
    forking = begin()
    for nonsense in (b"", b"ab", b"\0\0\0\5[1]"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(forking.address)
            connection.sendall(nonsense)
    assert forking.said("print(1)") == ("1", 0)
    assert Path(forking.address).stat().st_mode & 0o077 == 0


def test_a_signal_that_comes_while_nobody_has_answered_is_for_the_run_itself(begin: Callable[..., Forking], tmp_path: Path) -> None:
    forking = begin()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        program = forking.run("print(1)", **{protocol.ADDRESS: str(tmp_path / "silent")})
        connection, _ = silent.accept()
        request = protocol.receive(connection)
        program.terminate()
        connection.close()
        for stream in request.streams:
            os.close(stream)
        assert program.wait(60) == -signal.SIGTERM


def test_a_server_that_cannot_fork_goes_on(begin: Callable[..., Forking], monkeypatch: pytest.MonkeyPatch) -> None:
    fails = "import os\nreal = os.fork\ndef fork():\n    os.fork = real\n    raise BlockingIOError\nos.fork = fork\n"
    monkeypatch.setattr(sys.modules[__name__], "SERVER", f"{fails}{SERVER}")
    forking = begin()
    assert forking.said("print(1)") == ("cold", 0)
    assert forking.said("print(1)") == ("1", 0)


def test_sockets_lie_where_their_path_is_short_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 100)))
    with tempfile.TemporaryDirectory(prefix="bilp-", dir=worker.folder_of_sockets()) as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/100.new")
    monkeypatch.setattr("tempfile.tempdir", "/var/tmp")
    assert worker.folder_of_sockets() == "/var/tmp"
