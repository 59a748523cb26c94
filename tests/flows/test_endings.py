"""What a user reads when a program cannot begin, cannot go on or cannot print: one line, and never a traceback."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_pipeline import REPOSITORY

from bilp.config import IngestConfig
from bilp.errors import BilpError
from deployments import server
from flows import beginning, program
from flows.ingest import ingest
from tasks import output, terminal

pytestmark = pytest.mark.slow

PATIENCE = 120


def started(*arguments: str, environment: dict[str, str] | None = None, folder: Path = REPOSITORY, **streams: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    interruptible: Callable[[], object] = lambda: [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)]  # noqa: E731
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command, env=os.environ | (environment or {}), cwd=folder, text=True, preexec_fn=interruptible, **pipes
    )


def told(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit status and what is on the standard error stream."""
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors.splitlines()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "-m", "flows.ingest", "--dataset", "digits"], "python -m flows.ingest"),
        (["python", "-X", "dev", "-Bm", "deployments.server"], "python -m deployments.server"),
        (["python", "-mflows.report"], "python -m flows.report"),
        (["python", "-m", "pytest", "-m", "flows.ingest"], None),
        (["python", "script.py", "-m", "flows.ingest"], None),
        (["python", "-c", "import flows"], None),
        (["python", "-m", "bilp", "run"], None),  # which settles its end itself
        (["python"], None),
    ],
)
def test_programs_of_ours_are_told_from_processes_that_import_flows(command: list[str], name: str | None) -> None:
    assert beginning.program_of(command) == name


@pytest.mark.parametrize("program", ["flows.pipeline", "bilp run"])
def test_an_interrupt_while_modules_are_imported_is_one_line(program: str) -> None:
    process = started(*program.split(), "--dataset", "digits")
    maps = Path(f"/proc/{process.pid}/maps")
    if not maps.exists():
        pytest.skip("looks into /proc")
    while process.poll() is None and "pydantic_core" not in maps.read_text():  # something heavy is under way
        pass
    process.send_signal(signal.SIGINT)
    assert told(process) == (130, [f"python -m {program}: error: interrupted; the same command continues where it stopped"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "closed terminal"])
def test_what_a_terminal_sends_reaches_workers_once(number: signal.Signals, tmp_path: Path) -> None:
    """Prefect's worker answers a second interrupt with a traceback."""
    login = {"PREFECT_API_AUTH_STRING": "user:password"}
    server = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": "http://127.0.0.1:9/api", "BILP_GPUS": "", **login}
    process = started("deployments.worker", "cpu", environment=server, stdin=subprocess.DEVNULL)
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not listed.exists():
        pytest.skip("looks into /proc")
    worker = 0
    while process.poll() is None and not worker:
        begun = [child for child in listed.read_text().split() if b"\0worker\0start\0" in Path(f"/proc/{child}/cmdline").read_bytes()]
        worker = int(begun[0]) if begun else 0
    assert os.getsid(worker) == worker, "it is out of the terminal's reach"
    process.send_signal(number)
    status, lines = told(process)
    assert status == 0 and not any("Traceback" in line for line in lines), lines
    assert not Path(f"/proc/{worker}").exists()


def test_an_interrupt_from_the_keyboard_is_for_the_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_REGISTER", "true")
    keeper = server._register("http://127.0.0.1:9/api", "user:password")
    assert keeper is not None
    assert os.getsid(keeper.pid) == keeper.pid
    keeper.kill()
    keeper.communicate()


def test_a_setting_that_prefect_cannot_read_is_one_line_of_ours(tmp_path: Path) -> None:
    environment = {"PREFECT_API_REQUEST_TIMEOUT": "soon", "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    process = started("flows.ingest", environment=environment, folder=tmp_path)  # a checkout may have a folder .bilp, which goes first
    status, lines = told(process)
    assert status == 1
    assert lines[-1].startswith("python -m flows.ingest: error: while it was starting: ValidationError: ")
    assert "request_timeout" in lines[-1]
    assert "Traceback" in next(tmp_path.glob("bilp-error-*.txt")).read_text(encoding="utf-8")
    assert not any("Traceback" in line for line in lines)


def test_a_reader_who_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = started("flows.ingest", "--explain", stdout=writing)
    os.close(writing)
    assert told(process) == (0, [])


class Piped(io.TextIOWrapper):
    """A standard output whose reader has gone."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        super().__init__(os.fdopen(writing, "wb", buffering=0), encoding="utf-8", write_through=True)


def test_results_that_nobody_reads_and_results_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch, Piped() as nobody:
        patch.setattr(sys, "stdout", nobody)
        program.guarded("program", lambda: "somewhere", lambda uri: program.show_uri("page", uri))
    with monkeypatch.context() as patch, Piped() as nobody:
        patch.setattr(sys, "stdout", nobody)
        program.guarded("program", lambda: "somewhere", lambda uri: print(uri))
    assert capsys.readouterr().err == ""
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end, Path("/dev/full").open("w", encoding="utf-8") as full:
        patch.setattr(sys, "stdout", full)
        program.guarded("program", lambda: "s3://bucket/page", lambda uri: print(uri))
    assert end.value.code == 1
    assert "all is done, but the result cannot be printed" in (said := capsys.readouterr().err)
    assert said.endswith(": s3://bucket/page\n")
    with monkeypatch.context() as patch, pytest.raises(SystemExit), Path("/dev/full").open("w", encoding="utf-8") as full:
        patch.setattr(sys, "stdout", full)
        program.guarded("program", lambda: {"what was": "looked up"}, lambda found: print(found))
    assert "looked up" not in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


def test_work_goes_on_when_nobody_reads_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    with monkeypatch.context() as patch, Piped() as nobody:
        patch.setattr(sys, "stderr", nobody)
        with terminal.display():
            for number in range(3):
                terminal.say(f"{number}")
                done.append(number)
    assert done == [0, 1, 2]


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", "+- 1.8 +-+ 2 x 3 caf\\xe9"),
        ("latin-1", "± 1.8 +-+ 2 × 3 café"),
        ("utf-8", "± 1.8 ┏━┓ 2 × 3 café"),
        ("cp1252", "± 1.8 +-+ 2 × 3 café"),
        ("koi8-r", "+- 1.8 +-+ 2 x 3 caf\\xe9"),
    ],
)
def test_what_an_encoding_lacks_is_replaced(encoding: str, printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        output.settle()
        for text in ("± 1.8 ", "┏━┓" if encoding == "utf-8" else "+-+", " 2 × 3 café"):
            stream.write(text)
        stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == printed  # type: ignore[attr-defined]


def test_a_path_that_is_no_utf8_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        program.guarded("program", lambda: os.fsdecode(b"/data/caf\xe9/report.html"), lambda uri: program.show_uri("report", uri))
    assert stream.buffer.getvalue() == b"report: /data/caf\xe9/report.html\n"  # type: ignore[attr-defined]


def test_what_nobody_expected_in_a_stage_names_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(importlib.import_module("bilp.data.ingestion"), "open_source", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        program.guarded("program", lambda: ingest(IngestConfig(source="digits"), tmp_path), lambda _: None)
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if "error" in line and line.startswith("program: ")]
    (file,) = (tmp_path / "temporary").glob("bilp-error-*.txt")
    assert end.value.code == 1
    assert line == f"program: error: ingest digits: RuntimeError: two lines; the traceback is in {file}"
    assert "open_source" in file.read_text(encoding="utf-8")
    assert "Traceback" not in said


def test_a_wrong_parameter_of_a_run_is_said_in_one_line() -> None:
    with pytest.raises(Exception, match="config.max_pixels") as caught:
        ingest.validate_parameters({"config": {"source": "digits", "resolution": -1, "max_pixels": "many"}})
    assert "\n" not in str(caught.value)
    assert "config.resolution" in str(caught.value)


def test_roots_of_flows_are_paths_too(tmp_path: Path) -> None:
    by_path = ingest(IngestConfig(source="digits"), tmp_path / "store")
    assert by_path == ingest(IngestConfig(source="digits"), str(tmp_path / "store"))
    assert by_path.startswith(str(tmp_path / "store"))
    assert [kind["type"] for kind in ingest.parameters.properties["root"]["anyOf"]] == ["string", "null"]
    with pytest.raises(BilpError, match="write s3://bucket/prefix"):
        ingest(IngestConfig(source="digits"), "s3://bucket//prefix")
