"""The functions of Python and the flows publish the same artifacts under the same keys, and each finds what the other published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bilp
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import RECORD
from bilp.config import PipelineConfig

pytestmark = pytest.mark.slow

NARROW = {"width": 4, "depth": 1}
SHORT: dict[str, Any] = {
    "dataset": "digits",
    "score": {"trials": 1, "epochs": 1, "init_epochs": 1, "network": NARROW},
    "reselect": {"candidates_per_class": 12},
    "distill": {"iterations": 2, "rounds": 2, "batch_real": 16, "network": NARROW},
    "evaluate": {"seeds": 2, "epochs": 1, "full_epochs": 1, "networks": [NARROW], "teacher": {"network": NARROW, "epochs": 1}},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "adaptive pruning and two experiments": {"method": "dm", "experiments": 2, "arms": ["unpruned", "static", "adaptive", "bilp"]},
    "mistakes of the set": {
        "method": "dm",
        "arms": ["unpruned", "adaptive"],
        "reselect": {**SHORT["reselect"], "score": "mistakes", "mistakes": {"epochs": 2}},
    },
    "further arms": {
        "experiments": 2,
        "arms": ["unpruned", "static", "random_pruning", "direct"],
        "evaluate": {**SHORT["evaluate"], "baselines": ["random", "random_kept"]},
    },
    "shards, and whitened images": {"method": "dm", "ingest": {"whitening": "zca"}, "distill": {**SHORT["distill"], "shards": 2}},
    "experts, and no scores": {
        "method": "mtt",
        "prune": {"criterion": "random"},
        "experts": {"count": 1, "epochs": 2},
        "distill": {"iterations": 1, "rounds": 1, "network": NARROW, "trajectory": {"steps": 1, "expert_epochs": 1, "max_start": 1}},
    },
    "pretrained networks": {
        "method": "idc",
        "distill": {**SHORT["distill"], "iterations": 1, "rounds": 1, "idc": {"pretrained": {"networks": 1, "epochs": 1}}},
    },
    "a teacher, and scores of robustness": {
        "evaluate": {**SHORT["evaluate"], "labels": "soft", "robustness": True, "baselines": ["random", "herding"]},
    },
}


@pytest.fixture(autouse=True)
def _prefect(prefect_home: Path) -> None:
    pass


def files(root: Path) -> dict[str, bytes | int]:
    """What every file below a folder holds whose time is that of its last use, and when every other one was written."""
    paths, used = [path for path in root.rglob("*") if path.is_file()], (MANIFEST, RECORD)
    return {str(path.relative_to(root)): path.read_bytes() if path.name in used else path.stat().st_mtime_ns for path in paths}


@pytest.mark.parametrize("what", VARIANTS)
def test_the_flow_finds_everything_there(what: str, tmp_path: Path) -> None:
    from flows.pipeline import pipeline

    given = SHORT | VARIANTS[what]
    report = bilp.run(root=tmp_path, **given)
    made = files(tmp_path)
    assert pipeline(PipelineConfig.model_validate(given), tmp_path) == report.uri
    assert files(tmp_path) == made


def test_python_finds_what_the_flow_published_call_by_call(tmp_path: Path) -> None:
    from flows.pipeline import pipeline

    page = pipeline(PipelineConfig.model_validate(SHORT | {"method": "dm", "ipc": 1, "keep": 0.7, "beta": 0.1}), tmp_path)
    made = files(tmp_path)
    data = bilp.ingest("digits", root=tmp_path)
    scores = bilp.score(data, **SHORT["score"])
    kept = bilp.prune(scores, keep=0.7)
    both = {"method": "dm", "ipc": 1, **SHORT["distill"]}
    unpruned = bilp.distill(data, **both)
    pruned = bilp.distill(data, selection=kept, beta=0.1, reselect=SHORT["reselect"], **both)
    evaluation = bilp.evaluate([unpruned, pruned], **SHORT["evaluate"])
    report = bilp.report(evaluation)
    assert report.uri == page
    assert files(tmp_path) == made
    assert any(name.endswith(MANIFEST) for name in made)
