"""What a session makes once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_once import made_once

TESTS = """
from pathlib import Path
import pytest
from made_once import made_once

def costly(folder: Path) -> dict[str, str]:
    with (Path(__file__).parent / "made").open("a") as log:
        log.write("x")
    (folder / "file").write_text("first")
    return {"here": f"{folder}/file", "elsewhere": "/elsewhere"}

@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return made_once(tmp_path_factory, "costly", dict[str, str], costly)

@pytest.mark.parametrize("number", range(4))
def test_reads(made, number, worker_id):
    place = Path(made["here"])
    assert place.read_text() in ("first", worker_id)  # what another process wrote is not here
    place.write_text(worker_id)
    assert made["elsewhere"] == "/elsewhere"
    with (Path(__file__).parent / f"seen-{worker_id}").open("a") as log:
        log.write("x")
"""


@dataclass(frozen=True)
class Thing:
    """What is made here."""

    place: Path


def test_processes_share_what_one_of_them_made_and_change_copies_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    options += ["-p", "xdist", "--numprocesses", "2", "--dist", "each"]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_it.py"), f"--basetemp={tmp_path / 'base'}"]
    without = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # plugins take a second
    environment = {"PYTHONPATH": str(Path(__file__).parent), "PATH": "", **without}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "made").read_text() == "x"
    assert [(tmp_path / f"seen-gw{number}").read_text() for number in range(2)] == ["xxxx", "xxxx"]


def test_one_process_makes_it_where_it_is_read(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def thing(folder: Path) -> Thing:
        (folder / "file").touch()
        return Thing(folder / "file")

    made = made_once(tmp_path_factory, "thing", Thing, thing)
    assert made.place.exists()
    assert made.place.is_relative_to(tmp_path_factory.getbasetemp())
