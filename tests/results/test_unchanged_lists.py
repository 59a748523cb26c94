"""A pipeline has something to do again when a file of labels has changed, also one that lies among its images."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bilp.config import PipelineConfig
from bilp.results.unchanged import Finished, finished, question, remembering
from bilp.storage import objects


@pytest.mark.parametrize("inside", [True, False])
def test_a_list_that_has_changed_is_noticed_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool) -> None:
    monkeypatch.setenv("BILP_CACHE", str(tmp_path / "cache"))
    tables, root = tmp_path / "tables", str(tmp_path / "store")
    tables.mkdir()
    pq.write_table(pa.table({"image": [b"x"], "label": [0]}), tables / "train.parquet")
    corrections = (tables if inside else tmp_path) / "corrections.csv"
    corrections.write_text("one")
    objects.write(f"{root}/reports/x", b"")
    settings = {"dataset": "parquet", "ingest": {"uri": str(tables), "corrections": str(corrections)}}
    config = PipelineConfig.model_validate(settings)
    asked = question(config, root, {})
    with remembering(asked, config) as ended:
        for place in (f"{root}/reports/x", str(tables / "train.parquet"), str(corrections)):
            objects.read(place)
        ended.append(Finished(f"{root}/reports/x", (), {}))
    assert finished(question(config, root, {})) is not None
    corrections.write_text("two")
    assert finished(question(config, root, {})) is None
