"""What a block of a study depends on, and which end of a ranking counts as suspicious."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from study_parts import plan_of

from bilp.config.reselect import RESELECT_SCORES
from bilp.errors import ConfigError
from bilp.studies.detection import suspicion_of_effects
from bilp.studies.study_progress import Progress
from bilp.truth.metrics import auroc


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("labels.csv", {"ingest": {"label_noise": {"kind": "file", "file": "{}"}}}),
        ("corrections.csv", {"ingest": {"corrections": "{}"}}),
        ("scores.json", {"prune": {"criterion": "external", "score_list": "{}"}}),
    ],
)
def test_a_block_is_another_one_when_a_file_that_its_settings_name_has_changed(
    tmp_path: Path, name: str, settings: dict[str, object]
) -> None:
    file = tmp_path / name
    plan = plan_of(arms={"static": json.loads(json.dumps(settings).replace("{}", str(file)))}, grid={}, seeds=1)

    def question() -> str:
        return Progress(plan, str(tmp_path)).question(plan.blocks[0])

    file.write_text("1")
    first = question()
    assert question() == first
    file.write_text("2")
    assert question() != first


def test_a_block_is_another_one_when_its_atlas_has_other_entries(tmp_path: Path) -> None:
    plan = plan_of(arms={"static": {"prune": {"criterion": "loss_init", "scores": str(tmp_path / "atlas")}}}, grid={}, seeds=1)
    asked = []
    for name in ("a" * 32, "b" * 32):
        place = tmp_path / "atlas" / "entries" / name / "entry.json"
        place.parent.mkdir(parents=True)
        place.write_text("{}")
        asked.append(Progress(plan, str(tmp_path)).question(plan.blocks[0]))
    assert asked[0] != asked[1]


@pytest.mark.parametrize("score", list(RESELECT_SCORES))
def test_effects_that_do_harm_are_suspicious(score: str) -> None:
    wrong = np.array([False, False, False, True, True])
    harm_last = np.array([[0.1, 0.3, np.nan, 0.7, 0.9], [0.2, np.nan, np.nan, 0.8, 1.0]])
    places = 1 - harm_last if RESELECT_SCORES[score].signed else harm_last
    found = suspicion_of_effects(score, list(places))
    assert np.isnan(found).tolist() == [False, False, True, False, False]
    assert auroc(found[~np.isnan(found)], wrong[~np.isnan(found)]) == 1.0


@pytest.mark.parametrize(
    "grid", [{"keep": [0.5, 0.7, 0.5]}, {"one": {"a": {}, "b": {}}, "other": {"a": {}, "b": {"ipc": 2}}, "keep": [0.5, 0.5]}]
)
def test_no_two_cells_have_one_name(grid: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="two cells that are called"):
        plan_of(grid=grid)
