"""A small storage, made once and copied for each test, on disk and on S3."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_store import Store, make_store, put

from bilp.storage import objects


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small-store") / "store"
    make_store(str(folder))
    return folder


@pytest.fixture
def local_store(_template: Path, tmp_path: Path) -> Store:
    """On disk."""
    shutil.copytree(_template, tmp_path / "store")
    return Store(str(tmp_path / "store"))


@pytest.fixture(params=["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow])])
def store(request: pytest.FixtureRequest, _template: Path) -> Store:
    """On each kind of storage."""
    if request.param == "local":
        local: Store = request.getfixturevalue("local_store")
        return local
    root: str = request.getfixturevalue("s3_root")
    put({name: (_template / name).read_bytes() for name in objects.listing(str(_template))}, root)
    return Store(root)
