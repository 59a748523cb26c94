"""Many objects are listed below several prefixes at the same time, and what is listed is what one chain of requests lists."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import s3fs
from hypothesis import given
from hypothesis import strategies as st

from bilp.config import IngestConfig
from bilp.data.listing import list_files
from bilp.data.sources.folder.source import ImageFolder
from bilp.storage import objects, s3, s3_listing
from bilp.storage.s3_listing import Listed

pytestmark = pytest.mark.s3

PAGE = 5


@dataclass
class Asked:
    """The listings that were asked for, and how many at the same time."""

    prefixes: list[str] = field(default_factory=list)
    now: int = 0
    most: int = 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """Pages of five objects."""
    told, call = Asked(), s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        if method != "list_objects_v2":
            return await call(self, method, *arguments, **options)
        told.prefixes.append(options["Prefix"])
        told.now += 1
        told.most = max(told.most, told.now)
        try:
            return await call(self, method, *arguments, MaxKeys=PAGE, **options)
        finally:
            told.now -= 1

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    yield told


def test_folders_of_classes_are_listed_side_by_side(s3_root: str, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        f"{split}/c{label:02d}/{number}.png" for split, each in (("train", 7), ("test", 2)) for label in range(9) for number in range(each)
    ]
    names += ["read me.txt", "train/c00/deep/er/x.png", "train/c00.png", "train/c0\u00e9/1.png"]
    source = f"{s3_root}/photos"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: objects.write(f"{source}/{name}", name.encode()), names))
    asked.prefixes.clear()
    found = objects.objects(source)
    assert list(found) == sorted(names)
    assert {name: each.size for name, each in found.items()} == {name: len(name.encode()) for name in names}
    assert 2 < asked.most <= s3_listing.AT_ONCE
    # The first page, a page or two for the top and both splits, and for each class its pages.
    assert len(asked.prefixes) <= 1 + 1 + 2 * 3 + 10 * 2 + 9
    signature, listed = ImageFolder(IngestConfig(source="folder", uri=source)).signature(), list_files(source)
    chain = {name: each for name, each in s3._below(source.removeprefix("s3://")).items() if name}
    assert chain == found
    monkeypatch.setattr(s3, "objects", lambda path: chain)
    assert ImageFolder(IngestConfig(source="folder", uri=source)).signature() == signature, "so that a source is known again"
    assert list_files(source) == listed


def test_few_objects_take_one_request(s3_root: str, asked: Asked) -> None:
    for number in range(PAGE):
        objects.write(f"{s3_root}/few/{number}/x", b"")
    asked.prefixes.clear()
    assert list(objects.objects(f"{s3_root}/few")) == [f"{number}/x" for number in range(PAGE)]
    assert len(asked.prefixes) == 1
    assert objects.objects(f"{s3_root}/nothing") == {}


KEYS = st.lists(st.text("ab/", min_size=1, max_size=7), max_size=25, unique=True)


@given(KEYS, st.integers(1, 4))
def test_whatever_keys_there_are_each_is_listed_once(keys: list[str], page: int) -> None:
    """A store in memory, with keys that no address leads to as well."""
    import asyncio

    there = sorted(f"p/{key}" for key in keys)

    async def ask(Bucket: str, Prefix: str, Delimiter: str = "", ContinuationToken: str = "0") -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key in (key for key in there if key.startswith(Prefix)):
            head, slash, _ = key[len(Prefix) :].partition("/") if Delimiter else (key, "", "")
            shown.setdefault(Prefix + head + slash if slash else key, not slash)
        start = int(ContinuationToken)
        part = list(shown.items())[start : start + page]
        return {
            "Contents": [{"Key": key, "ETag": f"of {key}", "Size": len(key)} for key, whole in part if whole],
            "CommonPrefixes": [{"Prefix": key} for key, whole in part if not whole],
            "IsTruncated": start + page < len(shown),
            "NextContinuationToken": str(start + page),
        }

    found = asyncio.run(s3_listing.below(ask, "bucket", "p/"))
    assert found == {key[2:]: Listed(f"of {key}", len(key)) for key in there}
    assert list(found) == sorted(found)
