"""Whatever stages read of a data set is in its fingerprint, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bilp.config import IngestConfig
from bilp.data import Dataset, ingest, open_dataset
from bilp.storage.objects import storage_root

SIDE = 4
Changes = Callable[[Path], object]


def dataset_of(source: Path, changes: Changes, name: str = "pets", **settings: Any) -> Dataset:
    """Two pictures of each class in each split, no two alike, after some changes of the files."""
    shade = 0
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            folder = source / name / split / kind
            folder.mkdir(parents=True)
            for number in range(2):
                shade += 10
                picture(shade).save(folder / f"{number}.png")
    changes(source / name)
    return open_dataset(ingest(IngestConfig(source="folder", uri=str(source / name), **settings), storage_root()))


def picture(shade: int) -> Image.Image:
    return Image.new("L", (SIDE, SIDE), shade)


def nothing(root: Path) -> None:
    pass


def pixel(root: Path) -> None:
    changed = picture(10)
    changed.putpixel((1, 2), 11)
    changed.save(root / "train" / "cat" / "0.png")


def move(source: str, target: str) -> Changes:
    return lambda root: (root / source).rename(root / target)


def in_both(source: str, target: str) -> Changes:
    return lambda root: [(root / split / source).rename(root / split / target) for split in ("train", "test")]


def other_format(root: Path) -> None:
    file = root / "train" / "cat" / "0.png"
    Image.open(file).save(file.with_suffix(".bmp"))
    file.unlink()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(pixel, id="a pixel"),
        pytest.param(move("train/cat/1.png", "train/dog/2.png"), id="a label"),
        pytest.param(in_both("dog", "wolf"), id="the name of a class"),
        pytest.param(in_both("cat", "zebra"), id="the order of the classes"),
        pytest.param(move("train/cat/0.png", "train/cat/9.png"), id="the order of the samples"),
        pytest.param(lambda root: picture(200).save(root / "test" / "dog" / "2.png"), id="the number of samples"),
        pytest.param(move("train/cat/1.png", "test/cat/2.png"), id="the split"),
    ],
)
def test_what_stages_compute_from_counts(tmp_path: Path, changes: Changes) -> None:
    assert dataset_of(tmp_path / "one", nothing).fingerprint != dataset_of(tmp_path / "other", changes).fingerprint


def test_shape_colors_and_whitening_count(tmp_path: Path) -> None:
    sets: list[dict[str, Any]] = [{}, {"resolution": 2}, {"color": "rgb"}, {"whitening": "zca"}]
    sets.append({"whitening": "zca", "whitening_epsilon": 0.5})
    assert len({dataset_of(tmp_path / str(k), nothing, **settings).fingerprint for k, settings in enumerate(sets)}) == len(sets)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(move("train/cat/0.png", "train/cat/01.png"), id="the name of a file"),
        pytest.param(other_format, id="the format of a file"),
        pytest.param(lambda root: (root / "train" / "cat" / "0.png").touch(), id="when it was written"),
    ],
)
def test_how_pictures_are_kept_does_not_count(tmp_path: Path, changes: Changes) -> None:
    assert dataset_of(tmp_path / "one", nothing).fingerprint == dataset_of(tmp_path / "other", changes).fingerprint


def test_settings_that_lead_to_the_same_pixels_do_not_count(tmp_path: Path) -> None:
    same: list[dict[str, Any]] = [{}, {"on_corrupt": "skip"}, {"color": "gray"}, {"resolution": SIDE}, {"split_seed": 1}]
    assert len({dataset_of(tmp_path / str(k), nothing, **settings).fingerprint for k, settings in enumerate(same)}) == 1


def test_a_name_that_stands_for_no_constants_does_not_count(tmp_path: Path) -> None:
    one, other = dataset_of(tmp_path / "one", nothing), dataset_of(tmp_path / "other", nothing, "birds")
    assert one.fingerprint == other.fingerprint
    assert {one.name, other.name} == {"pets", "birds"}
    assert (one.mean, one.std) == (other.mean, other.std)
