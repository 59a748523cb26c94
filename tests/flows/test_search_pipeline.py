"""A pipeline that finds its share first: by tasks of this process and by units of workers, once, and shown on its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_pipeline import TINY, files, outcomes, units_backwards

from bilp.artifacts.artifact import open_artifact
from bilp.config import PipelineConfig
from bilp.search.found import open_search
from bilp.storage.objects import read
from flows import prune
from flows.pipeline import pipeline
from flows.planned import planned_steps

SEARCH: dict[str, Any] = {
    **TINY,
    "keep": "search",
    "arms": ["unpruned", "static"],
    "search": {"keep": [1.0, 0.6, 0.4], "distillations": 2, "trainings": 2},
}


@pytest.mark.slow
def test_the_share_is_found_once_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, config = str(tmp_path / "here"), PipelineConfig.model_validate(SEARCH)
    with outcomes() as first:
        page = pipeline(config, root)
    report = open_artifact(page.rpartition("/")[0], "report")
    found = open_search(report.parents["search"])
    share = found.facts.found["keep"]
    assert report.manifest.config["prune"]["keep"] == share
    assert found.facts.seconds > 0
    html = read(page).decode()
    assert "How the share was found" in html
    assert found.origin in html
    assert first["search"] == "done" or first["search"] == "there already"
    before = files(root)
    with outcomes() as second:
        assert pipeline(config, root) == page
    assert files(root) == before
    assert {label for label, outcome in second.items() if outcome == "done"} == set()
    with monkeypatch.context() as patch:
        patch.setenv("BILP_STORAGE", root)
        assert prune.command(config) == report.parents["selection"], "the command alone finds the share, too"
    assert files(root) == before
    carried = units_backwards(monkeypatch)
    elsewhere = pipeline(config, str(tmp_path / "workers"))
    assert sum(label.startswith("distill keep") for label in carried) == 2 * (3 + len([row for row in found.rows if row["rung"] == 2]))
    again = open_search(open_artifact(elsewhere.rpartition("/")[0], "report").parents["search"])
    assert again.artifact.read("candidates.parquet") == found.artifact.read("candidates.parquet")


def test_the_steps_of_a_search_are_planned_as_its_own_stage() -> None:
    stages = [step.stage for step in planned_steps(PipelineConfig.model_validate(SEARCH))]
    assert list(dict.fromkeys(stages)) == ["ingest", "search", "score", "prune", "distill", "evaluate", "suspects", "report"]
    assert "search" not in [step.stage for step in planned_steps(PipelineConfig.model_validate(TINY))]
