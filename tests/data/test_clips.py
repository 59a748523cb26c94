"""Clips in the canonical store: what is stored, what is stated, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from clip_data import clips, held, source_of
from pydantic import ValidationError

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import DatasetFacts
from bilp.config import IngestConfig
from bilp.data import ingest, open_dataset
from bilp.data import shards as shard_files
from bilp.data.sources.arrays import hold
from bilp.data.sources.given_arrays import arrays_of
from bilp.data.whitened import whiten
from bilp.errors import BilpError, DataError


def test_clips_are_stored_as_they_are_given(tmp_path: Any) -> None:
    arrays = held()
    images, labels = clips()
    dataset = open_dataset(ingest(source_of(arrays), str(tmp_path)))
    assert dataset.shape == (4, 3, 16, 16)
    assert torch.equal(dataset.train.images(), torch.from_numpy(images))
    assert torch.equal(dataset.test.images(), torch.from_numpy(images[::2] // 2))
    assert dataset.train.labels.tolist() == labels.tolist()
    facts = open_artifact(dataset.uri, "dataset").stated(DatasetFacts)
    assert (facts.layout, facts.frames, facts.resolution, facts.colour) == ("TCHW", 4, (16, 16), "rgb")
    channels = images.transpose(2, 0, 1, 3, 4).reshape(3, -1) / 255
    np.testing.assert_allclose(facts.mean, channels.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(facts.std, channels.std(axis=1), rtol=1e-12)
    wanted = (torch.from_numpy(images[[5, 0]]) / 255 - torch.tensor(facts.mean).view(3, 1, 1)) / torch.tensor(facts.std).view(3, 1, 1)
    torch.testing.assert_close(dataset.train.batch(torch.tensor([5, 0])), wanted, rtol=1e-5, atol=1e-6)


def test_the_order_of_axes_and_shards_change_no_clip(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = clips()
    plain = open_dataset(ingest(source_of(arrays := arrays_of(images, labels, layout="NTCHW")), str(tmp_path)))
    monkeypatch.setattr(shard_files, "SHARD_BYTES", shard_files.HEADER_BYTES + 5 * images[0].size)
    turned = arrays_of(images.transpose(0, 1, 3, 4, 2), labels)
    cut = open_dataset(ingest(source_of(turned), str(tmp_path / "other")))
    assert hold(turned) == hold(arrays)  # the axes are put in one order
    assert cut.fingerprint == plain.fingerprint
    assert torch.equal(cut.train.images(), plain.train.images())
    assert len(open_artifact(cut.uri, "dataset").manifest.files) > 2 + 2


def test_gray_clips_become_colored_or_smaller_frame_by_frame(tmp_path: Any) -> None:
    images, labels = clips(channels=1)
    pictures = arrays_of(images.reshape(-1, 16, 16), np.repeat(labels, 4))
    settings: dict[str, Any] = {"resolution": 8, "color": "rgb"}
    frames = open_dataset(ingest(IngestConfig(source="arrays", uri=hold(pictures), **settings), str(tmp_path)))
    arrays = arrays_of(images, labels, test=(images, labels))
    found = open_dataset(ingest(source_of(arrays, **settings), str(tmp_path)))
    gray = open_dataset(ingest(source_of(arrays), str(tmp_path)))
    assert found.shape == (4, 3, 8, 8)
    assert gray.shape == (4, 1, 16, 16)
    every = {image.numpy().tobytes() for split in (frames.train, frames.test) for image in split.images()}
    assert {frame.numpy().tobytes() for frame in found.train.images().flatten(0, 1)} == every


def test_python_takes_clips_and_says_what_they_are(tmp_path: Any) -> None:
    images, labels = clips()
    data = bilp.ingest(images=torch.from_numpy(images), labels=labels, root=str(tmp_path))
    assert data.shape == (4, 3, 16, 16)
    assert repr(data).startswith("20 training and 4 test clips, 4 classes, 4x3x16x16")
    assert data._repr_html_().count("<figure") == 20


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"images": clips()[0][:, :, :2]}, "has no axis of 1 or 3 channels"),
        ({"images": clips()[0][:, :, :, :3, :3]}, "may be both NTCHW and NTHWC: state layout='NTCHW' or 'NTHWC'"),
        ({"layout": "NCHW"}, "which is not NCHW of 1 or 3 channels"),
        ({"test": (clips()[0][:, 0], clips()[1])}, "one of the training and test splits has clips, and the other pictures"),
        ({"test": (clips(frames=5)[0], clips()[1])}, "clips differ in length: train row 0 has 4 frames, test row 0 has 5"),
        ({"test": (clips(side=12)[0], clips()[1])}, "clips differ in size: train row 0 is 16 x 16, test row 0 is 12 x 12"),
        ({"whitening": "zca"}, "has clips, and whitening zca is for pictures: set whitening to none"),
    ],
)
def test_what_is_no_data_set_of_clips_is_refused_in_one_line(tmp_path: Any, given: dict[str, Any], told: str) -> None:
    images, labels = clips()
    with pytest.raises(BilpError) as refused:
        bilp.ingest(**{"images": images, "labels": labels, "root": str(tmp_path), **given})
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_clips_are_never_whitened(tmp_path: Any) -> None:
    arrays = held()
    with pytest.raises(ValidationError, match="whitening zca is for pictures"):
        source_of(arrays, whitening="zca")
    with pytest.raises(DataError, match="ZCA whitens pictures, and these are clips: set ingest.whitening to none"):
        whiten(ingest(source_of(arrays), str(tmp_path)), 0.1)
