"""A migrated database for Prefect's server: migrating takes ten seconds, copying a file that was migrated once does not."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

NAME = "prefect.db"


def provide(home: Path, cache: Path) -> None:
    """Put a migrated, empty database into a Prefect home; `cache` keeps one for these versions."""
    versions = "|".join(f"{package} {version(package)}" for package in ("prefect", "sqlalchemy", "alembic"))
    template = cache / f"{hashlib.sha256(versions.encode()).hexdigest()[:12]}.db"
    if not template.exists():
        _migrate(template)
    shutil.copyfile(template, home / NAME)


def another_home(template: Path, folder: Path) -> Path:
    """A second Prefect home with an empty database: a server's there knows nothing of the runs of this session."""
    folder.mkdir(parents=True)
    shutil.copyfile(template / NAME, folder / NAME)
    return folder


def _migrate(template: Path) -> None:
    from flows.local import server

    with tempfile.TemporaryDirectory(dir=template.parent) as folder:
        server.start(os.environ | {"PREFECT_HOME": folder}).stop()
        database = Path(folder) / NAME
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("pragma wal_checkpoint(truncate)")
        database.replace(template)


def drain() -> None:
    """Let Prefect's own threads hand over what they hold while the server is still there."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=5)
    APILogWorker.drain_all(timeout=5)
