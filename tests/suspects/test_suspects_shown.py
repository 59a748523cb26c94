"""Hostile names of files and classes in the CSV, on the page and on the contact sheet, and batches for few images."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bilp.config import ScoreConfig
from bilp.config.suspects import LABEL_SCORES
from bilp.suspects.contact_sheet import SIDE, _class, _drawable, _fitting, contact_sheet
from bilp.suspects.csv_files import write_corrections, write_list
from bilp.suspects.fitting import fitted
from bilp.suspects.suspects_page import page
from bilp.suspects.worst import Suspect

NAMES = ["<script>alert(1)</script>", "=HYPERLINK(1)", "\u732b", "a\nb\u202e", "x" * 300]


def suspect(name: str, number: int, shape: tuple[int, int, int] = (1, 8, 8)) -> Suspect:
    image = np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(np.uint8)
    return Suspect(number + 1, number, f"{name}/1.png", name, number, name, number, 0.25, True, number == 0, image, np.array([2.0, 1.0]))


def test_pages_show_names_as_text() -> None:
    facts = {"estimated_errors": 3, "samples": 10, "trials": 1, "epochs": 2}
    text = page(NAMES[0], [suspect(name, number) for number, name in enumerate(NAMES)], facts, LABEL_SCORES["aum"], "0" * 16)
    assert "<script>" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;/1.png" in text
    assert "\u732b" in text and "\u202e" not in text and "a\\nb\\u202e" in text
    assert text.count("<svg") == len(NAMES) and "has duplicates" in text


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 48), (3, 500, 100)])
def test_sheets_hold_any_picture_and_name(shape: tuple[int, int, int]) -> None:
    one = contact_sheet("\u732b", [suspect(name, number, shape) for number, name in enumerate(NAMES)])
    assert one == contact_sheet("\u732b", [suspect(name, number, shape) for number, name in enumerate(NAMES)])
    with Image.open(io.BytesIO(one)) as sheet:
        assert sheet.height > SIDE
        assert len(sheet.getcolors(2**20) or ()) > 10
    assert Image.open(io.BytesIO(contact_sheet("none", []))).width > 0


def test_letters_that_the_font_lacks_are_replaced() -> None:
    assert (_class("\u732b", 4), _class("Pok\u00e9mon", 1), _class("why?", 2)) == ("class 4", "Pokemon", "why?")
    assert _drawable("\u732b/1.png") == "?/1.png"
    assert _drawable("Stra\u00dfe/\u00dcbung \u0142.png") == "Strasse/Ubung l.png"
    assert _fitting("abc/" * 40 + "last.png", 120, tail=True).endswith("last.png")


def test_cells_are_no_formulas(tmp_path: Path) -> None:
    columns = {
        "sample_id": [0, 1],
        "path": NAMES[1:3],
        "sha256": ["a", "b"],
        "given_label": NAMES[1:3],
        "predicted_label": ["+1", "two"],
        "label_score": [0.25, None],
        "reviewed": [False, True],
    }
    table = pa.table(columns)
    write_list(tmp_path / "list.csv", table)
    write_corrections(tmp_path / "corrections.csv", table, 2)
    texts = [(tmp_path / name).read_text(encoding="utf-8") for name in ("list.csv", "corrections.csv")]
    listed, corrections = (list(csv.DictReader(io.StringIO(text))) for text in texts)
    assert listed[0]["path"] == "'=HYPERLINK(1)" and listed[0]["predicted_label"] == "'+1"
    assert (listed[1]["path"], listed[1]["label_score"], listed[1]["reviewed"]) == ("\u732b", "", "true")
    assert [(row["given_label"], row["index"], row["note"]) for row in corrections] == [
        ("'=HYPERLINK(1)", "", "networks say +1, label score 0.250")
    ]


@pytest.mark.parametrize(("samples", "batch"), [(20, 16), (600, 16), (1438, 32), (5000, 64), (50_000, 256)])
def test_few_images_are_learned_in_smaller_batches(samples: int, batch: int) -> None:
    assert fitted(ScoreConfig(), {}, samples).batch_size == batch
    assert fitted(ScoreConfig(), {"score.batch_size": "given"}, samples).batch_size == 256
    assert fitted(ScoreConfig(), None, samples).batch_size == 256
    assert fitted(ScoreConfig(batch_size=8), {}, samples).batch_size == 8
