"""Columns of items: slices, files, rows, and a source that reads a piece of another process's listing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bilp.config import IngestConfig
from bilp.data.items import UNKNOWN, Items, joined
from bilp.data.sources import open_source


def three(**columns: Any) -> Items:
    whole = Items.of_files(np.array([0, 1, 1]), ["a/0.png", "b/0.png", "b/1.png"], [3, 4, 5])
    return Items(**{**vars(whole), **columns})


def test_slices_and_selections_keep_all_columns_together() -> None:
    whole = three(stems=pa.array(["x", "y", "z"]), origins=pa.array(["A", "B", "C"]))
    piece = whole.slice(1, 3)
    assert (piece.labels.tolist(), piece.paths(), piece.length.tolist()) == ([1, 1], ["b/0.png", "b/1.png"], [4, 5])
    assert (piece.stems.to_pylist(), piece.told()) == (["y", "z"], ["B", "C"])
    assert piece.labels.base is not None  # no copy
    other = whole.take(np.array([2, 0]))
    assert (other.labels.tolist(), other.paths(), other.told()) == ([1, 0], ["b/1.png", "a/0.png"], ["C", "A"])


def test_columns_of_different_lengths_are_no_items() -> None:
    with pytest.raises(ValueError, match="differ in length: .*'row': 2"):
        three(row=np.array([0, 1]))


def test_an_origin_is_the_file_unless_another_is_given() -> None:
    assert three().told() == ["a/0.png", "b/0.png", "b/1.png"]
    assert Items.of_files(np.zeros(1, dtype=np.int64), ["\udcff.png"]).told() == ["\\xff.png"]


def test_listings_are_joined_and_read_file_by_file() -> None:
    whole = joined([three(), Items.of_rows(np.array([7, 8]), "b/1.png")])
    assert whole.labels.tolist() == [0, 1, 1, 7, 8]
    assert [(path, len(part)) for path, part in whole.by_file()] == [("a/0.png", 1), ("b/0.png", 1), ("b/1.png", 1), ("b/1.png", 2)]
    assert whole.row.tolist() == [UNKNOWN, UNKNOWN, UNKNOWN, 0, 1]
    assert list(whole.slice(3, 3).by_file()) == []


@pytest.mark.parametrize("most", [1, 2, 64])
def test_rows_come_in_pieces(most: int) -> None:
    rows = Items.of_rows(np.arange(5), "all").slice(1, 5)
    pieces = list(rows.rows(most))
    assert [row for start, stop in pieces for row in range(start, stop)] == [1, 2, 3, 4]
    assert max(stop - start for start, stop in pieces) <= most


def read_again(config: IngestConfig, items: Items, start: int, stop: int) -> list[tuple[str, Any]]:
    """What a source that never listed anything reads of a piece."""
    found: list[tuple[str, Any]] = []
    for group in open_source(config).groups(items.slice(start, stop)):
        images = group.images if isinstance(group.images, np.ndarray) else [load() for load in group.images]
        found += [(origin, bytes(image)) for origin, image in zip(group.origins, images, strict=True)]
    return found


def test_any_piece_is_read_without_listing_again(tmp_path: Path, write_folder: Any, write_parquet: Any, pixels: Any) -> None:
    pictures = [pixels(4, 4, seed=number) for number in range(12)]
    folder = write_folder({f"{number % 2}/{number:02d}.png": picture for number, picture in enumerate(pictures)})
    write_parquet(tmp_path / "tables/train-0.parquet", encoded(folder), [number // 6 for number in range(12)], ("0", "1"))
    for config in (
        IngestConfig(source="folder", uri=str(folder)),
        IngestConfig(source="parquet", uri=str(tmp_path / "tables")),
        IngestConfig(source="digits"),
    ):
        items = open_source(config).read().items["train"]
        whole = read_again(config, items, 0, 12)
        assert len({content for _, content in whole}) == 12
        assert [origin for origin, _ in whole] == [
            origin for place in range(12) for origin, _ in read_again(config, items, place, place + 1)
        ]
        assert read_again(config, items, 3, 8) == whole[3:8]


def encoded(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*.png"))]
