"""Deployments whose code workers clone from git, registered and run with the commands of deployments/README.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prefect_database import another_home
from tiny_pipeline import REPOSITORY

from flows.local import server as local_server

PATIENCE = 240


def repository(folder: Path) -> Path:
    """A git repository with this checkout's code, one word of it changed so that a run shows whose code it is."""
    folder.mkdir()
    for name in ("bilp", "tasks", "flows", "recipes", "deployments"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    flow = folder / "flows" / "ingest.py"
    flow.write_text(flow.read_text(encoding="utf-8").replace('flow_run_name="ingest ', 'flow_run_name="cloned '), encoding="utf-8")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet", "--initial-branch", "main"], ["add", "."], [*identity, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.mark.slow
def test_a_worker_clones_what_it_runs(template: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_HOME": str(another_home(template, tmp_path / "home"))}
    environment |= {"BILP_STORAGE": str(tmp_path / "store"), "PREFECT_CLI_PROMPT": "false"}
    environment |= {"BILP_REPOSITORY": f"file://{repository(tmp_path / 'repository')}", "BILP_BRANCH": "main"}
    server = local_server.start(environment)
    environment["PREFECT_API_URL"] = server.url

    def python(folder: Path, *arguments: str) -> str:
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        assert "up to date" in python(REPOSITORY, "deployments.register")
        assert "up to date" in python(REPOSITORY, "deployments.register"), "again changes nothing"
        python(tmp_path, "prefect", "deployment", "run", "ingest/ingest", "--param", f"config={json.dumps({'source': 'digits'})}")
        python(tmp_path, "prefect", "worker", "start", "--pool", "cpu", "--run-once")
        runs = json.loads(python(tmp_path, "prefect", "flow-run", "ls", "--output", "json"))
    finally:
        server.stop()
    assert [(run["name"], run["state"]["type"]) for run in runs] == [("cloned digits", "COMPLETED")]
    assert len(list((tmp_path / "store").glob("datasets/digits/*/_manifest.json"))) == 1
