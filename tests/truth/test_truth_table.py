"""The truth beside the record of a source, and the selection by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SelectionFacts
from bilp.artifacts.publication import publish
from bilp.data import open_recorded, read_source
from bilp.data.truth_file import KnownTruth, publish_truth
from bilp.errors import ConfigError, DamagedArtifact, DataError, IncompatibleArtifact, MissingArtifact
from bilp.pruning.prune import load_selection
from bilp.storage import objects
from bilp.truth.oracle import oracle_selection
from bilp.truth.table import open_truth, truth_uri

OTHER = "0123456789abcdef"


def record_beside(record: str, true_label: np.ndarray, fingerprint: str | None = None) -> str:
    """A record of the same data set with other true labels; its URI."""
    former = open_artifact(record, "source")
    uri = f"{record.rpartition('/')[0]}/{OTHER}"
    dataset = open_recorded(record)
    label = dataset.train.labels.numpy()
    truth = publish_truth(uri, fingerprint or dataset.fingerprint, KnownTruth(label, true_label, np.full(len(label), -1)), {"kind": "test"})
    files = {name: former.read(name) for name in former.manifest.files}
    parents = {"dataset": former.parents["dataset"], "truth": truth}
    publish(uri, "source", OTHER, files, config={}, parents=parents, facts=former.manifest.facts)
    return uri


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, np.ndarray]:
    """A storage, the record of digits in it, and their labels."""
    root = str(tmp_path_factory.mktemp("truth"))
    record = read_source({}, root)
    return root, record, open_recorded(record).train.labels.numpy()


def test_what_was_changed_is_told_and_what_was_not_has_no_truth(store: tuple[str, str, np.ndarray]) -> None:
    _, record, label = store
    true_label = label.copy()
    true_label[[3, 5]] = (label[[3, 5]] + 1) % 10
    uri = record_beside(record, true_label)
    truth = open_truth(uri)
    assert truth is not None
    assert truth.uri == truth_uri(uri) == f"{record.rsplit('/', 2)[0]}/truth/{OTHER}"
    assert truth.wrong.nonzero()[0].tolist() == [3, 5]
    assert (truth.errors, truth.copies, len(truth)) == (2, 0, len(label))
    assert np.array_equal(truth.true_label, true_label) and np.array_equal(truth.label, label)
    assert open_truth(record) is None


def test_the_selection_by_it_keeps_what_is_labeled_rightly(store: tuple[str, str, np.ndarray]) -> None:
    root, record, label = store
    uri = f"{record.rpartition('/')[0]}/{OTHER}"
    dataset = open_artifact(record, "source").parents["dataset"]
    truth = open_truth(uri)
    assert truth is not None
    selection = oracle_selection(dataset, uri, root)
    assert load_selection(selection).tolist() == np.flatnonzero(~truth.wrong).tolist()
    facts = open_artifact(selection, "selection").stated(SelectionFacts)
    assert (facts.kept, facts.total, facts.criterion) == (len(label) - 2, len(label), "oracle")
    assert oracle_selection(dataset, uri, root) == selection
    with pytest.raises(ConfigError, match="true labels of digits are not known"):
        oracle_selection(dataset, record, root)


def test_a_truth_that_is_missing_damaged_or_of_another_data_set_is_refused(store: tuple[str, str, np.ndarray], tmp_path: Path) -> None:
    root = str(tmp_path)
    record = read_source({}, root)
    label = open_recorded(record).train.labels.numpy()
    uri = record_beside(record, np.where(label == 4, 5, label))
    dataset = open_artifact(record, "source").parents["dataset"]
    with pytest.raises(DataError, match="no label of '4' is right"):
        oracle_selection(dataset, uri, root)
    table = Path(truth_uri(uri)) / "truth.parquet"
    content = table.read_bytes()
    table.write_bytes(content[:-9] + b"damaged!!")
    with pytest.raises(DamagedArtifact, match=r"truth\.parquet"):
        open_truth(uri)
    objects.delete(truth_uri(uri))
    with pytest.raises(MissingArtifact, match="no complete truth"):
        open_truth(uri)
    objects.delete(uri)
    uri = record_beside(record, label, fingerprint="0" * 16)
    with pytest.raises(IncompatibleArtifact, match="the truth about data set 0{16}"):
        open_truth(uri)
