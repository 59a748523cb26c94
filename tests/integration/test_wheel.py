"""The wheel in an environment of its own, in somebody's folder: the program, the server and the workers work there as in a checkout."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from installed import PACKAGES, install, plain, site_packages
from prefect_database import another_home

PATIENCE = 240
THEIRS = (*PACKAGES[1:], "secrets", "numbers", "sched")
"""Modules that somebody may have in the folder: names of our packages, and of Python's."""
START = """
from prefect.deployments import run_deployment
run = run_deployment("ingest/ingest", parameters={"config": {"source": "digits"}}, timeout=200, poll_interval=1)
print(run.state.type.value, run.state.message)
"""

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def somebodys(tmp_path: Path) -> Path:
    """A folder with modules of its own."""
    folder = tmp_path / "somebody's"
    folder.mkdir()
    for name in THEIRS:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the working directory was imported')\n", encoding="utf-8")
    return folder


def left_in(environment: Path) -> set[str]:
    """Everything that lies in the environment, compiled modules left out."""
    return {str(path) for path in environment.rglob("*") if "__pycache__" not in path.parts}


@contextmanager
def running(*command: str | Path, folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A program of the service in the block, which an interrupt ends."""
    process = subprocess.Popen(command, cwd=folder, env=plain(**variables), stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


def test_a_run_on_server_and_workers_of_a_wheel_leaves_its_results_in_the_folder(
    environment: Path, somebodys: Path, template: Path
) -> None:
    before, program = left_in(environment), environment / "bin" / "bilp"
    home = another_home(template, somebodys / ".bilp" / "service")  # where the server finds its database migrated
    with running(program, "server", folder=somebodys, PREFECT_SERVER_API_PORT="0", BILP_LOOK_SECONDS="2") as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url
        assert any("up to date" in line for line in iter(server.stdout.readline, ""))
        with running(program, "worker", "cpu", folder=somebodys, PREFECT_API_URL=url):
            client = {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": (home / "login").read_text(encoding="utf-8").strip()}
            command = [environment / "bin" / "python", "-P", "-c", START]
            done = subprocess.run(
                command, cwd=somebodys, env=plain(**client), capture_output=True, text=True, check=False, timeout=PATIENCE
            )
    assert done.stdout.startswith("COMPLETED"), done.stdout + done.stderr
    assert list((somebodys / "bilp-storage" / "datasets").glob("digits/*/_manifest.json"))
    assert left_in(environment) == before, "nothing is kept among the installed packages"


def test_a_command_of_a_wheel_imports_nothing_from_the_folder(environment: Path, somebodys: Path, template: Path) -> None:
    home = str(another_home(template, somebodys / "home"))
    for started in ([environment / "bin" / "bilp"], [environment / "bin" / "python", "-m", "bilp"]):
        command = [*started, "ingest", "--dataset", "digits"]
        done = subprocess.run(
            command, cwd=somebodys, env=plain(PREFECT_HOME=home), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"dataset: {somebodys}/bilp-storage/datasets/digits/")
    imported = [environment / "bin" / "python", "-P", "-c", "import deployments.register as found; print(found.FILE)"]
    file = subprocess.run(imported, cwd=somebodys, env=plain(), capture_output=True, text=True, check=True).stdout.strip()
    assert file == str(site_packages(environment) / "deployments" / "prefect.yaml"), "it is the wheel that was tested"
