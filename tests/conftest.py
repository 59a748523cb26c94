"""What every test can rely on: one thread, the same generated inputs on every run, and places of its own for everything written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bilp.allocator import keep_freed_memory

keep_freed_memory()  # before torch and Prefect are imported, as every program does

# Likewise, and for the programs that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
for _name in [name for name in os.environ if name.startswith(("PREFECT_", "BILP_")) and name != "BILP_SWIFT_PYTHON"]:
    del os.environ[_name]
if not Path("/dev/nvidia0").exists():  # Triton reads it when it is imported, which the first of several rooms does
    os.environ["TRITON_INTERPRET"] = "1"
_home = tempfile.TemporaryDirectory(prefix="bilp-tests-", ignore_cleanup_errors=True)
os.environ.update({"PREFECT_HOME": _home.name, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"})

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from made_once import made_once  # noqa: E402

pytest_plugins = ["fixtures_s3", "tiers"]

# How long inputs take to draw depends on what else the machine does.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing lands in the working directory or in the user's cache."""
    monkeypatch.setenv("BILP_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("BILP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """A Prefect home with a migrated, empty database, to make others of (`prefect_database.another_home`)."""
    import prefect_database

    def migrated(home: Path) -> Path:
        prefect_database.provide(home, pytestconfig.cache.mkdir("prefect"))
        return home

    return made_once(tmp_path_factory, "prefect-template", Path, migrated)


@pytest.fixture(scope="session")
def prefect_home(template: Path) -> Iterator[Path]:
    """Prefect's home for this session, with a migrated database. Flows then start their private server as they do for a user."""
    import prefect_database

    home = Path(_home.name)
    # A program that a test before this one started may have made a database there: its log would be replayed into another.
    for left in home.glob(f"{prefect_database.NAME}*"):
        left.unlink()
    (home / prefect_database.NAME).write_bytes((template / prefect_database.NAME).read_bytes())
    yield home
    prefect_database.drain()
