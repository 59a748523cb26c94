"""The flows as a service: schedules, workers that die, cancellation, two pipelines at once, a server with a password."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import IntervalSchedule

from bilp.allocator import ENVIRONMENT
from drill.rehearsal import SMALL, Service, finished_artifacts, kill, until

pytestmark = [pytest.mark.service, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


def test_it_goes_on_whatever_dies(service: Service, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """A run is killed while it scores, a whole machine (worker and run) while it scores and another while it distills, and the server
    before it has noticed the last."""
    root = str(tmp_path / "store")
    pipeline = service.submit("pipeline/digits", {"config": SMALL, "root": root})
    first = service.process_of(service.running("score trial 0").id)
    assert first, "the run ended before it could be killed"
    assert set(first) <= set(service.processes(**ENVIRONMENT)), "freed memory is settled when a run's process starts"
    kill(first)
    second = service.process_of(service.running("score trial 1").id)
    assert second, "the run ended before it could be killed"
    kill([*service.workers_of(second), *second])

    unit = service.running("distill bilp")
    until(lambda: list(Path(root).glob("runs/*/rounds/*/reselect/_manifest.json")))
    machine = service.process_of(unit.id)
    assert machine, "the run ended before it could be killed"
    kill([*service.workers_of(machine), *machine])
    service.kill_server()
    service.start_server()

    ended = service.ended(pipeline)
    assert ended.state_name == "Completed", service.logs()
    assert finished_artifacts(root) == undisturbed
    for unit_that_died in ("score trial 0", "score trial 1", "distill bilp"):
        *before, last = [run.state_name for run in service.runs(unit_that_died)]
        assert (set(before), last) == ({"Crashed"}, "Completed")
    assert (Path(root) / "leases").is_dir()


def test_a_cancelled_run_stops_and_two_at_once_go_on(service: Service, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    pipeline = service.submit("pipeline/digits", {"config": SMALL, "root": root})
    until(lambda: list(Path(root).glob("runs/*/rounds/0002/_manifest.json")), service.logs)
    service.cancel(pipeline)
    assert service.ended(pipeline).state_name == "Cancelled"
    for run in service.runs("distill")[-2:]:
        assert service.ended(run.id).state_name in ("Cancelled", "Completed")
        assert until(lambda run=run: not service.process_of(run.id))
    rounds = finished_artifacts(root)
    assert rounds.items() <= undisturbed.items()
    written = {path: path.stat().st_mtime_ns for path in Path(root).glob("runs/*/rounds/*/_manifest.json")}
    before = {run.id for run in service.runs()}

    pair = [service.submit("pipeline/digits", {"config": SMALL, "root": root}) for _ in range(2)]
    assert [service.ended(run).state_name for run in pair] == ["Completed", "Completed"], service.logs()
    assert finished_artifacts(root) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in written} == written, "finished rounds were not computed again"
    units = [run for run in service.runs() if run.id not in before and run.deployment_id and run.id not in pair]
    assert sorted(run.name for run in units) == sorted({run.name for run in units}), "the two share the runs of units"
    assert {run.work_pool_name for run in units} == {"gpu"}
    assert {service.run(run).work_pool_name for run in pair} == {"cpu"}
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
