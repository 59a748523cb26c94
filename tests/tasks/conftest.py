"""Tasks run inside flows, against a private Prefect server."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _prefect(prefect_home: Path) -> None:
    pass
