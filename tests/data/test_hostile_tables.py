"""Hostile Parquet sources: one clear error each, or what is odd in them is spelled out; nothing ends in a traceback or ends the process."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bilp.config import IngestConfig
from bilp.data import open_recorded, read_source
from bilp.data.sources.parquet import tables
from bilp.errors import BilpError, DataError


def picture(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


PICTURES = [picture(seed) for seed in range(12)]
LABELS = pa.array([0, 1] * 6)
KIND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
COLUMN = pa.array([{"bytes": data, "path": None} for data in PICTURES], KIND)


def table(labels: Any = LABELS, images: Any = COLUMN, metadata: str | bytes | None = None) -> pa.Table:
    made = pa.table({"image": images, "label": labels})
    return made if metadata is None else made.replace_schema_metadata({"huggingface": metadata})


def named(*names: Any) -> str:
    return json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}}})


def written(made: pa.Table, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(made, stream, **options)
    return stream.getvalue()


def images(*first: Any) -> pa.Array:
    return pa.array([*first, *({"bytes": data, "path": None} for data in PICTURES[len(first) :])], KIND)


def repeated(rows: int) -> bytes:
    """One picture and one label in every row, which takes no room."""
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array(PICTURES[:1], pa.binary()))
    return written(table(pa.array(np.zeros(rows, dtype=np.int8)), one), row_group_size=rows)


WHOLE = written(table())
FOOTER = struct.unpack("<I", WHOLE[-8:-4])[0]

REFUSED: dict[str, tuple[pa.Table | bytes | Callable[[], bytes], str]] = {
    "metadata nested 20,000 deep": (table(metadata="[" * 20_000 + "]" * 20_000), "nested too deep"),
    "features nested 20,000 deep": (table(metadata='{"info":{"features":' + '{"a":' * 20_000 + "1" + "}" * 20_002), "nested too deep"),
    "labels beyond the names": (table(pa.array([0, 5] * 6), metadata=named("a", "b")), r"label 5 of row 1 is outside 0..1"),
    "negative labels": (table(pa.array([0, -1] * 6)), "label -1 of row 1"),
    "null labels": (table(pa.array([0, None] * 6)), "row 1 has no label"),
    "labels of null alone": (table(pa.nulls(12)), "rows have no label"),
    "labels that are NaN": (table(pa.array([0.0, float("nan")] * 6)), "row 1 has no label"),
    "labels that are infinite": (table(pa.array([0.0, float("inf")] * 6)), "not all are integers"),
    "labels of 1e300": (table(pa.array([0.0, 1e300] * 6)), "not all are integers"),
    "labels beyond int64": (table(pa.array([0, 2**64 - 1] * 6, pa.uint64())), "beyond the largest integer"),
    "labels of 50 digits": (table(pa.array(["9" * 50, "1"] * 6).cast(pa.decimal256(60, 0))), "not all are integers"),
    "labels that are times": (table(LABELS.cast(pa.timestamp("us"))), "use integers or strings"),
    "labels that are lists": (table(pa.array([[0]] * 12)), "lists"),
    "labels that are no text": (table(pa.array([b"\xff", b"b"] * 6)), "not all text in UTF-8"),
    "labels that look the same": (table(pa.array(["caf\u00e9", "cafe\u0301"] * 6)), "duplicate class names"),
    "a name without letters": (table(metadata=named("", "b")), "the name of a class is blank"),
    "a name of a million letters": (table(metadata=named("x" * 10**6, "b")), "the name of a class has 1,000,000 characters"),
    "no image": (table(images=images(None)), "#0: the row holds no bytes"),
    "an empty image": (table(images=images({"bytes": b"", "path": None})), "#0: empty file"),
    "a path in place of an image": (
        table(images=images({"bytes": None, "path": "../etc/passwd\0\x1b[31m"})),
        r"#0: the row holds no bytes, only the path \.\./etc/passwd\\x00\\x1b\[31m",
    ),
    "paths alone": (table(images=pa.array([{"bytes": None, "path": "x.png"}] * 12, KIND)), "holds no images, only where they were"),
    "lists of images": (table(images=pa.array([[data] for data in PICTURES])), "lists of images"),
    "arrays of numbers": (table(images=pa.array([[[[1, 2, 3]]]] * 12)), "arrays of numbers"),
    "an image twice": (pa.table([COLUMN, COLUMN, LABELS], names=["image", "image", "label"]), "more than once"),
    "no columns": (pa.table({}), "no training images"),
    "no rows": (table().slice(0, 0), "holds no rows"),
    "3 million rows in a few kB": (partial(repeated, 3_000_000), r"claims 3,000,000 rows in a file of [\d,]+ bytes"),
    "300 MB in a few kB": (
        lambda: written(table(pa.array([0, 1]), pa.array([bytes(15 * 10**7)] * 2)), compression="zstd", use_dictionary=False),
        r"claims 300,[\d,]+ bytes in a file of [\d,]+",
    ),
    "nothing": (b"", "is empty"),
    "magic alone": (b"PAR1PAR1", "not a readable Parquet file"),
    "a footer of 2 GB": (b"PAR1" + bytes(20) + struct.pack("<I", 2**31) + b"PAR1", "not a readable Parquet file"),
    "a footer of nothing": (b"PAR1" + bytes(20) + struct.pack("<I", 0) + b"PAR1", "not a readable Parquet file"),
    "cut off": (WHOLE[: len(WHOLE) // 2], "is cut off"),
    "encrypted": (WHOLE[:-4] + b"PARE", "cut off|not a readable"),
    "a web page": (b"<html></html>", "is a web page"),
}

HEAVY = ("300 MB in a few kB",)

TAKEN: dict[str, tuple[pa.Table, tuple[str, ...]]] = {
    "names with NUL and other control characters": (table(metadata=named("a\0b", "\x1b[31mred\n")), ("a\\x00b", "\\x1b[31mred\\n")),
    "names that are no text": (table(metadata=named("\ud800", "b")), ("\\ud800", "b")),
    "names that are no names": (table(metadata=named(None, ["x"])), ("0", "1")),
    "names that are truth values": (table(metadata=named(True, False)), ("0", "1")),
    "metadata that are no JSON": (table(metadata=b"\xff\xfe{"), ("0", "1")),
    "metadata with a number of 10,000 digits": (table(metadata='{"info":{"features":' + "9" * 10_000 + "}}"), ("0", "1")),
    "labels with NUL": (table(pa.array(["a\0", "b"] * 6)), ("a\\x00", "b")),
    "images with paths that are numbers": (table(images=pa.array([{"bytes": data, "path": 1} for data in PICTURES])), ("0", "1")),
}


def source(content: pa.Table | bytes | Callable[[], bytes], folder: Path) -> IngestConfig:
    folder.mkdir(parents=True)
    data = content() if callable(content) else content
    (folder / "train-0.parquet").write_bytes(data if isinstance(data, bytes) else written(data))
    return IngestConfig(source="parquet", uri=str(folder))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in REFUSED])
def test_one_clear_error(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as caught:
        read_source(source(content, tmp_path / "tiny"), str(tmp_path / "store"))
    assert "\x1b" not in str(caught.value) and "\0" not in str(caught.value)


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_odd_is_spelled_out(name: str, tmp_path: Path) -> None:
    content, classes = TAKEN[name]
    assert open_recorded(read_source(source(content, tmp_path / "tiny"), str(tmp_path / "store"))).class_names == classes


def test_damage_anywhere_is_an_error_or_changes_nothing_that_is_read(tmp_path: Path) -> None:
    """Some damage of the footer made the library end the process, when it was asked about single columns."""
    draw = np.random.default_rng(5)
    refused = 0
    for number in range(60):
        content = bytearray(WHOLE)
        start = len(content) - 8 - FOOTER if number % 2 else 4
        for place in draw.integers(start, len(content) - 8, 2):
            content[place] = draw.integers(256)
        try:
            record = read_source(source(bytes(content), tmp_path / f"tiny-{number}"), str(tmp_path / "store"))
        except BilpError:
            refused += 1
        else:
            assert len(open_recorded(record).class_names) <= 12
    assert refused > 30


def test_a_footer_that_would_end_the_process(tmp_path: Path) -> None:
    """Damage to the statistics of sizes: asking the footer about that column is fatal, reading it is not."""
    for place in range(len(WHOLE) - 8 - FOOTER, len(WHOLE) - 8, 9):
        content = bytearray(WHOLE)
        content[place] ^= 0x21
        try:
            found = tables.open_table("tiny", str(_file(bytes(content), tmp_path)))
            list(found.batches("image", 5))
        except BilpError:
            continue


def _file(content: bytes, folder: Path) -> Path:
    (folder / "damaged.parquet").write_bytes(content)
    return folder / "damaged.parquet"


def test_large_rows_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_BYTES", 3 * len(PICTURES[0]) + 100)
    found = tables.open_table("tiny", str(_file(written(table(), row_group_size=7, use_dictionary=False), tmp_path)))
    pieces = list(found.batches("image", 64))
    assert max(map(len, pieces)) <= 3
    assert [row["bytes"] for piece in pieces for row in piece.to_pylist()] == PICTURES
