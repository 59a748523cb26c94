"""Every method that brings a loop of its own, through Prefect from images to the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tiny_pipeline import NARROW, TINY, files, outcomes

from bilp.artifacts.artifact import open_artifact
from bilp.config import PipelineConfig
from bilp.errors import ConfigError
from bilp.storage.objects import read
from flows.experts import command
from flows.pipeline import pipeline

pytestmark = pytest.mark.slow

TRAJECTORY = {"steps": 2, "expert_epochs": 1, "max_start": 1}
EXPERTS = {"count": 2, "epochs": 2, "batch_size": 128}
ALIGNMENT = {"watched": 2, "most_steps": 2, "most_epochs": 2, "measured_per_class": 4}


def tiny(method: str, **changes: Any) -> PipelineConfig:
    own = {"experts": EXPERTS} if method != "cafe" else {}
    distill = {**TINY["distill"], "iterations": 2, "rounds": 1, "trajectory": TRAJECTORY, "alignment": ALIGNMENT}
    return PipelineConfig.model_validate({**TINY, **own, "method": method, "distill": distill, **changes})


def test_trajectory_matching_trains_experts_on_what_each_arm_distills(tmp_path: Path) -> None:
    root, config = str(tmp_path / "store"), tiny("mtt")
    with outcomes() as first:
        uri = pipeline(config, root)
    expected = [f"expert {k} of {who}" for who in ("all samples", "the selection") for k in range(2)]
    assert [label for label in first if label.startswith("expert")] == expected
    assert not [label for label in first if label.startswith("reselect")]
    assert set(first.values()) == {"done"}
    shown = open_artifact(uri.rpartition("/")[0], "report").parents
    buffers = [open_artifact(shown[f"experts {k}"], "expert_buffer") for k in range(2)]
    selection = open_artifact(shown["selection"], "selection").manifest.key
    assert [buffer.fact("selection") for buffer in buffers] == [None, selection]
    page = read(uri).decode()
    assert "Adaptive pruning does not apply to method" in page
    assert "both prunings" not in page
    assert "2 experts of the selection" in page
    before = files(root)
    with outcomes() as second:
        assert pipeline(config, root) == uri
    assert set(second.values()) == {"there already"}
    assert files(root) == before


def test_pad_scores_before_experts_and_shows_the_labels_that_it_learned(tmp_path: Path) -> None:
    scoring = {"trials": 1, "epochs": 2, "init_epochs": 1, "early_to": 1, "network": NARROW, "gradient_norm": "last_layer"}
    curriculum = {"full_from": 1, "dropped": [], "dropped_from": [], "score": scoring}
    distill = {**TINY["distill"], "iterations": 2, "rounds": 1, "trajectory": TRAJECTORY, "difficulty": {"early_max_start": 0}}
    config = tiny("pad", arms=["unpruned"], experts={**EXPERTS, "curriculum": curriculum}, distill=distill)
    with outcomes() as ran:
        uri = pipeline(config, str(tmp_path / "store"))
    scored, trained = ([place for place, label in enumerate(ran) if word in label] for word in ("trial", "expert 0"))
    assert scored and trained
    assert max(scored) < min(trained)
    page = read(uri).decode()
    assert "What their labels say" in page
    assert "The soft labels that were learned with the images of each class, on average." in page


def test_constant_memory_distills_from_the_same_experts(tmp_path: Path) -> None:
    with outcomes() as ran:
        uri = pipeline(tiny("tesla", arms=["static"], prune={"criterion": "random"}), str(tmp_path / "store"))
    assert [label for label in ran if label.startswith("expert")] == ["expert 0 of the selection", "expert 1 of the selection"]
    page = read(uri).decode()
    assert "trajectory matching in constant memory (TESLA)" in page
    assert "does not apply" not in page, "no arm asks for the adaptive level"


def test_feature_alignment_prunes_on_both_levels(tmp_path: Path) -> None:
    with outcomes() as ran:
        uri = pipeline(tiny("cafe"), str(tmp_path / "store"))
    assert "reselect bilp round 1/1" in ran
    assert not [label for label in ran if label.startswith("expert")]
    page = read(uri).decode()
    assert "feature alignment (CAFE)" in page
    assert "does not apply" not in page


def test_patches_ask_one_teacher_whatever_is_pruned(tmp_path: Path) -> None:
    root, teacher = str(tmp_path / "store"), {"network": NARROW, "epochs": 1}
    config = tiny("rded", arms=["unpruned", "static"], evaluate={**TINY["evaluate"], "teacher": teacher}, prune={"criterion": "random"})
    with outcomes() as ran:
        uri = pipeline(config, root)
    assert [label for label in ran if "teacher" in label] == ["train teacher"]
    assert list(ran).index("train teacher") < list(ran).index("distill unpruned round 1/1")
    shown = open_artifact(uri.rpartition("/")[0], "report").parents
    asked = {open_artifact(place, "synthetic").parents["teacher"] for role, place in shown.items() if role.startswith("synthetic")}
    assert asked == {shown["teacher 0"]}
    page = read(uri).decode()
    assert "Teacher of all real images" in page
    assert "realistic and diverse patches (RDED)" in page
    assert "What they are made of (Static pruning)" in page
    assert "Cross-entropy that the teacher gives to the tiles" in page
    assert "matching loss" not in page.lower()
    assert re.search(r"real sample \d+, [^\"]*, \d x \d pixels from row \d, column \d", page)
    before = files(root)
    with outcomes() as second:
        assert pipeline(config, root) == uri
    assert set(second.values()) == {"there already"}
    assert files(root) == before


def test_a_teacher_that_is_inverted_learns_what_each_arm_distills(tmp_path: Path) -> None:
    root, teacher = str(tmp_path / "store"), {"network": {**NARROW, "norm": "batch"}, "epochs": 1}
    evaluate = {**TINY["evaluate"], "teacher": teacher}
    config = tiny("cda", arms=["unpruned", "static"], evaluate=evaluate, prune={"criterion": "random"})
    with outcomes() as ran:
        uri = pipeline(config, root)
    assert [label for label in ran if "teacher" in label] == ["train teacher", "train teacher of the selection"]
    shown = open_artifact(uri.rpartition("/")[0], "report").parents
    asked = {open_artifact(place, "synthetic").parents["teacher"] for role, place in shown.items() if role.startswith("synthetic")}
    assert asked == {shown["teacher 0"], shown["teacher 1"]}
    selection = open_artifact(shown["selection"], "selection").manifest.key
    assert {open_artifact(each, "teacher").manifest.facts.get("selection") for each in asked} == {None, selection}
    page = read(uri).decode()
    assert "Teacher of all real images" in page
    assert "Teacher of the selection" in page
    with outcomes() as again:
        assert pipeline(config, root) == uri
    assert set(again.values()) == {"there already"}


def test_experts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_STORAGE", str(tmp_path / "store"))
    with outcomes() as ran:
        buffers = command(tiny("mtt", arms=["static"]))
    assert [chosen.entry.static for chosen in buffers] == [True]
    assert list(ran)[-3:] == ["expert 0 of the selection", "expert 1 of the selection", "collect 2 experts of the selection"]
    with pytest.raises(ConfigError, match="method dm imitates no experts"):
        command(PipelineConfig.model_validate(TINY))
