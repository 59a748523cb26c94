"""Consoles of object storage make an empty object for each folder: no source takes it for a sample, a class or a split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replicas import imagenet_replica as imagenet
from replicas import tiny_imagenet_replica as tiny
from replicas import video_layouts as video
from replicas.photo import photo

from bilp.config import IngestConfig
from bilp.data.contents import Contents
from bilp.data.sources import open_source
from bilp.storage import objects
from bilp.storage.s3_client import files

pytestmark = [pytest.mark.s3, pytest.mark.slow]


def pictures(root: Path) -> None:
    """Two classes with a test split."""
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                (root / split / name / f"{number}.jpg").write_bytes(photo(label, number))


def frames(root: Path) -> None:
    """The same of clips that are directories of frames."""
    for split in ("train", "test"):
        for label, name in enumerate(("run", "walk")):
            for clip in ("a", "b"):
                (root / split / name / clip).mkdir(parents=True)
                for number in range(2):
                    (root / split / name / clip / f"{number}.jpg").write_bytes(photo(label, number))


def arrays(root: Path) -> None:
    """An npz file in a folder."""
    (root / "arrays").mkdir()
    values = {"x_train": np.zeros((4, 8, 8), np.uint8), "y_train": np.array([0, 0, 1, 1])}
    np.savez(root / "arrays" / "set.npz", **values, x_test=values["x_train"], y_test=values["y_train"])


LISTED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "folder": ("folder", pictures),
    "folders of ImageNet": ("imagenet1k", imagenet.folders),
    "tars of ILSVRC": ("imagenet1k", imagenet.ilsvrc_tars),
    "Kaggle": ("imagenet1k", imagenet.kaggle),
    "Parquet of ImageNet": ("imagenet1k", imagenet.hub_parquet),
    "Parquet": ("parquet", tiny.hub_parquet),
    "shards": ("webdataset", imagenet.webdataset),
    "npz": ("npz", arrays),
    "TinyImageNet": ("tiny_imagenet", tiny.original),
    "folder of clips": ("video_folder", frames),
    "Kinetics": ("kinetics400", video.kinetics_flat),
    "frames of Kinetics": ("kinetics400", video.kinetics_frames),
    "UCF101": ("ucf101", lambda root: video.ucf101(root, b"clip")),
    "HMDB51": ("hmdb51", lambda root: video.hmdb51(root, b"clip")),
    "Something-Something": ("ssv2", lambda root: video.ssv2(root, b"clip")),
}


def contents(name: str, uri: str) -> tuple[Contents, dict[str, Any]]:
    source = open_source(IngestConfig.model_validate({"source": name, "uri": uri, "resolution": 16}))
    found = source.read()
    return found, {split: (items.paths(), items.labels.tolist()) for split, items in found.items.items()}


@pytest.mark.parametrize("layout", LISTED)
def test_markers_of_folders_are_neither_samples_nor_classes_nor_splits(layout: str, s3_root: str, tmp_path: Path) -> None:
    name, write = LISTED[layout]
    local = tmp_path / "set"
    local.mkdir()
    write(local)
    uri = objects.join(s3_root, "set")
    for path in local.rglob("*"):
        if path.is_file():
            objects.write(objects.join(uri, path.relative_to(local).as_posix()), path.read_bytes())
    plain, items = contents(name, uri)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    folders = ["", *(f"{path.relative_to(local).as_posix()}/" for path in local.rglob("*") if path.is_dir())]
    for folder in folders:
        files().call_s3("put_object", Bucket=bucket, Key=f"{prefix}/{folder}", Body=b"")
    keys = {entry["Key"] for entry in files().call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/")["Contents"]}
    assert {f"{prefix}/{folder}" for folder in folders} <= keys, "the server has them"
    marked, again = contents(name, uri)
    assert again == items
    assert (marked.class_names, marked.class_ids) == (plain.class_names, plain.class_ids)
    assert (marked.notes, marked.absent, marked.facts) == (plain.notes, plain.absent, plain.facts)
