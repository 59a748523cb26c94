"""Digests in bytes say what a list of their texts says."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilp.artifacts import parquet
from bilp.data import digests
from bilp.data.digests import Digests
from bilp.data.store import INDEX


def texts_of(numbers: list[int]) -> list[str]:
    return [hashlib.sha256(bytes([number])).hexdigest() for number in numbers]


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_they_are_a_sequence_of_texts(numbers: list[int], start: int, stop: int) -> None:
    texts = texts_of(numbers)
    found = Digests.of(texts)
    assert list(found) == texts == pa.array(found, pa.string()).to_pylist()
    assert [found[place] for place in range(len(texts))] == texts
    assert list(found[start:stop]) == texts[start:stop]
    rows = np.arange(len(texts), dtype=np.int64)[::-1]
    assert list(found.take(rows)) == texts[::-1]
    assert list(Digests.joined([found, Digests.of(()), found[1:]])) == texts + texts[1:]
    column = pa.chunked_array([pa.array(texts, pa.string()), pa.array(["f" * 64, *texts], pa.string())[1:]], pa.string())
    assert list(Digests.of(column)) == texts + texts
    assert found.numbered().tolist() == first_met(texts)


def first_met(texts: list[str]) -> list[int]:
    known: dict[str, int] = {}
    return [known.setdefault(text, len(known)) for text in texts]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30))
def test_equal_beginnings_are_no_equal_digests(parts: list[tuple[int, int]]) -> None:
    texts = [f"{first:016x}{rest:048x}" for first, rest in parts]
    assert Digests.of(texts).numbered().tolist() == first_met(texts)


def test_many_are_read_and_told_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "CHUNK", 3)
    texts = texts_of(list(range(10)))
    assert list(Digests.of(texts)) == texts == pa.array(Digests.of(pa.array(texts)[0:]), pa.string()).to_pylist()


def test_what_is_no_digest_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        Digests.of(["abc"])


def test_a_table_of_them_has_the_bytes_of_one_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "CHUNK", 999)
    monkeypatch.setattr(parquet, "ROW_GROUP", 2500)
    count = 6000
    found = Digests(np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8))
    numbers = {"sample_id": np.arange(count), "label": np.zeros(count, dtype=np.int32)}
    tables = [pa.table({**numbers, "sha256": column}) for column in (pa.array(found, pa.string()), pa.array(list(found), pa.string()))]
    assert tables[0]["sha256"].num_chunks > tables[1]["sha256"].num_chunks == 1
    one, other = (parquet.encode(table, INDEX, {"stage": "dataset"}) for table in tables)
    assert one == other
