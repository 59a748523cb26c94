"""A distillation divided among workers, through Prefect from images to the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pipeline import TINY, files, outcomes, synthetic_sets, units_backwards

from bilp.config import PipelineConfig
from bilp.storage.objects import read
from flows.pipeline import pipeline

pytestmark = pytest.mark.slow

DIVIDED = PipelineConfig.model_validate(TINY | {"arms": ["bilp"], "distill": {**TINY["distill"], "rounds": 2, "shards": 2}})


def test_in_one_process_and_as_units_in_any_order_it_leaves_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = str(tmp_path / "here"), str(tmp_path / "elsewhere")
    with outcomes() as first:
        page = pipeline(DIVIDED, here)
    rounds = [
        f"{stage} bilp shard {shard}/2 round {number}/2" for shard in (1, 2) for number in (1, 2) for stage in ("reselect", "distill")
    ]
    expected = ["register bilp", *rounds, "merge bilp round 1/2", "merge bilp round 2/2", "finish bilp"]
    assert [label for label in first if "bilp" in label][: len(expected)] == expected
    assert read(page).startswith(b"<!DOCTYPE html>")
    assert b"distill.shards" in read(page)

    carried = units_backwards(monkeypatch)
    pipeline(DIVIDED, elsewhere)
    assert [label for label in carried if label.startswith("distill")] == ["distill bilp shard 2/2", "distill bilp shard 1/2"]
    assert synthetic_sets(elsewhere) == synthetic_sets(here)
    for pattern in ("runs/*/rounds/*/*.safetensors", "runs/*/rounds/*/reselect/*.parquet", "runs/*/shards/*/rounds/*/*.parquet"):
        names = {path.relative_to(here) for path in Path(here).glob(pattern)}
        assert names
        assert all(Path(elsewhere, name).read_bytes() == Path(here, name).read_bytes() for name in names)

    before, count = files(elsewhere), len(carried)
    assert pipeline(DIVIDED, elsewhere).startswith(elsewhere)
    assert files(elsewhere) == before
    assert not [label for label in carried[count:] if "shard" in label], "a merged run needs no shard"
