"""What is said, in one line, of a set that lies otherwise than its source expects, and what to do about it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data import read_source
from bilp.data.contents import Contents, Skipped, check
from bilp.data.convert import refuse
from bilp.data.sources import open_source
from bilp.errors import DataError
from bilp.text.sample_words import speaking_of

CLIP = "aaaaaaaaaaa_000000_000010.mp4"
TABLE = "label,youtube_id,time_start,time_end,split\nrun,aaaaaaaaaaa,0,10,train\n"
PAIRS = "clips/a.mp4 17\nclips/b.mp4 3\n"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def tar(*members: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in members:
            content = b"0" if name.endswith(".cls") else png()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read(root: Path, source: str, files: Mapping[str, bytes | str], **settings: Any) -> Contents:
    """What a source lists of these files below `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    config = IngestConfig(source=source, uri=str(root), **{**SOURCES[source].ingest, **settings})
    with speaking_of(config.noun):
        contents = open_source(config).read()
        check(contents, f"{source} {root}")
    return contents


SPLIT = "n01440764/ and so on are the classes of one split: give the directory above, which holds train/ and val/"
NO_FORM = "expected one of: "

TOLD: dict[str, tuple[str, dict[str, bytes | str], str]] = {
    "a split of ImageNet": (
        "imagenet1k",
        {f"{wnid}/{wnid}_1.JPEG": b"x" for wnid in ("n01440764", "n01443537")},
        f"no known form of ImageNet-1K: {SPLIT}; found n01440764/ (n01440764_1.JPEG), n01443537/ (n01443537_1.JPEG); {NO_FORM}",
    ),
    "a split of TinyImageNet": (
        "tiny_imagenet",
        {"n01440764/images/n01440764_0.JPEG": b"x"},
        f"no known form of TinyImageNet: {SPLIT}; found n01440764/ (images/); {NO_FORM}",
    ),
    "a table of another kind": (
        "kinetics400",
        {f"{split}/{CLIP}": b"x" for split in ("train", "val")}
        | {f"annotations/{split}.csv": "video_id,label\naaaaaaaaaaa,run\n" for split in ("train", "val")},
        "annotations/train.csv names no clip: expected lines of a path and the number of a class, or a table with the columns label, "
        "youtube_id, time_start and time_end; its first line is 'video_id,label'",
    ),
    "no table of the validation clips": (
        "kinetics400",
        {f"train/{CLIP}": b"x", f"val/{CLIP}": b"x", "annotations/train.csv": TABLE},
        "no known form of Kinetics-400: annotations/train.csv is there, and no table of labels of the validation clips: put val.csv "
        "beside it; found annotations/ (train.csv), ",
    ),
    "no list of the validation clips": (
        "kinetics400",
        {"clips/a.mp4": b"x", "clips/b.mp4": b"x", "kinetics400_train_list_videos.txt": PAIRS},
        "no known form of Kinetics-400: kinetics400_train_list_videos.txt is there, and no list of the validation clips: put "
        "kinetics400_val_list_videos.txt beside it; found ",
    ),
    "no validation clips": (
        "kinetics400",
        {"train/run/a.mp4": b"x"},
        "no known form of Kinetics-400: train/ is there, and no directory of the validation clips: put val/ beside it; found ",
    ),
    "clips for the folder of images": (
        "folder",
        {f"{split}/{name}/a.mp4": b"x" for split in ("train", "test") for name in ("run", "walk")},
        "holds 4 video files, such as test/run/a.mp4, and source folder reads images: set the source to video_folder",
    ),
    "images for the folder of clips": (
        "video_folder",
        {"train/cat/1.png": b"x", "train/dog/1.png": b"x"},
        "train/ holds no directory with clips: it holds pictures such as train/cat/1.png: a clip of frames is a directory of its own, "
        "<class>/<clip>/<frame>.png; for images as samples set the source to folder",
    ),
    "clips for a webdataset of images": (
        "webdataset",
        {"train-0000.tar": tar("a.mp4", "a.cls")},
        "no sample of the training shards has an image and a label: train-0000.tar/a: holds a clip and not an image: a.mp4, a.cls: set the "
        "source to video_webdataset",
    ),
    "images for a webdataset of clips": (
        "video_webdataset",
        {"train-0000.tar": tar("a.png", "a.cls")},
        "no sample of the training shards has a clip and a label: train-0000.tar/a: holds an image and not a clip: a.png, a.cls: set the "
        "source to webdataset",
    ),
    "clips for ImageNet": (
        "imagenet1k",
        {"imagenet1k-train-0000.tar": tar("a.mp4", "a.cls")},
        "no classes found: a data set needs labeled images of at least one class; imagenet1k-train-0000.tar/a: holds a clip and not an "
        "image: a.mp4, a.cls",
    ),
    "images for Kinetics": (
        "kinetics400",
        {"train-0000.tar": tar("a.png", "a.cls")},
        "no clip of the training tars has a class: train-0000.tar/a: holds an image and not a clip: a.png, a.cls: give tars of clips",
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_lies_otherwise_is_told_with_what_to_do(case: str, tmp_path: Path) -> None:
    source, files, expected = TOLD[case]
    sized = {"resolution": 8} if source == "imagenet1k" else {}
    with pytest.raises(DataError) as caught:
        read(tmp_path, source, files, **sized)
    (line,) = str(caught.value).splitlines()
    place = f"{source} {tmp_path}: " if case == "clips for ImageNet" else f"{tmp_path}: "
    assert line.startswith(place + expected) and (expected.endswith((" ", ", ")) or line == place + expected)


ROWS = "its rows have no label (all are -1)"
REMEDY = "negative labels often mark images without a label: give them labels, remove them, or set ingest.classes to the classes to take"


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ([0, -1, 1], [0, 1], f"/train-0.parquet: label -1 of row 1 (1 such rows): {REMEDY}"),
        ([0, 1], [0, 1, -1], f"/test-0.parquet: label -1 of row 2 (1 such rows): {REMEDY}"),
        ([-1, -1], [0, 1], f": train-*.parquet: {ROWS}: set ingest.train to other files, or ingest.label_column to another column"),
        (
            [0, 1],
            [-1, -1],
            f": the test images have no labels (test-*.parquet: {ROWS}): set ingest.test to held_out to make a test split out of the "
            "training images, or to the files of labeled ones",
        ),
    ],
)
def test_rows_without_labels(train: list[int], test: list[int], expected: str, tmp_path: Path, write_parquet: Callable[..., None]) -> None:
    for split, labels in (("train", train), ("test", test)):
        write_parquet(tmp_path / f"{split}-0.parquet", [png()] * len(labels), labels)
    with pytest.raises(DataError) as caught:
        read(tmp_path, "parquet", {})
    assert str(caught.value) == f"{tmp_path}{expected}"


def test_classes_that_have_numbers_alone_are_told(tmp_path: Path) -> None:
    clips: dict[str, str | bytes] = {f"clips/{name}.mp4": b"x" for name in "abcd"}
    lists: dict[str, str | bytes] = {
        "kinetics400_train_list_videos.txt": PAIRS,
        "kinetics400_val_list_videos.txt": "clips/c.mp4 17\nclips/d.mp4 3\n",
    }
    contents = read(tmp_path, "kinetics400", clips | lists)
    assert contents.class_names == ("class 03", "class 17")
    assert "classes have numbers alone: the lists do not name one directory for each of them" in contents.notes


@pytest.mark.parametrize(
    ("reason", "missing", "remedy"),
    [
        ("damaged or truncated (moov atom not found)", 0, "repair or remove them"),
        (
            "too large (frames of 9 x 9 = 81 pixels, the limit is 9): set ingest.max_pixels to 81 or more to take it",
            0,
            "repair or remove them",
        ),
        ("decoding took more than 60 s", 0, "repair or remove them"),
        ("missing: listed in train.csv line 2", 2, "fetch them"),
        ("missing: listed in train.csv line 2", 1, "repair, fetch or remove them"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_reason(reason: str, missing: int, remedy: str) -> None:
    with speaking_of("clip"), pytest.raises(DataError) as caught:
        refuse([Skipped("train", "a.mp4", reason), Skipped("train", "b.mp4", reason)], "kinetics400 k400", missing)
    expected = f"kinetics400 k400: 2 clips cannot be used (a.mp4, b.mp4: {reason}): {remedy}, or set ingest.on_corrupt to skip"
    assert str(caught.value) == expected


@pytest.mark.slow
def test_an_ingestion_of_clips_speaks_of_clips(tmp_path: Path) -> None:
    for name in ("run", "walk"):
        for clip in range(2):
            path = tmp_path / "clips" / "train" / name / f"{clip}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    config = IngestConfig(source="video_folder", uri=str(tmp_path / "clips"), resolution=8)
    with pytest.raises(DataError) as caught:
        read_source(config, str(tmp_path / "store"))
    files = ", ".join(f"train/{name}/{clip}.mp4" for name in ("run", "walk") for clip in range(2))
    told = f"video_folder {tmp_path}/clips: 4 clips cannot be used ({files}: empty file): repair or remove them"
    assert str(caught.value) == f"{told}, or set ingest.on_corrupt to skip"
