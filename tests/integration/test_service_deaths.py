"""Runs, workers, a machine and the server die while a pipeline is at work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bilp.allocator import ENVIRONMENT
from drill.rehearsal import SMALL, Service, finished_artifacts, kill, until

pytestmark = [pytest.mark.service, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


def at_work(service: Service, name: str, root: str) -> list[int]:
    """Processes of a run of this name that has claimed its lease: from then on its silence is noticed within a term."""
    run = service.running(name)
    until(lambda: [claim for claim in (Path(root) / "leases").rglob("*.json") if str(run.id) in claim.read_text()], service.logs)
    return service.process_of(run.id)


def test_it_goes_on_whatever_dies(service: Service, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """A run is killed while it scores, a whole machine (worker and run) while it scores and another while it distills, and the server
    before it has noticed the last."""
    root = str(tmp_path / "store")
    pipeline = service.submit("pipeline/digits", {"config": SMALL, "root": root})
    first = at_work(service, "score trial 0", root)
    assert first, "the run ended before it could be killed"
    assert set(first) <= set(service.processes(**ENVIRONMENT)), "freed memory is settled when a run's process starts"
    kill(first)
    second = at_work(service, "score trial 1", root)
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
    began = str(service.run(pipeline).created)  # other tests had runs of these names here
    for unit_that_died in ("score trial 0", "score trial 1", "distill bilp"):
        *before, last = [run.state_name for run in service.runs(unit_that_died) if str(run.created) > began]
        assert (set(before), last) == ({"Crashed"}, "Completed")
    assert (Path(root) / "leases").is_dir()
