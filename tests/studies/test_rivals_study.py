"""The study of rivals at a tiny scale: every arm is carried out, keeps what its rule says, and stands in the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bilp.api import studied
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SelectionFacts
from bilp.config.nested import merge
from bilp.storage.objects import children
from bilp.studies.definition import load_study

NARROW = {"width": 4, "depth": 1}
TINY: dict[str, Any] = {
    "settings": {
        "score": {"trials": 1, "epochs": 3, "init_epochs": 3, "converge_epochs": 1, "network": NARROW},
        "reselect": {"candidates_per_class": 6},
        "distill": {"iterations": 2, "rounds": 1, "batch_real": 8, "network": NARROW},
        "evaluate": {"epochs": 2, "full_epochs": 1, "networks": [NARROW]},
    },
    "seeds": 1,
}


@pytest.mark.slow
def test_every_rival_is_carried_out(tmp_path: Path) -> None:
    study, _ = load_study("rivals")
    found = studied.study(merge(study.model_dump(exclude_unset=True), TINY), root=str(tmp_path))
    assert set(found.rows["arm"]) == set(study.arms) and set(found.rows["cell"]) == {"right labels", "40 % wrong labels"}
    distilled = found.table[~found.table["arm"].isin(["full", "random"])]
    assert distilled["label_robust_score"].between(0, 100).all() and len(distilled) == 2 * (len(study.arms) - 2)
    made = [open_artifact(f"{tmp_path}/selections/{key}", "selection").stated(SelectionFacts) for key in children(f"{tmp_path}/selections")]
    for rule, keep in (("strata", 0.1), ("graph", 0.1)):
        shares = [each.kept / each.total for each in made if each.rule == rule]
        assert len(shares) == 2 and shares == pytest.approx([keep, keep], abs=0.005)
    moderate = [each for each in made if each.criterion == "center_distance"]
    assert [each.drop for each in moderate] == ["both", "both"] and all(abs(each.kept / each.total - 0.2) < 0.005 for each in moderate)
    assert all(each.mixture is not None for each in made if each.rule == "low_component")
