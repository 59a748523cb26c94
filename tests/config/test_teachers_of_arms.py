"""What the teachers of a pipeline learn: all samples, or those of each arm."""

from __future__ import annotations

from typing import Any

import pytest

from bilp.config import METHODS, PipelineConfig
from bilp.config.arms import samples_of_teachers

ARMS = ["unpruned", "static", "random_pruning"]


def learned(method: str, arms: list[str], **changes: Any) -> list[str]:
    evaluate = {"baselines": [], "labels": "hard", **changes.pop("evaluate", {})}
    given = {"dataset": "digits", "method": method, "ipc": 10, "arms": arms, "beta": 0.0, "evaluate": evaluate, **changes}
    return [chosen.label for chosen in samples_of_teachers(PipelineConfig.model_validate(given))]


def test_one_teacher_of_crops_serves_all_arms_unless_asked_otherwise():
    assert learned("rded", ARMS) == ["all samples"]
    assert learned("rded", ["static"]) == ["all samples"]
    assert learned("rded", ["static"], distill={"teacher_samples": "kept"}) == ["the selection"]


@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if entry.inverts_teacher])
def test_a_teacher_that_is_inverted_learns_what_its_arm_distills(method: str):
    assert learned(method, ARMS) == ["all samples", "the selection", "a random selection (seed 0)"]
    assert learned(method, ["static"]) == ["the selection"]
    assert learned(method, ["static"], distill={"teacher_samples": "all"}) == ["all samples"]


def test_evaluations_ask_a_teacher_of_all_samples_beside_it():
    assert learned("sre2l", ["static"], evaluate={"labels": "soft"}) == ["the selection", "all samples"]
    assert learned("sre2l", ["unpruned", "static"], evaluate={"labels": "soft"}) == ["all samples", "the selection"]
    assert learned("dm", ["static"], evaluate={"labels": "soft"}) == ["all samples"]
    assert learned("dm", ["static"]) == []


def test_a_teacher_from_a_file_is_one_for_all_arms():
    assert learned("sre2l", ARMS, evaluate={"teacher": {"checksum": "0" * 64}}) == ["all samples"]
