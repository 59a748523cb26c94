"""python -m deployments.register

Bring the server at PREFECT_API_URL up to date: work pools with their queues, every deployment of prefect.yaml.
Calling it again changes nothing. BILP_POOL_TYPE=kubernetes makes the pools Kubernetes ones with the job templates of
deployments/kubernetes and the image BILP_IMAGE. With BILP_REPOSITORY, workers clone that git repository (BILP_BRANCH) for each run;
git signs in there with what the workers' machines know.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import get_current_settings

from bilp import ending
from bilp.errors import BilpError, ConfigError
from bilp.text.redaction import redacted
from deployments import job_templates, repository
from deployments.state_folder import REPOSITORY, settle
from flows.server import configured, login

FILE = REPOSITORY / "deployments" / "prefect.yaml"

POOLS = {
    "cpu": "Ingest, prune, report, and flows that submit units and wait for them",
    "gpu": "Whatever trains a network; one worker for each GPU",
}
QUEUES = ("interactive", "scheduled", "default")
"""In the order of their priority."""
RETIRED_AUTOMATION = "bilp: no heartbeat means crashed"


def pools(client: SyncPrefectClient, kind: str) -> None:
    """Create the pools that are missing, with their queues, and put their job templates into those of Kubernetes that are there.

    Raises ConfigError for Kubernetes without the image of the jobs.
    """
    templates: dict[str, dict[str, Any]] = {name: job_templates.load(name, os.environ) if kind == "kubernetes" else {} for name in POOLS}
    for name, template in templates.items():
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, description=POOLS[name], base_job_template=template))
        except ObjectAlreadyExists:
            if template and client.read_work_pool(name).type == kind:
                client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
        _queues(name)


def _queues(pool: str) -> None:
    """The synchronous client of Prefect knows no queues."""

    async def settle_priorities() -> None:
        async with get_client() as client:
            there = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=pool)}
            for priority, name in enumerate(QUEUES, start=1):
                queue = there.get(name) or await client.create_work_queue(name=name, work_pool_name=pool)
                if queue.priority != priority:
                    await client.update_work_queue(queue.id, priority=priority)

    asyncio.run(settle_priorities())


def deployments(source: str, branch: str | None) -> None:
    """Deploy everything in prefect.yaml, from this checkout or from a git repository. Raises BilpError."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    if source:
        clone = {"repository": source} | ({"branch": branch} if branch else {})
        content["pull"] = [{"prefect.deployments.steps.git_clone": clone}]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", str(file), "--all"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["no reason given"]
        raise BilpError(redacted(f"prefect deploy ended with status {done.returncode}: {said[-1]}", os.environ))


def retire(client: SyncPrefectClient) -> None:
    """Delete the automations that earlier versions registered (`deployments.keeper` tells why)."""
    for automation in client.read_automations_by_name(RETIRED_AUTOMATION):
        client.delete_automation(automation.id)


def main() -> None:
    settle(os.environ)
    url = get_current_settings().api.url
    if url is None:
        raise ConfigError("PREFECT_API_URL is not set: set it to the server that is to be brought up to date")
    source = os.environ.get(repository.NAME, "")
    repository.check(source)
    login.use(url)
    configured.check(url)
    with get_client(sync_client=True) as client:
        pools(client, os.environ.get("BILP_POOL_TYPE", "process"))
        deployments(source, os.environ.get("BILP_BRANCH"))
        retire(client)
    sys.stdout.write("work pools and deployments are up to date; go on with: bilp worker\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with ending.one_line("python -m deployments.register", "registering"):
        main()
