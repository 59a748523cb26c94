"""Networks trained beforehand and shared by arms and shards, through Prefect from images to the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_pipeline import NARROW, TINY, files, outcomes, synthetic_sets, units_backwards

from bilp.artifacts.artifact import open_artifact
from bilp.config import PipelineConfig
from bilp.storage.objects import read
from flows.pipeline import pipeline

pytestmark = pytest.mark.slow

CONFIG = PipelineConfig.model_validate(
    {
        **TINY,
        "method": "idc",
        "arms": ["static", "bilp"],
        "prune": {"criterion": "random"},
        "evaluate": {**TINY["evaluate"], "epochs": 1, "baselines": []},
        "distill": {
            "iterations": 2,
            "rounds": 1,
            "shards": 2,
            "outer_loops": 2,
            "batch_real": 16,
            "network": NARROW,
            "idc": {"train_samples": 32, "pretrained": {"networks": 2, "epochs": 1}},
        },
    }
)


def networks(labels: Sequence[str]) -> list[str]:
    return [label for label in labels if label.startswith("pretrained network")]


def test_arms_on_the_same_samples_share_networks_here_and_on_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = str(tmp_path / "here"), str(tmp_path / "elsewhere")
    with outcomes() as first:
        page = pipeline(CONFIG, here)
    trained = [f"pretrained network {k} of static" for k in range(2)]
    assert networks(list(first)) == trained, "both shards and the other arm on the selection are initialized from the same ones"
    assert len(list(Path(here).glob("pretrained/*/*/*/_manifest.json"))) == 2
    parents = open_artifact(page.rpartition("/")[0], "report").parents
    assert len([role for role in parents if role.startswith("pretrained network")]) == 2
    assert b"Network trained beforehand on the selection" in read(page)

    carried = units_backwards(monkeypatch)
    with outcomes() as second:
        pipeline(CONFIG, elsewhere)
    expected = ["pretrained network 1 of static", "pretrained network 0 of static"]
    assert networks(carried) == networks(list(second)) == expected
    assert carried.index(expected[-1]) < min(place for place, label in enumerate(carried) if "shard" in label)
    assert synthetic_sets(elsewhere) == synthetic_sets(here)
    names = {path.relative_to(here) for path in Path(here).glob("pretrained/*/*/*/network.safetensors")}
    assert all(Path(elsewhere, name).read_bytes() == Path(here, name).read_bytes() for name in names)

    before, count = files(elsewhere), len(carried)
    pipeline(CONFIG, elsewhere)
    assert files(elsewhere) == before
    assert networks(carried[count:]) == []
