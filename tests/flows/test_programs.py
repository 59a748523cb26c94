"""The commands as a user types them, in processes of their own: output, errors, kill -9, and the private Prefect server."""

from __future__ import annotations

import os
import runpy
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect_database import another_home
from tiny_pipeline import REPOSITORY, TINY, Finished, endings, options, synthetic_sets

from bilp.errors import BilpError
from flows.local import server as local_server

pytestmark = pytest.mark.slow

PATIENCE = 120
TABLE = ["│ All real images ", "│ Random real images ", "│ Unpruned ", "│ BiLP "]
KILLER = Path(__file__).with_name("run_and_kill.py")


def ends(pid: int) -> bool:
    """Whether a process that is not ours ends soon."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], PATIENCE)[0])
    finally:
        os.close(watched)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.slow
@on_linux
def test_killed_in_the_middle_and_started_again_it_ends_with_the_same_bytes(
    finished: Finished, template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}  # it brings its own server
    environment |= {"PREFECT_HOME": str(another_home(template, tmp_path / "home")), "BILP_STORAGE": str(root)}
    command = [sys.executable, str(KILLER), "flows.pipeline", "distill bilp round 3/4", "1", *options(TINY)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (server,) = killed.stdout.split()
    assert ends(int(server)), "the private server outlived the program"
    assert len(synthetic_sets(root)) == 1

    with endings() as outcome:
        assert in_this_process("flows.pipeline", options(TINY), str(root), monkeypatch) == 0
    printed, _ = capsys.readouterr()
    stages = [stage for stage in finished.outcomes if "unpruned round" not in stage]
    reached = stages.index("distill bilp round 3/4")
    assert outcome == dict.fromkeys(stages[:reached], "there already") | dict.fromkeys(stages[reached:], "done")
    assert len(synthetic_sets(root)) == 2
    assert synthetic_sets(root).items() <= synthetic_sets(finished.root).items()
    label, page = printed.splitlines()[-1].split()
    assert label == "report:"
    assert Path(page).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def in_this_process(module: str, arguments: list[str], root: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Run a module as `python -m` does, without the seconds that imports take; its exit status."""
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.setenv("BILP_STORAGE", root)
    monkeypatch.delitem(sys.modules, module, raising=False)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize(
    ("stage", "printed"),
    [
        ("ingest", ["dataset: {root}/datasets/digits/"]),
        ("score", ["scores: {root}/scores/"]),
        ("prune", ["selection: {root}/selections/"]),
        ("distill", ["synthetic set, unpruned: {root}/runs/", "synthetic set, bilp: {root}/runs/"]),
        ("evaluate", TABLE),
        ("report", [*TABLE, "10 synthetic images trained a ConvNet to ", "report: {root}/reports/"]),
        ("pipeline", [*TABLE, "10 synthetic images trained a ConvNet to ", "report: {root}/reports/"]),
    ],
)
def test_every_stage_is_a_command_that_prints_its_result(
    stage: str, printed: list[str], finished: Finished, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with endings() as outcome:
        assert in_this_process(f"flows.{stage}", options(TINY), finished.root, monkeypatch) == 0
    captured = capsys.readouterr()
    results = [line for line in captured.out.splitlines() if line[0] == "│" or ": " in line]
    assert len(results) == len(printed)
    for line, beginning in zip(results, printed, strict=True):
        assert line.startswith(beginning.format(root=finished.root))
    assert set(outcome.values()) == {"there already"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--ipc", "0"], 2, 'ipc = "0": input should be greater than or equal to 1'),
        (["--kep", "0.5"], 2, "unrecognized arguments: --kep 0.5; did you mean --keep?"),
        (["--prune.minimum_per_class", "100000"], 1, "class"),
    ],
)
def test_what_goes_wrong_is_one_clear_line(
    arguments: list[str], status: int, message: str, finished: Finished, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_this_process("flows.prune", [*options(TINY), *arguments], finished.root, monkeypatch) == status
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if " error: " in line]
    assert line.startswith("python -m flows.prune: error: ")
    assert message in line
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_private_servers_that_meet_an_empty_home_take_turns(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", tmp_path / "order"
    program = (
        "import sys; from pathlib import Path; from flows.local.server import one_at_a_time\n"
        "with one_at_a_time(Path(sys.argv[1])):\n"
        "    with open(sys.argv[2], 'a') as file: file.write('in\\n')\n"
        "    with open(sys.argv[2], 'a') as file: file.write('out\\n')\n"
    )
    command = [sys.executable, "-c", program, str(path), str(order)]
    with local_server.one_at_a_time(path):
        waiting = [subprocess.Popen(command, cwd=REPOSITORY) for _ in range(3)]
        order.write_text("first out\n", encoding="utf-8")
    assert [process.wait(PATIENCE) for process in waiting] == [0, 0, 0]
    assert order.read_text(encoding="utf-8").splitlines() == ["first out", *["in", "out"] * 3]


def test_a_server_that_cannot_start_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = {"PREFECT_HOME": str(tmp_path), "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{tmp_path}/no/such/folder.db"}
    server = local_server.Server({name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | broken)
    with pytest.raises(BilpError, match="unable to open database file.* set PREFECT_API_URL to use another") as caught:
        server.wait()
    assert "correct PREFECT_SERVER_DATABASE_CONNECTION_URL" in str(caught.value)
    assert capfd.readouterr().err == ""
