"""The small set that a study of real images is computed on: the first images of each class, as they are in the files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.methods.fewer import main


def files(folder: Path) -> Path:
    """Two files of training images with three classes, and one of test images; an image is a name."""
    folder.mkdir()
    for name, labels in (
        ("train-00000-of-00002", [1, 1, 0, 1]),
        ("train-00001-of-00002", [2, 0, 2, 0]),
        ("test-00000-of-00001", [2, 1, 0, 0]),
    ):
        table = pa.table({"img": [f"{name[:11]} {row}" for row in range(4)], "label": labels})
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def test_the_first_images_of_each_class_are_taken_with_their_columns(tmp_path: Path) -> None:
    target = tmp_path / "small"
    assert main([str(files(tmp_path / "all")), str(target), "--train", "2", "--test", "1"]) == 0
    train, test = (pq.read_table(target / f"{split}-00000-of-00001.parquet").to_pydict() for split in ("train", "test"))
    first, second = "train-00000", "train-00001"
    assert train == {
        "img": [f"{first} 0", f"{first} 1", f"{first} 2", f"{second} 0", f"{second} 1", f"{second} 2"],
        "label": [1, 1, 0, 2, 0, 2],
    }
    assert test == {"img": ["test-00000- 0", "test-00000- 1", "test-00000- 2"], "label": [2, 1, 0]}


@pytest.mark.parametrize(("change", "reason"), [(["--train", "3"], "class"), (["--test", "2"], "class"), ([], "no test-*.parquet")])
def test_what_cannot_be_balanced_is_refused_before_anything_is_written(
    change: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = files(tmp_path / "all"), tmp_path / "small"
    if not change:
        (source / "test-00000-of-00001.parquet").unlink()
    assert main([str(source), str(target), *(change or ["--train", "2"]), *([] if "--test" in change else ["--test", "1"])]) == 2
    assert reason in capsys.readouterr().err
    assert not target.exists()
