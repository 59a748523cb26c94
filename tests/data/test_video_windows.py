"""Several windows of a video: known as such in the data set, on one side of every split, and in what keys say of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from replicas import video_layouts as replica
from replicas.clip import clip

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import DatasetFacts
from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data import Dataset, ingestion, open_dataset, planning, read_source
from bilp.data.duplicates import find_duplicates
from bilp.data.items import Items
from bilp.data.shards import Stored
from bilp.data.source_record import open_record
from bilp.data.sources import open_source
from bilp.data.splitting import held_out
from bilp.data.store import KIND
from bilp.data.videos import first_windows, renumbered, together, videos_of
from bilp.errors import DamagedArtifact
from bilp.search.held_out import hold_out
from bilp.storage import objects

TINY = {"frames": 2, "sampling": "window", "stride": 1, "resolution": 8, "on_corrupt": "refuse"}


def settings(root: Path, source: str, **more: Any) -> IngestConfig:
    return IngestConfig(source=source, uri=str(root), **{**SOURCES[source].ingest, "pre_crop": None, **TINY, **more})


def frame_folders(root: Path, videos: int = 5, frames: int = 12) -> None:
    """Two classes of videos that are directories of frames; every frame of every video is another one."""
    for label, name in enumerate(("run", "walk")):
        for video in range(videos):
            folder = root / "train" / name / f"v_{video}"
            folder.mkdir(parents=True)
            for frame in range(frames):
                picture = np.full((8, 8, 3), (100 * label + 20 * video, 20 * frame, 9), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{frame}.png")


def opened(root: Path, store: Path, source: str, **more: Any) -> Dataset:
    record = read_source(settings(root, source, **more), str(store))
    return open_dataset(open_record(record).dataset_uri, record)


def test_numbers_of_videos_by_hand() -> None:
    items = Items.of_files(np.zeros(6, dtype=np.int64), ["b", "a", "b", "c", "c", "a"])
    items.offset[4] = 512  # another member of the tar c
    assert videos_of(items).tolist() == [0, 1, 0, 2, 3, 1]
    assert renumbered(np.array([7, 3, 7, 0])).tolist() == [0, 1, 0, 2]
    assert first_windows(np.array([7, 3, 7, 0])).tolist() == [True, True, False, True]
    # 0 and 1 are windows of one video, 1 and 2 are equal, so are 3 and 4; nothing links 5 to any
    assert together(np.array([5, 5, 6, 7, 8, 9]), np.array([0, 1, 1, 2, 2, 3])).tolist() == [0, 0, 0, 1, 1, 2]


def test_a_split_keeps_videos_whole() -> None:
    videos = np.repeat(np.arange(20), 3)
    labels = (videos % 2).astype(np.int64)
    for seed in range(5):
        mask = held_out(labels, ("a", "b"), 0.2, seed, "here", together(videos, np.arange(60)))
        sides = [set(videos[side].tolist()) for side in (mask, ~mask)]
        assert not sides[0] & sides[1] and len(sides[0]) == 4, "a fifth of the videos of each class"


def test_equal_windows_of_one_video_are_no_duplicates() -> None:
    def side(videos: list[int] | None) -> Stored:
        none = np.zeros(5, dtype=np.int64)
        return Stored((2, 3, 8, 8), [], (), none, list("abcde"), none, videos=None if videos is None else np.array(videos))

    digests = [32 * pair for pair in ("00", "00", "11", "11", "22")]  # a and b are equal, and so are c and d
    windows = find_duplicates({"train": side([0, 0, 1, 2, 2])}, {"train": digests})
    assert windows.repeats == {"train": 1}, "d repeats c, which is another video; b is another window of a"
    assert windows.several["train"].tolist() == [False, False, True, True, False]
    assert windows.surplus["train"].tolist() == [False, False, False, True, False]
    assert find_duplicates({"train": side(None)}, {"train": digests}).repeats == {"train": 2}


def test_keys_tell_windows_of_one_answer_from_those_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame_folders(tmp_path / "clips")
    one, several = (settings(tmp_path / "clips", "video_folder", clips=clips) for clips in (1, 3))
    source = open_source(one)

    def keys(config: IngestConfig) -> tuple[str, str]:
        plain = ingestion._settings(config)
        return planning.identity(config, source)[1], ingestion._address(config, source, plain, "home")[1]

    now = keys(one), keys(several)
    monkeypatch.setattr(planning, "WINDOWS", planning.WINDOWS + 1)
    assert keys(one) == now[0] and not set(keys(several)) & set(now[1])


@pytest.mark.slow
@pytest.mark.parametrize("order", ["canonical", "source"])
def test_a_held_out_video_is_held_out_with_all_its_windows(order: str, tmp_path: Path) -> None:
    frame_folders(tmp_path / "clips")
    data = opened(tmp_path / "clips", tmp_path / "store", "video_folder", clips=3, order=order)
    assert (len(data.train), len(data.test)) == (24, 6), "of five videos of each class one is a test video"
    folders = {split: list(map(str.lower, data.origins(split))) for split in ("train", "test")}
    assert not set(folders["train"]) & set(folders["test"])
    for split, side in (("train", data.train), ("test", data.test)):
        assert side.videos is not None
        own = defaultdict(set)
        for video, origin in zip(side.videos.tolist(), folders[split], strict=True):
            own[origin].add(video)
        assert all(len(numbers) == 1 for numbers in own.values()) and side.videos.max() + 1 == len(own)
        assert torch.bincount(side.videos).tolist() == [3] * len(own)
        reds = side.images()[:, 0, 0, 0, 0]  # tells the video
        assert all(len(set(reds[side.videos == video].tolist())) == 1 for video in range(len(own)))
    stated = open_artifact(data.uri, KIND).stated(DatasetFacts)
    assert stated.videos is not None and (stated.videos.train, stated.videos.test) == (8, 2)
    held = open_dataset(hold_out(data.uri, 0.25, 0, str(tmp_path / "search")))
    assert held.test.videos is not None and torch.bincount(held.test.videos).tolist() == [3, 3]
    assert held.train.videos is not None and torch.bincount(held.train.videos).tolist() == [3] * 6
    assert not {*held.train.images()[:, 0, 0, 0, 0].tolist()} & {*held.test.images()[:, 0, 0, 0, 0].tolist()}


@pytest.mark.slow
def test_videos_of_a_test_split_are_part_of_the_data_set(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    replica.hmdb51(root, clip(0, 0, 1))
    one = opened(root, tmp_path / "store", "hmdb51")
    several = opened(root, tmp_path / "store", "hmdb51", clips=3)
    assert one.test.videos is None and one.train.videos is None
    assert several.test.videos is not None and several.test.videos.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert len(several.train) == len(one.train) == 4, "of a training clip there is one window"
    assert several.fingerprint != one.fingerprint
    index = Path(several.uri) / "test.parquet"
    index.write_bytes((Path(one.uri) / "test.parquet").read_bytes())
    with pytest.raises(DamagedArtifact):
        open_dataset(several.uri)


@pytest.mark.slow
def test_a_damaged_video_is_told_once(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    replica.hmdb51(root, clip(0, 0, 1))
    (root / replica.HMDB[0] / f"{replica.HMDB[0]}_1.avi").write_bytes(b"")
    config = settings(root, "hmdb51", clips=3, on_corrupt="skip", most_corrupt=0.25)
    record = open_record(read_source(config, str(tmp_path / "store")))
    assert record.facts.skipped.test == 1, "a quarter of four videos, and half of its class"
    ledger = objects.read(record.artifact.place("ledger.json")).decode()
    assert ledger.count("empty file") == 1
