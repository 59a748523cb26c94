"""Arrays in .npz files: which are images and labels, their axes, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilp.config import IngestConfig
from bilp.data.contents import Source
from bilp.data.sources import open_source
from bilp.data.sources.npz import stored_arrays
from bilp.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 4, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 10, 2, 0, 10, 2, 0, 10, 2])


def opened(root: Path, **settings: Any) -> Source:
    return open_source(IngestConfig(source="npz", uri=str(root), **settings))


def pixels(source: Source, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
    items = source.read().items[split]  # type: ignore[index]
    return np.concatenate([group.images for group in source.groups(items.slice(start, len(items) if stop is None else stop))])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_splits_are_told_by_the_names_of_arrays(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "data.npz", x_train=PIXELS[:6], y_train=LABELS[:6], x_test=PIXELS[6:], y_test=LABELS[6:, None])
    source = opened(tmp_path)
    contents = source.read()
    assert contents.class_names == ("0", "2", "10")
    assert contents.items["train"].labels.tolist() == [0, 2, 1, 0, 2, 1]
    assert np.array_equal(pixels(source, "train"), PIXELS[:6])
    assert np.array_equal(pixels(source, "test"), PIXELS[6:])
    assert np.array_equal(pixels(opened(tmp_path), "train", 2, 5), PIXELS[2:5])
    chosen = opened(tmp_path, classes=("10", "0"))
    assert np.array_equal(pixels(chosen, "train"), PIXELS[[0, 1, 3, 4]])
    assert chosen.read().items["train"].labels.tolist() == [1, 0, 1, 0]


def test_splits_are_told_by_the_names_of_files_and_axes_by_their_lengths(tmp_path: Path) -> None:
    np.savez(tmp_path / "train_1.npz", images=PIXELS[:3].transpose(0, 3, 1, 2), labels=LABELS[:3].astype(np.uint8))
    np.savez(tmp_path / "train_2.npz", images=PIXELS[3:6], labels=LABELS[3:6])
    np.savez(tmp_path / "val.npz", images=PIXELS[6:], labels=LABELS[6:])
    source = opened(tmp_path)
    assert np.array_equal(pixels(source, "train"), PIXELS[:6])
    assert np.array_equal(pixels(source, "test"), PIXELS[6:])
    assert source.read().items["train"].told()[0] == "train_1.npz/images#0"
    gray = tmp_path / "gray"
    gray.mkdir()
    np.savez(gray / "all.npz", data=PIXELS[..., :1], label=LABELS)
    assert np.array_equal(pixels(opened(gray), "train"), PIXELS[..., 0])


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        (
            {"x": PIXELS.astype(np.float32), "y": LABELS},
            r"which arrays are the train images.*found x float32 \[9, 4, 5, 3\], y int64",
        ),
        ({"x": PIXELS, "y": LABELS[:8]}, r"which arrays are the train images"),
        ({"x": PIXELS, "y": LABELS, "z": LABELS}, r"which arrays are the train images.*leave out the others"),
        ({"x": PIXELS, "y": np.array([object()] * 9)}, r"array 'y' holds Python objects \(a pickle\), which are never read"),
        ({"x": PIXELS, "y": LABELS - 1}, r"label -1: negative labels"),
        ({"x_test": PIXELS, "y_test": LABELS}, r"no training images: expected arrays such as x_train"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, arrays: dict[str, np.ndarray], problem: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=problem):
        opened(tmp_path).read()
    place = tmp_path / "data.npz"
    place.write_bytes(place.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"data.npz: is no readable .npz"):
        opened(tmp_path).read()


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (3, }", "has a damaged header"),
        ("{'descr': '|u1', 1: False, 'shape': (3,)}", "has a damaged header"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1" + "0" * 30 + ",)}", "claims shape .* and holds 3 bytes"),
    ],
)
def test_a_damaged_header_of_an_array_is_one_line(tmp_path: Path, header: str, problem: str) -> None:
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"abc"
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("x_train.npy", content)
    with pytest.raises(DataError, match=problem):
        opened(tmp_path).read()


def test_a_directory_that_leads_before_the_file_is_one_line(tmp_path: Path) -> None:
    """Of a zip, where the system refuses to go: what it raises tells damage, and not a disk that fails."""
    np.savez(tmp_path / "data.npz", x_train=np.zeros((2, 8, 8), np.uint8), y_train=np.arange(2))
    data = bytearray((tmp_path / "data.npz").read_bytes())
    field = data.rfind(b"PK\x05\x06") + 16  # where its directory begins, from which it follows where the members do
    start = int.from_bytes(data[field : field + 4], "little")
    data[field : field + 4] = (start + 50).to_bytes(4, "little")
    (tmp_path / "data.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"data\.npz: is no readable \.npz: .*fetch it again"):
        stored_arrays(str(tmp_path / "data.npz"))
