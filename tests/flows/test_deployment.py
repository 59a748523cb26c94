"""The pipeline as a deployment, with the commands that deployments/prefect.yaml names: a server, a work pool, a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from tiny_pipeline import REPOSITORY, TINY, Finished, another_home, synthetic_sets

from flows import local_server

PATIENCE = 120
FILE = REPOSITORY / "deployments" / "prefect.yaml"


def test_a_worker_runs_the_deployed_pipeline_to_the_same_bytes(finished: Finished, prefect_home: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_HOME": str(another_home(prefect_home, tmp_path / "home"))}
    environment |= {"BILP_HOME": str(REPOSITORY), "BILP_STORAGE": str(tmp_path / "store"), "PREFECT_CLI_PROMPT": "false"}
    server = local_server.start(environment)
    environment["PREFECT_API_URL"] = server.url

    def prefect(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments], env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        prefect("work-pool", "create", "bilp", "--type", "process")
        prefect("deploy", "--prefect-file", str(FILE), "--all")
        prefect("deployment", "run", "pipeline/digits", "--param", f"config={json.dumps(TINY)}")
        prefect("worker", "start", "--pool", "bilp", "--run-once")
    finally:
        server.stop()
    assert synthetic_sets(tmp_path / "store") == synthetic_sets(finished.root)
    assert len(list((tmp_path / "store").glob("reports/*/report.html"))) == 1


def test_the_file_names_nothing_that_prefect_would_silently_ignore() -> None:
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert set(content) == {"name", "pull", "deployments"}
    for deployment in content["deployments"]:
        assert set(deployment) <= {"name", "entrypoint", "description", "parameters", "work_pool"}
        assert set(deployment["work_pool"]) <= {"name", "job_variables"}
