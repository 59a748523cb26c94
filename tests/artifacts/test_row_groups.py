"""Tables that come in pieces are the files that they are in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bilp.artifacts import parquet, row_groups
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import TRAJECTORY
from bilp.errors import IncompatibleArtifact
from bilp.scoring.criteria import Trajectory
from bilp.scoring.trial_record import TRIAL_FILE, trajectory_rows, trajectory_table

SAMPLES, EPOCHS = 30, 4
LABELS = np.random.default_rng(1).integers(0, 7, SAMPLES)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (parquet, row_groups):
        monkeypatch.setattr(module, "ROW_GROUP", 50)  # groups that end inside of an epoch


def record(norms: bool = True) -> Trajectory:
    stream = np.random.default_rng(0)
    losses, margins, gradients = (stream.random((EPOCHS, SAMPLES)).astype(np.float32) for _ in range(3))
    return Trajectory(losses, losses < 0.5, losses / 2, margins, gradients if norms else None)


@pytest.mark.parametrize("norms", [True, False])
def test_a_file_written_by_row_groups_is_the_file_of_the_whole_table(tmp_path: Path, small_groups: None, norms: bool) -> None:
    rows, whole = trajectory_rows(LABELS, 2, record(norms)), trajectory_table(LABELS, 2, record(norms))
    assert whole["sample_id"].to_pylist() == list(range(SAMPLES)) * EPOCHS
    assert whole["epoch"].to_pylist() == [epoch for epoch in range(EPOCHS) for _ in range(SAMPLES)]
    assert whole["label"].to_pylist() == LABELS.tolist() * EPOCHS
    path = tmp_path / "table.parquet"
    rows.write(path, TRAJECTORY, {"stage": "test"})
    assert [len(part) for part in rows.parts()] == [50, 50, 20]
    assert path.read_bytes() == parquet.encode(whole, TRAJECTORY, {"stage": "test"})


def test_both_are_published_alike(tmp_path: Path, small_groups: None) -> None:
    found = []
    for name, table in (("whole", trajectory_table(LABELS, 2, record())), ("parts", trajectory_rows(LABELS, 2, record()))):
        uri = str(tmp_path / name / ("4" * 16))
        publish_table(uri, "score_trial", "4" * 16, TableFile(TRIAL_FILE, table, TRAJECTORY), config={}, parents={})
        found.append((Path(uri) / TRIAL_FILE).read_bytes())
    assert found[0] == found[1]


def test_a_part_that_does_not_fit_its_schema_is_refused(tmp_path: Path) -> None:
    short = row_groups.RowGroups(3, lambda start, stop: trajectory_table(LABELS, 2, record()).drop_columns(["loss"]))
    with pytest.raises(IncompatibleArtifact, match="the table has columns"):
        short.write(tmp_path / "table.parquet", TRAJECTORY, {})
