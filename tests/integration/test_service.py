"""The flows as a service: cancellation, two pipelines at once, schedules, whose files are whose, and how a command finds its login."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.schedules import IntervalSchedule

from bilp.report.headline import headline
from deployments.state_folder import REPOSITORY
from drill.rehearsal import SMALL, Service, finished_artifacts, until

pytestmark = [pytest.mark.service, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


def shows_its_result(service: Service, pipeline: UUID) -> None:
    """One artifact of each kind, also of a run that was continued; the report that it links to is what is stored, for who is signed in."""
    with service.client() as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[pipeline]))
        own = [artifact for artifact in client.read_artifacts(artifact_filter=mine) if artifact.task_run_id is None]
    shown = {str(artifact.key): artifact for artifact in own}
    assert sorted(str(artifact.key) for artifact in own) == ["plan", "progress", "result"]
    assert shown["progress"].data == 100.0
    (page,) = Path(service.storage).glob("reports/*/report.html")
    text = str(shown["result"].data)
    for row in headline(str(page)).rows:
        assert f"| {row.words.title} |" in text and row.shown in text
    link = re.findall(r"\]\((/reports/[0-9a-f]{16}/)\)", text)
    assert link == [f"/reports/{page.parent.name}/"]
    server = service.environment["PREFECT_API_URL"].removesuffix("/api")
    user, _, password = service.environment["PREFECT_API_AUTH_STRING"].partition(":")
    assert httpx.get(f"{server}{link[0]}", timeout=60).status_code == 401
    opened = httpx.get(f"{server}{link[0]}", auth=(user, password), follow_redirects=True, timeout=60)
    assert (opened.status_code, opened.content) == (200, page.read_bytes())


def tells_what_it_did(service: Service, pipeline: UUID) -> None:
    """A line for each stage in the log of the run."""
    with service.client() as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[pipeline])), limit=200)
    text = "\n".join(log.message for log in logs)
    for line in ("kept 1,151 of 1,438 (keep 0.8, loss_init)", "distilled bilp in ", "BiLP: ", "report: "):
        assert line in text, text


def test_a_cancelled_run_stops_and_goes_on_beside_another(service: Service, undisturbed: dict[str, bytes]) -> None:
    root = service.storage  # of which the server shows reports, and which no other test uses
    pipeline = service.submit("pipeline/digits", {"config": SMALL}, name="my-first-run")
    until(lambda: list(Path(root).glob("runs/*/rounds/0002/_manifest.json")), service.logs)
    service.cancel(pipeline)
    assert service.ended(pipeline).state_name == "Cancelled"
    for run in service.runs("distill")[-2:]:
        assert service.ended(run.id).state_name in ("Cancelled", "Completed")
        assert until(lambda run=run: not service.process_of(run.id))
    rounds = finished_artifacts(root)
    assert rounds.items() <= undisturbed.items()
    written = {path: path.read_bytes() for path in Path(root).glob("runs/*/rounds/*/_manifest.json")}  # with times
    before = {run.id for run in service.runs()}

    service.go_on(pipeline)
    pair = [pipeline, service.submit("pipeline/digits", {"config": SMALL})]
    assert [service.ended(run).state_name for run in pair] == ["Completed", "Completed"], service.logs()
    assert finished_artifacts(root) == undisturbed
    assert {path: path.read_bytes() for path in written} == written, "finished rounds were not computed again"
    units = [run for run in service.runs() if run.id not in before and run.deployment_id and run.id not in pair]
    assert sorted(run.name for run in units) == sorted({run.name for run in units}), "the two share the runs of units"
    assert {run.work_pool_name for run in units} == {"gpu"}
    assert {service.run(run).work_pool_name for run in pair} == {"cpu"}
    assert service.run(pipeline).name == "my-first-run" and service.run(pair[1]).name.startswith("digits dm ipc 1 score.trials=2")
    shows_its_result(service, pipeline)
    tells_what_it_did(service, pipeline)
    claims = list((Path(root) / "leases").rglob("*.json"))
    assert {path.name for path in claims if "runs" not in path.parts} == {"000001.json"}
    assert len({path.parent for path in claims}) == 7, "2 trials, 2 runs, 3 evaluations"
    assert len(claims) <= 9, "the two runs went on once"


def test_a_schedule_fires(service: Service, tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    with service.client() as client:
        deployment = client.read_deployment_by_name("ingest/ingest")
        every = DeploymentScheduleCreate(
            schedule=IntervalSchedule(interval=timedelta(seconds=20)), parameters={"config": {"source": "digits"}, "root": root}
        )
        (schedule,) = client.create_deployment_schedules(deployment.id, [every])
    try:
        fired = until(lambda: [run for run in service.runs() if run.auto_scheduled and run.state_name == "Completed"], service.logs)
        assert fired[0].deployment_id == deployment.id
        assert (Path(root) / "datasets" / "digits").is_dir()
    finally:
        with service.client() as client:
            client.delete_deployment_schedule(deployment.id, schedule.id)


def modes(folder: Path) -> set[tuple[bool, int]]:
    """Whether a folder, and permissions, of everything below and of the folder itself."""
    found = [path.stat(follow_symlinks=False).st_mode for path in (folder, *folder.rglob("*"))]
    return {(stat.S_ISDIR(mode), stat.S_IMODE(mode)) for mode in found}


def test_a_service_writes_for_its_user_alone_and_its_runs_as_their_worker_was_told(service: Service, tmp_path: Path) -> None:
    umask = os.umask(0o022)
    os.umask(umask)
    store = tmp_path / "store"
    run = service.submit("ingest/ingest", {"config": {"source": "digits"}, "root": str(store)})
    assert service.ended(run).state_name == "Completed", service.logs()
    assert modes(Path(service.environment["PREFECT_HOME"])) <= {(True, 0o700), (False, 0o600)}
    assert modes(store) == {(True, 0o777 & ~umask), (False, 0o666 & ~umask)}


def test_a_command_on_this_machine_finds_the_login_in_the_folder_of_the_server(service: Service, tmp_path: Path) -> None:
    """And one that knows another folder is told what to do; nobody sends the login to another address."""
    command = [sys.executable, "-m", "flows.ingest", "--dataset", "digits"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API_AUTH")}
    kept |= {"PREFECT_API_URL": service.environment["PREFECT_API_URL"], "BILP_STORAGE": str(tmp_path / "store")}
    known = kept | {"PREFECT_HOME": service.environment["PREFECT_HOME"]}
    before = len(service.runs())
    done = subprocess.run(command, cwd=REPOSITORY, env=known, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(service.runs()) == before + 1
    unknown = kept | {"PREFECT_HOME": str(tmp_path / "elsewhere")}
    refused = subprocess.run(command, cwd=REPOSITORY, env=unknown, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "does not let this client in: set PREFECT_API_AUTH_STRING" in line and "the file login in its folder" in line
