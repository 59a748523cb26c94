"""Listing many objects of S3: page after page below each of several prefixes at the same time, where one listing is a chain of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

Ask = Callable[..., Awaitable[Any]]
"""The answer to `list_objects_v2` with these arguments."""

AT_ONCE = 8
"""Requests at the same time; the client has ten connections."""
LEVELS = 3
"""Folders within folders that are looked through for enough of them."""


class Listed(NamedTuple):
    """What a listing says of an object."""

    stamp: str
    """Its ETag, or the time of its last change from a store that gives none."""
    size: int


async def below(ask: Ask, bucket: str, prefix: str) -> dict[str, Listed]:
    """Every object whose key begins with a prefix that ends with a slash, or is empty, by the rest of its key, sorted by it.

    One request for at most a thousand objects. Of more, folders are listed several at a time, which costs a request for each level of
    them and for each page of a folder that is not full.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def page(**options: Any) -> Any:
        async with gate:
            return await ask(Bucket=bucket, **options)

    first = await page(Prefix=prefix)
    found = _contents(first, prefix)
    if first.get("IsTruncated"):
        folders = [prefix]
        for _ in range(LEVELS):
            levels = await asyncio.gather(*(_all_pages(page, folder, Delimiter="/") for folder in folders))
            folders = [folder for answers in levels for answer in answers for folder in _folders(answer)]
            for answer in (answer for answers in levels for answer in answers):
                found |= _contents(answer, prefix)
            if len(folders) >= AT_ONCE:
                break
        for answers in await asyncio.gather(*(_all_pages(page, folder) for folder in folders)):
            for answer in answers:
                found |= _contents(answer, prefix)
    return {name: found[name] for name in sorted(found)}


async def _all_pages(page: Ask, prefix: str, **options: Any) -> list[Any]:
    answers = [await page(Prefix=prefix, **options)]
    while answers[-1].get("IsTruncated"):
        answers.append(await page(Prefix=prefix, ContinuationToken=answers[-1]["NextContinuationToken"], **options))
    return answers


def _folders(answer: Any) -> list[str]:
    return [each["Prefix"] for each in answer.get("CommonPrefixes") or ()]


def _contents(answer: Any, prefix: str) -> dict[str, Listed]:
    return {
        each["Key"].removeprefix(prefix): Listed(str(each.get("ETag") or each.get("LastModified")), int(each["Size"]))
        for each in answer.get("Contents") or ()
        if each["Key"] != prefix
    }
