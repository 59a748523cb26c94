"""Files of labels are read strictly, and every error names the file and its line."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from scipy.io import savemat

from bilp.data import label_files as labels
from bilp.errors import DataError


def rows(found: Iterable[labels.Row]) -> list[dict[str, str]]:
    return [row.fields for row in found]


def test_tables_are_read_by_the_names_of_their_columns() -> None:
    text = 'label,youtube_id,time_start,extra\r\n"play, then rest",-abc_1,12,x\r\n\r\nyoga,b,0,\r\n'
    found = list(labels.table(text, "train.csv", ("youtube_id", "label"), ("extra", "split")))
    assert rows(found) == [
        {"youtube_id": "-abc_1", "label": "play, then rest", "extra": "x"},
        {"youtube_id": "b", "label": "yoga", "extra": ""},
    ]
    assert [row.where for row in found] == ["train.csv line 2", "train.csv line 4"]


def test_lists_are_separated_from_the_end_that_has_no_blanks() -> None:
    assert rows(labels.named_last("abseiling/a b.mp4 0\nc.mp4,17\n", "list.txt", ("path", "label"))) == [
        {"path": "abseiling/a b.mp4", "label": "0"},
        {"path": "c.mp4", "label": "17"},
    ]
    assert rows(labels.named_first("n01440764 tench, Tinca tinca\nn2\tgold fish\n", "words.txt", ("wnid", "names"))) == [
        {"wnid": "n01440764", "names": "tench, Tinca tinca"},
        {"wnid": "n2", "names": "gold fish"},
    ]
    assert rows(labels.fields("val_0.JPEG\tn1\t0\t1\n", "val.txt", ("file", "wnid", "x", "y"), "\t")) == [
        {"file": "val_0.JPEG", "wnid": "n1", "x": "0", "y": "1"}
    ]
    assert labels.numbers("3\r\n\r\n1000\n", "truth.txt") == [3, 1000]


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (lambda: list(labels.table("a,b\n1,2\n3\n", "f.csv", ("a",))), r"f.csv line 3: has 1 fields, the header 2"),
        (lambda: list(labels.table("a,b\n1,2\n", "f.csv", ("a", "c"))), r"f.csv line 1: no column c: expected a,c, found a,b"),
        (lambda: list(labels.table('a,b\n1,"2\n', "f.csv", ("a",))), r"f.csv line 2: is no CSV"),
        (lambda: list(labels.table("", "f.csv", ("a",))), r"f.csv line 1: no column a"),
        (lambda: list(labels.fields("a b\n\na\n", "f.txt", ("x", "y"))), r"f.txt line 3: has 1 fields, expected 2 \(x, y\)"),
        (lambda: list(labels.named_last("a.mp4\n", "f.txt", ("path", "label"))), r"f.txt line 1: has 1 fields"),
        (lambda: list(labels.named_first("n01\n", "f.txt", ("wnid", "names"))), r"f.txt line 1: has one word"),
        (lambda: labels.numbers("1\n2.5\n", "f.txt"), r"f.txt line 2: the line is '2.5', which is no integer"),
        (lambda: labels.text_of(b"good\n\xff\n", "f.txt"), r"f.txt line 2: is no UTF-8 text"),
        (lambda: labels.json_value(b'{"a": 1', "f.json"), r"f.json.*cannot be read as JSON"),
        (lambda: labels.json_value(b'{"a": 1, "a": 2}', "f.json"), r"f.json.*cannot be read as JSON"),
        (lambda: labels.ilsvrc_ids(b"MATLAB 5.0", "meta.mat"), r"meta.mat: is no table of synsets"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_and_line(read: Callable[[], object], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read()


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert labels.text_of(b"\xef\xbb\xbfa,b\n", "f.csv") == "a,b\n"
    assert labels.json_value(b"\xef\xbb\xbf[1]", "f.json") == [1]


def test_synsets_with_children_have_no_ilsvrc_id_of_images() -> None:
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    table = np.array([(1, "n02119789", 0), (2, "n01440764", 0), (1001, "n00001740", 2)], dtype=kinds)
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": table.reshape(-1, 1)})
    assert labels.ilsvrc_ids(buffer.getvalue(), "meta.mat") == {1: "n02119789", 2: "n01440764"}
