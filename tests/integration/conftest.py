"""One service that the tests of this room share, and one undisturbed run to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_once import made_once
from prefect_database import another_home

from drill.rehearsal import SMALL, Service, finished_artifacts

ROOM = Path(__file__).parent
_started: list[Service] = []


@pytest.fixture(autouse=True)
def _prefect(prefect_home: Path) -> None:
    pass


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> dict[str, bytes]:
    """What the same pipeline leaves that nobody disturbed, in this process, without workers."""
    from bilp.config import PipelineConfig
    from flows.pipeline import pipeline

    def run(folder: Path) -> Path:
        pipeline(PipelineConfig.model_validate(SMALL), str(folder))
        return folder

    return finished_artifacts(str(made_once(tmp_path_factory, "undisturbed", Path, run)))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    another_home(template, folder / "home")
    # Schedules are looked at every minute otherwise.
    service = Service(folder, str(folder / "store"), PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="5")
    _started.append(service)
    service.start_server()
    service.start_workers()
    yield service


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The service ends with the last test of this room: waiting, it would take a third of a core from all tests after it."""
    if nextitem is None or ROOM not in nextitem.path.parents:
        while _started:
            _started.pop().stop()
