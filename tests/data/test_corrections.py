"""A person's corrections, taken back by ingestion: found by path or place, checked against pixels and label, remembered."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bilp.data import Dataset, open_recorded, read_source
from bilp.data.alterations.corrections_file import COLUMNS
from bilp.data.source_record import open_record
from bilp.errors import DataError
from bilp.text.escaping import spreadsheet
from bilp.truth.table import open_truth

NOISE: dict[str, Any] = {"label_noise": {"kind": "symmetric", "share": 0.3}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("corrections"))


def row(dataset: Dataset, sample: int, action: str, new_label: str = "", **more: str) -> dict[str, str]:
    """What a list of suspects says of a sample, and what somebody decided."""
    index = dataset.train.index().slice(sample, 1).to_pylist()[0]
    cells = {
        "split": "train",
        "path": spreadsheet(dataset.origins("train")[sample]),
        "index": "",
        "sha256": index["sha256"],
        "given_label": spreadsheet(dataset.class_names[index["label"]]),
        "action": action,
        "new_label": new_label,
        "note": "",
    }
    return cells | more


def written(path: Path, *rows: Mapping[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
    return str(path)


def test_corrections_are_applied_to_the_labels_that_the_data_set_has_and_truth_tells_what_is_still_wrong(root: str, tmp_path: Path) -> None:
    record = read_source(NOISE, root)
    noisy, before = open_recorded(record), open_truth(record)
    assert before is not None
    wrong, right = np.flatnonzero(before.wrong).tolist(), np.flatnonzero(~before.wrong).tolist()
    mended, dropped, kept, spoiled, undecided = wrong[5], wrong[9], right[2], right[20], wrong[30]
    rows = [
        row(noisy, mended, "relabel", str(before.true_label[mended]), note="a clear case"),
        row(noisy, dropped, " Drop "),
        row(noisy, kept, "keep"),
        row(noisy, spoiled, "relabel", str((before.label[spoiled] + 1) % 10)),
        row(noisy, undecided, ""),
    ]
    file = written(tmp_path / "corrections.csv", *rows)
    again = read_source({**NOISE, "corrections": file}, root)
    dataset, after = open_recorded(again), open_truth(again)
    assert after is not None
    assert len(dataset.train) == len(noisy.train) - 1
    assert noisy.origins("train")[dropped] not in dataset.origins("train")
    assert after.errors == before.errors - 2 + 1
    stay = np.delete(np.arange(len(noisy.train)), dropped)
    assert np.array_equal(after.true_label, before.true_label[stay])
    changed = np.flatnonzero(after.label != before.label[stay])
    assert stay[changed].tolist() == sorted([mended, spoiled])
    assert dataset.test.index().equals(noisy.test.index())
    assert (
        open_record(again).lines()[1] == "4 corrections of training images applied: 2 labels replaced, 1 image dropped, 1 kept as they are"
    )
    table = open_record(again).corrections()
    assert table is not None
    found = {line["origin"]: line for line in table.to_pylist()}
    assert len(found) == 4, "what is not decided is not reviewed"
    for sample, action in ((mended, "relabel"), (kept, "keep"), (spoiled, "relabel"), (dropped, "drop")):
        line = found[noisy.origins("train")[sample]]
        assert line["action"] == action and line["given_label"] == before.label[sample]
        assert line["sample_id"] == (-1 if action == "drop" else int(np.flatnonzero(stay == sample)[0]))
    assert found[noisy.origins("train")[mended]]["note"] == "a clear case"
    assert found[noisy.origins("train")[mended]]["label"] == before.true_label[mended]
    assert open_record(record).corrections() is None


def test_without_noise_corrections_leave_no_truth_and_the_content_counts_not_the_place(root: str, tmp_path: Path) -> None:
    clean = open_recorded(read_source({}, root))
    one = written(tmp_path / "one.csv", row(clean, 7, "relabel", "3"))
    two = written(tmp_path / "two.csv", row(clean, 7, "relabel", "3"))
    kept = written(tmp_path / "kept.csv", row(clean, 7, "keep"))
    record = read_source({"corrections": one}, root)
    assert read_source({"corrections": two}, root) == record
    assert open_truth(record) is None
    assert open_recorded(record).train.labels[7] == 3
    reviewed = read_source({"corrections": kept}, root)
    assert reviewed != record and open_recorded(reviewed).fingerprint == clean.fingerprint
    table = open_record(reviewed).corrections()
    assert table is not None and table["sample_id"].to_pylist() == [7]


def test_an_image_without_a_path_is_found_by_its_place_in_the_source(root: str, tmp_path: Path) -> None:
    clean = open_recorded(read_source({}, root))
    place = int(clean.origins("train")[11].removeprefix("digits/"))
    assert place != 11, "some images before it are held out"
    file = written(tmp_path / "a.csv", row(clean, 11, "relabel", "3", path="", index=str(place)))
    assert open_recorded(read_source({"corrections": file}, root)).train.labels[11] == 3
    held_out = int(clean.origins("test")[0].removeprefix("digits/"))
    for index in (str(held_out), "11", "-3", "x", "", "9" * 30):
        file = written(tmp_path / "a.csv", row(clean, 11, "relabel", "3", path="", index=index))
        with pytest.raises(DataError, match="line 2"):
            read_source({"corrections": file}, root)


def test_copies_are_corrected_one_by_one_and_know_when_their_original_is_gone(root: str, tmp_path: Path) -> None:
    settings = {"duplicates_added": {"share": 0.1, "times": 2, "jitter": 0}}
    record = read_source(settings, root)
    dataset, truth = open_recorded(record), open_truth(record)
    assert truth is not None
    copies = np.flatnonzero(truth.copy_of >= 0)
    one, original = int(copies[0]), int(truth.copy_of[copies[0]])
    other = int(copies[3])
    file = written(
        tmp_path / "a.csv", row(dataset, original, "drop"), row(dataset, other, "relabel", "9" if truth.label[other] != 9 else "8")
    )
    after = open_truth(read_source({**settings, "corrections": file}, root))
    assert after is not None
    assert after.copies == truth.copies - 2 and after.copy_of[one - 1] == -1
    kept = np.delete(np.arange(len(truth)), original)
    still = after.copy_of >= 0
    assert np.array_equal(kept[after.copy_of[still]], truth.copy_of[kept[still]])
    assert np.flatnonzero(after.wrong).tolist() == [other - 1]


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8-sig")])
def test_what_spreadsheets_save_is_read(root: str, tmp_path: Path, separator: str, encoding: str) -> None:
    """Semicolons or tabs, a mark of the encoding, Windows' ends of lines, columns in another order and more of them, spaces, empty rows."""
    clean = open_recorded(read_source({}, root))
    columns = ("action", "new_label", *(name for name in reversed(COLUMNS) if name not in ("action", "new_label")), "who; when")
    changed = row(clean, 7, "Relabel ", " 3 ", note='Größe, süß; sagt "Anna"') | {"who; when": "Anna"}
    with (tmp_path / "sheet.csv").open("w", encoding=encoding, newline="") as file:
        table = csv.DictWriter(file, columns, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        table.writeheader()
        table.writerows([changed, dict.fromkeys(columns, "")])
    record = read_source({"corrections": str(tmp_path / "sheet.csv")}, root)
    assert open_recorded(record).train.labels[7] == 3
    noted = open_record(record).corrections()
    assert noted is not None and noted["note"].to_pylist() == ['Größe, süß; sagt "Anna"']


Change = Callable[[dict[str, str]], object]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda cells: cells.update(sha256="0" * 64), "line 3: the pixels of digits/.* are others than sha256 says .*look at it again"),
        (lambda cells: cells.update(sha256=""), "line 3: the pixels of"),
        (lambda cells: cells.update(given_label="ten"), "line 3: given_label is 'ten', and digits/.* is labeled"),
        (lambda cells: cells.update(action="delete"), "line 3: action 'delete' is none: give keep, drop, relabel"),
        (lambda cells: cells.update(action="relabel"), "line 3: new_label '' is no class: give one of '0'"),
        (lambda cells: cells.update(action="relabel", new_label="10"), "line 3: new_label '10' is no class"),
        (lambda cells: cells.update(path="digits/9999"), "line 3: there is no training image called 'digits/9999'"),
        (lambda cells: cells.update(path="\x1b[31m"), r"line 3: there is no training image called '\\\\x1b\[31m'"),
        (lambda cells: cells.update(split="test"), "line 3: split is 'test': training images alone are corrected"),
        (lambda cells: cells.update(split=""), "line 3: split is ''"),
    ],
)
def test_corrections_of_something_else_are_refused_and_the_line_is_named(root: str, tmp_path: Path, change: Change, problem: str) -> None:
    clean = open_recorded(read_source({}, root))
    wrong = row(clean, 9, "drop")
    change(wrong)
    file = written(tmp_path / "a.csv", row(clean, 8, "keep"), wrong)
    with pytest.raises(DataError, match=problem) as caught:
        read_source({"corrections": file}, root)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_rows_that_contradict_each_other_are_refused_and_repeated_ones_are_not(root: str, tmp_path: Path) -> None:
    clean = open_recorded(read_source({}, root))
    same = (row(clean, 4, "drop"), row(clean, 5, ""), row(clean, 4, "drop", note="again"))
    assert len(open_recorded(read_source({"corrections": written(tmp_path / "a.csv", *same)}, root)).train) == len(clean.train) - 1
    with pytest.raises(DataError, match="line 4 decides otherwise than line 2 about the same image"):
        read_source({"corrections": written(tmp_path / "b.csv", *same[:2], row(clean, 4, "keep"))}, root)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no column 'split', 'path', "),
        (b"split,path,index,sha256,given_label,action,note\n", "has no column 'new_label': corrections have split, path"),
        (b"split,path,index,sha256,given_label,action,new_label,note\ntrain,x\n", "line 2 has 2 cells, its head 8: correct it"),
        (b"split,path,index,sha256,given_label,action,new_label,note\n\xff", "cannot be read as CSV in UTF-8: save it as .* CSV UTF-8"),
        (b'split,path,index,sha256,given_label,action,new_label,note\n"train', "cannot be read as CSV in UTF-8: unexpected end of data"),
    ],
)
def test_a_file_that_is_no_table_of_corrections_is_refused(root: str, tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        read_source({"corrections": str(tmp_path / "a.csv")}, root)
    assert "\n" not in str(caught.value) and "a.csv" in str(caught.value)


def test_names_that_begin_like_formulas_are_found_as_spreadsheets_have_them(tmp_path: Path, pixels: Callable[..., np.ndarray]) -> None:
    for number, name in enumerate(f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in ("=cat", "-dog") for i in range(3)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(5, 4, seed=number)).save(path)
    base, store = {"source": "folder", "uri": str(tmp_path / "photos")}, str(tmp_path / "store")
    clean = open_recorded(read_source(base, store))
    first = int(torch.nonzero(clean.train.labels == clean.class_names.index("=cat"))[0])
    cells = row(clean, first, "relabel", "'-dog", extra="ignored")
    assert cells["given_label"] == "'=cat"
    file = written(tmp_path / "a.csv", cells, columns=("extra", *reversed(COLUMNS)))
    corrected = open_recorded(read_source({**base, "corrections": file}, store))
    assert corrected.train.labels[first] == clean.class_names.index("-dog")


def test_a_name_that_looks_like_what_a_spreadsheet_has_for_another_is_told_apart(tmp_path: Path, pixels: Callable[..., np.ndarray]) -> None:
    """Images are equal in both classes, so that names alone tell them apart, which hold a letter that spreadsheets are not given."""
    for split in ("train", "test"):
        for kind in ("=cat", "'=cat"):
            for number in range(3):
                path = tmp_path / "photos" / split / kind / f"a\u202e{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels(5, 4, seed=number + 3 * (split == "test"))).save(path)
    base, store = {"source": "folder", "uri": str(tmp_path / "photos")}, str(tmp_path / "store")
    clean = open_recorded(read_source(base, store))
    for label, name in enumerate(clean.class_names):
        sample = int(torch.nonzero(clean.train.labels == label)[1])
        file = written(tmp_path / "a.csv", row(clean, sample, "relabel", spreadsheet(clean.class_names[1 - label])))
        corrected = open_recorded(read_source({**base, "corrections": file}, store))
        changed = torch.nonzero(corrected.train.labels != clean.train.labels).flatten().tolist()
        assert changed == [sample], name


def test_rows_about_images_that_are_held_out_here_change_nothing(root: str, tmp_path: Path) -> None:
    """A list of suspects may rank images that another division of the same source tests on."""
    most, half = ({"source": "digits", "test_fraction": share} for share in (1e-6, 0.5))
    listed, divided = (open_recorded(read_source(settings, root)) for settings in (most, half))
    there = set(divided.origins("train"))
    kept, out = (next(i for i, name in enumerate(listed.origins("train")) if (name in there) is inside) for inside in (True, False))
    file = written(tmp_path / "a.csv", row(listed, kept, "drop"), row(listed, out, "drop"))
    corrected = open_recorded(read_source({**half, "corrections": file}, root))
    assert len(corrected.train) == len(divided.train) - 1 and len(corrected.test) == len(divided.test)
    assert listed.origins("train")[kept] not in corrected.origins("train")
    unknown = written(tmp_path / "b.csv", row(listed, out, "drop", path="digits/9999"))
    with pytest.raises(DataError, match="no training image called 'digits/9999'"):
        read_source({**half, "corrections": unknown}, root)
