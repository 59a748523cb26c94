"""The data set of a search: training images alone, divided by class, copies on one side."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bilp.config import IngestConfig
from bilp.data import Dataset, ingest, open_dataset
from bilp.errors import ConfigError
from bilp.search.held_out import held_out_mask, hold_out


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(ingest(IngestConfig(), str(tmp_path_factory.mktemp("digits"))))


def test_a_share_of_each_class_is_held_out_and_every_training_image_is_on_one_side(digits: Dataset, tmp_path: Path) -> None:
    mask = held_out_mask(digits, 0.2, seed=0)
    labels = digits.train.labels.numpy()
    counts = np.bincount(labels)
    assert np.bincount(labels[mask]).tolist() == [round(0.2 * n) for n in counts.tolist()]
    made = open_dataset(hold_out(digits.uri, 0.2, 0, str(tmp_path)))
    assert torch.equal(made.test.images(), digits.train.images()[torch.from_numpy(mask)])
    assert torch.equal(made.train.images(), digits.train.images()[torch.from_numpy(~mask)])
    assert torch.equal(made.train.labels, digits.train.labels[torch.from_numpy(~mask)])
    assert (made.mean, made.std, made.class_names) == (digits.mean, digits.std, digits.class_names)
    assert made.fingerprint != digits.fingerprint


def test_the_same_seed_holds_the_same_images_out_and_another_one_others(digits: Dataset, tmp_path: Path) -> None:
    assert hold_out(digits.uri, 0.2, 0, str(tmp_path)) == hold_out(digits.uri, 0.2, 0, str(tmp_path))
    assert (held_out_mask(digits, 0.2, 0) != held_out_mask(digits, 0.2, 1)).any()


def test_no_test_image_is_needed(digits: Dataset, tmp_path: Path) -> None:
    """With the pixels of the test split gone, the same data set is made."""
    root = tmp_path / "copy"
    shutil.copytree(digits.uri, root / "datasets" / digits.name / digits.fingerprint)
    uri = str(root / "datasets" / digits.name / digits.fingerprint)
    for shard in Path(uri).glob("test-*.arrow"):
        shard.write_bytes(b"\0" * shard.stat().st_size)
    with pytest.raises(Exception, match="test-"):
        open_dataset(uri).test.images()
    made, expected = (open_dataset(hold_out(source, 0.2, 0, str(tmp_path / name))) for source, name in ((uri, "a"), (digits.uri, "b")))
    assert made.fingerprint == expected.fingerprint
    assert torch.equal(made.test.images(), expected.test.images())


def test_copies_lie_on_one_side(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = digits.train.index()
    digests = np.array(index["sha256"].to_pylist(), dtype=object)
    digests[1::2] = digests[0::2]  # every second image is a copy of the one before it, in whatever class
    changed = index.set_column(2, "sha256", [digests.tolist()])
    monkeypatch.setattr(type(digits.train), "index", lambda self: changed)
    mask = held_out_mask(digits, 0.2, 0)
    assert mask.any()
    assert not set(digests[mask]) & set(digests[~mask])


def test_whitened_data_sets_are_whitened_by_what_is_left(tmp_path: Path) -> None:
    whitened = ingest(IngestConfig(whitening="zca"), str(tmp_path))
    made = open_dataset(hold_out(whitened, 0.2, 0, str(tmp_path)))
    assert made.whitening_facts is not None
    assert made.whitening_facts["of"] != open_dataset(whitened).whitening_facts["of"]  # type: ignore[index]
    assert made.train.batch(torch.arange(3)).std() > 0


def test_too_few_images_are_refused(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = digits.train.labels.clone()
    labels[labels == 3] = 4
    labels[:2] = 3
    monkeypatch.setattr(digits.train, "labels", labels)
    with pytest.raises(ConfigError, match="class '3' has 2"):
        held_out_mask(digits, 0.2, 0)
