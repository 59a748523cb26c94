"""Several tars in object storage are indexed at the same time, and a tar of tars is; what is found is what is found one by one on disk."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from replicas.imagenet_replica import tar_of

from bilp.data import tar_indexes
from bilp.data.tar import TarIndex, opened_tar
from bilp.data.tar_indexes import Indexed, indexes
from bilp.storage import objects, ranges

pytestmark = [pytest.mark.s3, pytest.mark.slow]


def inner(number: int) -> bytes:
    return tar_of([(f"n{number:02d}_{each}.JPEG", bytes([number]) * (700 + each)) for each in range(3)] + [(f"n{number:02d}.cls", b"7")])


CLASSES = {f"n{number:02d}.tar": inner(number) for number in range(12)}
WHOLE = tar_of([*CLASSES.items(), ("readme.txt", b"read me"), ("broken.tar", inner(99)[:1700] + bytes([255]) * 400)])
NESTED = {
    "whole": WHOLE,
    "cut off in a member": WHOLE[: len(WHOLE) // 2],
    "cut off at a header": WHOLE[: 512 + len(CLASSES["n00.tar"])],
    "compressed": gzip.compress(WHOLE),
    "empty": b"",
}


class Reads:
    """How many requests there were, how many bytes they asked for, and how many were made at the same time."""

    def __init__(self) -> None:
        self.count = self.size = self.now = self.most = 0
        self.lock = threading.Lock()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    """Small requests, which are counted."""
    told, span = Reads(), objects.span

    def counted(uri: str, start: int, stop: int, stamp: str) -> bytes:
        with told.lock:
            told.count, told.size, told.now = told.count + 1, told.size + stop - start, told.now + 1
            told.most = max(told.most, told.now)
        try:
            return span(uri, start, stop, stamp)
        finally:
            with told.lock:
                told.now -= 1

    monkeypatch.setattr(ranges.objects, "span", counted)
    monkeypatch.setattr("bilp.data.tar.AHEAD", 4096)
    monkeypatch.setattr(tar_indexes, "HEADERS", 512)
    yield told


def one_by_one(place: Path, **options: Any) -> Indexed:
    with opened_tar(str(place)) as file:
        found = TarIndex(file, **options)
        return Indexed(list(found), found.problems, found.cut)


def is_label(name: str) -> bool:
    return name.endswith(".cls")


def test_several_are_read_side_by_side_in_their_order(s3_root: str, tmp_path: Path, reads: Reads) -> None:
    contents = {**CLASSES, "cut.tar": CLASSES["n03.tar"][:1500], "packed.tar.gz": gzip.compress(CLASSES["n04.tar"])}
    for name, content in contents.items():
        objects.write(f"{s3_root}/{name}", content)
        (tmp_path / name).write_bytes(content)
    found = list(indexes(s3_root, list(contents), content_of=is_label))
    assert found == [one_by_one(tmp_path / name, content_of=is_label) for name in contents]
    assert found == list(indexes(str(tmp_path), list(contents), content_of=is_label))
    assert 1 < reads.most <= tar_indexes.AT_ONCE
    assert found[0].members[3].content == b"7" and found[-2].cut


@pytest.mark.parametrize("kind", NESTED)
def test_inner_tars_are_read_side_by_side(s3_root: str, tmp_path: Path, reads: Reads, kind: str) -> None:
    objects.write(f"{s3_root}/outer.tar", NESTED[kind])
    (tmp_path / "outer.tar").write_bytes(NESTED[kind])
    (found,) = indexes(s3_root, ["outer.tar"], nested=True, content_of=is_label)
    assert found == one_by_one(tmp_path / "outer.tar", nested=True, content_of=is_label)
    if kind == "whole":
        assert len(found.members) == 12 * 4 + 1 + 1 and len(found.problems) == 1
        assert reads.most > 1
    assert found.cut == (kind in ("cut off in a member", "cut off at a header", "empty"))
