"""Who can write to the place where Prefect keeps results can have code run there, if results are read. Ours are never read.

A persisted result names its own serializer, so that a tampered record is unpickled whatever serializer the reader was told to use.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import task
from prefect.cache_policies import INPUTS
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings

from flows.local import server
from flows.local.flow import flow
from tasks.task import stage

# A pickle that empties a file (os.truncate) and then stands for the string "tampered".
PICKLE = b"cos\ntruncate\n(V%s\nI0\ntR0Vtampered\n."


def tamper(record: Path, victim: Path) -> None:
    """Make a record's result a pickle that empties the victim when it is loaded."""
    content = json.loads(record.read_bytes())
    content["metadata"]["serializer"] = {"type": "pickle"}
    content["result"] = base64.encodebytes(PICKLE % str(victim).encode()).decode()
    record.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Path]:
    """The place that Prefect is told to keep the results of all flows and tasks in, as somebody's environment may tell it."""
    folder = tmp_path / "results"
    with server.reachable(), temporary_settings({PREFECT_LOCAL_STORAGE_PATH: folder, PREFECT_RESULTS_PERSIST_BY_DEFAULT: True}):
        yield folder


def test_a_tampered_record_is_loaded_where_results_are_kept_and_not_here(results: Path, tmp_path: Path) -> None:
    computed: list[str] = []

    def work(thing: str) -> str:
        computed.append(thing)
        return f"somewhere/{thing}"

    keeping = task(work, persist_result=True, cache_policy=INPUTS, result_serializer="json")
    ours = stage("make {thing}")(work)

    def through(made: Any) -> str:
        @flow(name="test")
        def run() -> str:
            return str(made("hats"))

        return run()

    assert through(keeping) == "somewhere/hats"
    records = [path for path in results.rglob("*") if path.is_file()]
    assert records, "the control keeps its result"
    victim = tmp_path / "victim"
    victim.write_text("intact")
    for record in records:
        tamper(record, victim)
    assert through(keeping) == "tampered"
    assert victim.read_text() == "", "this is what the attack looks like where results are read"
    victim.write_text("intact")
    computed.clear()

    assert through(ours) == "somewhere/hats"
    assert computed == ["hats"]
    assert victim.read_text() == "intact"
