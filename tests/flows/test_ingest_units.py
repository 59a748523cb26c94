"""Where units are carried out elsewhere, a large source is: each of its parts is a unit of work, and what is published is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_pipeline import outcomes

from bilp.config import IngestConfig
from bilp.data import ingest_plan, open_dataset, read_source
from bilp.data.ingestion import plan_source
from bilp.data.shards import HEADER_BYTES
from bilp.data.source_record import open_record
from flows.ingest import ingest_with_record
from flows.units.execute import EXECUTORS, in_this_process

pytestmark = pytest.mark.slow


def test_the_parts_of_a_large_source_are_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_EXECUTION", "workers")
    monkeypatch.setitem(EXECUTORS, "workers", in_this_process)
    whole = open_dataset(open_record(read_source(IngestConfig(), tmp_path / "whole")).dataset_uri)
    monkeypatch.setattr(ingest_plan, "PART_BYTES", HEADER_BYTES + 600 * 64)
    root = str(tmp_path / "units")
    with outcomes() as told:
        dataset_uri, _ = ingest_with_record(IngestConfig(), root)
    assert open_dataset(dataset_uri).fingerprint == whole.fingerprint
    parts = sorted((tmp_path / "units/datasets/digits/parts").glob("*/*/_manifest.json"))
    assert [json.loads(part.read_bytes())["facts"]["items"] for part in parts] == [600, 600, 597]
    assert [name for name in told if "part" in name] == [f"ingest part {number}" for number in range(3)]
    assert plan_source(IngestConfig(), root) is None, "what is known is planned no more"
