"""Critical shares of digits, measured in this process: table, page, CSV, and nothing computed twice."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.critical.shares import CSV, KIND, PAGE

NARROW = {"width": 4, "depth": 1}
GIVEN = {
    "dataset": "digits",
    "score": {"trials": 1, "epochs": 1, "init_epochs": 1, "network": NARROW},
    "distill": {"iterations": 4, "rounds": 2, "batch_real": 8, "network": NARROW},
    "evaluate": {"networks": [NARROW], "seeds": 2, "epochs": 2},
}


@pytest.mark.slow
def test_every_share_is_tested_and_shown(tmp_path: Path) -> None:
    asked = {"criteria": ["loss_init", "random"], "distillations": 2, "fewest": 20, "root": tmp_path, "tolerance": 5.0}
    found = bilp.critical(**asked, **GIVEN)
    rows = found.to_pandas()
    assert sorted(set(rows["share"])) == [0.25, 0.5, 1.0]
    assert len(rows) == 6
    assert set(found.shares) == {"loss_init", "random"}
    artifact = open_artifact(found.uri, KIND)
    read = list(csv.DictReader(io.StringIO(artifact.read(CSV).decode())))
    assert [float(row["accuracy"]) for row in read] == pytest.approx(rows["accuracy"].tolist())
    page = artifact.read(PAGE).decode()
    assert "<svg" in page
    assert page.count("<tr>") >= 6
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    assert bilp.critical(**asked, **GIVEN).uri == found.uri
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
