"""What several tests read and what takes seconds to make is made once in a test session, whichever of its processes comes first.

The others wait for it and take a copy, which is theirs: no test of one process sees what a test of another does to its copy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock
from pydantic import TypeAdapter

T = TypeVar("T")


def made_once(factory: pytest.TempPathFactory, name: str, kind: type[T], make: Callable[[Path], T]) -> T:
    """What `make` returns for an empty folder, in which it leaves files; it runs in one process of the session only.

    No other fixture has this name. What is returned, of type `kind`, may hold paths and URIs below the folder: in a copy they lead there.
    """
    own = factory.mktemp(name, numbered=False)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return make(own)
    return _taken(factory.getbasetemp().parent / name, own, TypeAdapter(kind), make)


def _taken(shared: Path, own: Path, form: TypeAdapter[T], make: Callable[[Path], T]) -> T:
    record = shared.with_name(f"{shared.name}.json")
    with FileLock(f"{record}.lock"):
        if not record.exists():
            shutil.rmtree(shared, ignore_errors=True)  # of a process that failed
            shared.mkdir()
            record.write_bytes(form.dump_json(make(shared)))
    shutil.copytree(shared, own, dirs_exist_ok=True, symlinks=True)
    return form.validate_json(record.read_text(encoding="utf-8").replace(str(shared), str(own)))
