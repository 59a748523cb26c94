"""The client behind `bilp.storage.s3`: one per process, with a look at whether what answers is S3 at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import s3fs
from aiobotocore.httpsession import AIOHTTPSession  # type: ignore[import-untyped]
from fsspec.asyn import sync, sync_wrapper
from s3fs.core import _error_wrapper

from bilp.storage.backend import bounded
from bilp.storage.s3_errors import client_settings, error_code
from bilp.storage.s3_listing import Listed, below
from bilp.storage.uris import refuse_secret

MOST_CLIENTS = 4
PIECE = 32 << 20
"""Bytes of a large object that one request asks for."""
PIECES_AT_ONCE = 4
"""Of one object; the client has ten connections for all of them."""
_BLOCK = 1 << 20

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_WITH_ETAG = ("head_object", "get_object", "put_object")
_IN_A_LISTING = ("IsTruncated", "Name", "MaxKeys", "KeyCount")

_clients: dict[tuple[int, tuple[tuple[str, str], ...]], Files] = {}


class NotS3(OSError):
    """An answer that S3 never gives: something between here and the store, or in its place, gave it."""


class NoPieces(Exception):
    """A part of an object was asked for, and something else came."""


class _Direct(AIOHTTPSession):  # type: ignore[misc]
    """Connections that lead to nobody but whom a request is for: a redirection would take content and temporary keys to any host."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _WithoutRedirections(await super()._get_session(proxy_url))

    async def send(self, request: Any) -> Any:
        """As before. Of redirections, S3 itself names the region of the bucket; the client would ask everybody else for it without end."""
        answer = await super().send(request)
        if 300 <= answer.status_code < 400 and "x-amz-bucket-region" not in answer.headers:
            raise NotS3(f"the answer is a redirection to another address ({answer.status_code})")
        return answer


class _WithoutRedirections:
    def __init__(self, session: Any) -> None:
        self.session = session

    def request(self, method: str, **options: Any) -> Any:
        """As of aiohttp's session, which would follow them."""
        return self.session.request(method, allow_redirects=False, **options)


class Files(s3fs.S3FileSystem):  # type: ignore[misc]
    """s3fs, which takes every answer with a good status for the store's: the page of a network that wants a login, too."""

    async def _call_s3(self, method: str, *arguments: Any, **options: Any) -> Any:
        answer = await super()._call_s3(method, *arguments, **options)
        if method in _WITH_ETAG and not answer.get("ETag"):
            raise NotS3(f"the answer to {method} has no ETag")
        if method == "get_object" and "Range" not in options and answer.get("ContentRange"):
            raise NotS3("a part of the object came where the whole was asked for")
        if method == "list_objects_v2":
            if not any(name in answer for name in _IN_A_LISTING):
                raise NotS3("the answer to a request for a listing is none")
            if answer.get("IsTruncated") and answer.get("NextContinuationToken") in (None, options.get("ContinuationToken")):
                raise NotS3("the listing has no end: its next page is the same one")
        return answer

    call_s3 = sync_wrapper(_call_s3)

    async def _whole(self, path: str, most: int | None) -> tuple[bytes, str]:
        """Content and ETag by one request: several parallel ranges could come from two versions of the object."""
        bucket, key, _ = self.split_path(path)

        async def ask() -> tuple[bytes, str]:
            answer = await self._call_s3("get_object", Bucket=bucket, Key=key)
            try:
                bounded(int(answer.get("ContentLength") or 0), most)
                return await answer["Body"].read(), str(answer["ETag"])
            finally:
                answer["Body"].close()

        found: tuple[bytes, str] = await _error_wrapper(ask, retries=self.retries)
        return found

    async def _span(self, path: str, start: int, stop: int, stamp: str) -> bytes:
        """Bytes `start` to `stop` by one request that is refused if the object's ETag is another one by now."""
        bucket, key, _ = self.split_path(path)

        async def ask() -> bytes:
            answer = await self._call_s3("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", IfMatch=stamp)
            try:
                content: bytes = await answer["Body"].read()
            finally:
                answer["Body"].close()
            if str(answer["ETag"]) != stamp:
                raise OSError("it was replaced while it was read")
            if not str(answer.get("ContentRange", "")).startswith(f"bytes {start}-{start + len(content) - 1}/"):
                raise NotS3("another part of the object came than was asked for")
            return content

        found: bytes = await _error_wrapper(ask, retries=self.retries)
        return found

    def span(self, path: str, start: int, stop: int, stamp: str) -> bytes:
        """As `_span`, for threads that know nothing of the client's event loop."""
        found: bytes = sync(self.loop, self._span, path, start, stop, stamp)
        return found

    def whole(self, path: str, most: int | None = None) -> tuple[bytes, str]:
        """As `_whole`, for threads that know nothing of the client's event loop."""
        found: tuple[bytes, str] = sync(self.loop, self._whole, path, most)
        return found

    def listed(self, path: str) -> dict[str, Listed]:
        """Every object below a path by the rest of its key, as `bilp.storage.s3_listing.below`."""
        bucket, key, _ = self.split_path(path)

        async def ask(**options: Any) -> Any:
            return await self._call_s3("list_objects_v2", **options)

        found: dict[str, Listed] = sync(self.loop, below, ask, bucket, f"{key}/" if key else "")
        return found

    async def _pieces(self, path: str, target: Path, size: int) -> None:
        """Fill a local file from several requests at the same time, each for PIECE bytes at most, which never are in memory as a whole."""
        bucket, key, _ = self.split_path(path)
        gate, stamps = asyncio.Semaphore(PIECES_AT_ONCE), set()

        async def fetch(start: int, stop: int, file: BinaryIO) -> None:
            async def ask() -> None:
                answer = await self._call_s3("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
                try:
                    stamps.add(str(answer["ETag"]))
                    if answer.get("ContentRange") != f"bytes {start}-{stop - 1}/{size}" or len(stamps) > 1:
                        raise NoPieces(path)
                    await _pour(answer["Body"], file.fileno(), start, stop)
                finally:
                    answer["Body"].close()

            async with gate:
                try:
                    await _error_wrapper(ask, retries=self.retries)
                except OSError as error:
                    if error_code(error) in ("InvalidRange", "416"):  # it is shorter
                        raise NoPieces(path) from error
                    raise

        with target.open("wb") as file:
            file.truncate(size)
            tasks = [asyncio.ensure_future(fetch(start, min(start + PIECE, size), file)) for start in range(0, size, PIECE)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)  # none writes into a file that is closed

    def pieces(self, path: str, target: Path, size: int) -> None:
        """Fetch an object of `size` bytes in pieces. Raises NoPieces if it has another size, or they are not all of one object."""
        sync(self.loop, self._pieces, path, target, size)


async def _pour(body: Any, descriptor: int, start: int, stop: int) -> None:
    """Write what arrives at its place in a file."""
    place = start
    while block := await body.read(_BLOCK):
        os.pwrite(descriptor, block, place)
        place += len(block)
    if place != stop:
        raise NoPieces(f"{place - start} bytes arrived of {stop - start}")


def files() -> Files:
    """One client per process, shared by its threads; a new one after a fork or when the AWS_* variables change."""
    prepare_environment()
    client = _clients.get(_key())
    if client is None:
        if len(_clients) >= MOST_CLIENTS:
            _clients.clear()
        client = _clients.setdefault(_key(), _new_client())  # it connects when it is used, so a spare one costs nothing
    return client


def reconnect() -> bool:
    """Let the next request take a new connection, and not one of those over which something strange came."""
    old = _clients.pop(_key(), None)
    if old is not None:
        _clients[_key()] = _new_client(old.session)  # which has read what describes the protocol, and found the credentials
    return True


def endpoint() -> str | None:
    """Where the store is, if not at AWS. Raises ImpossibleUri, with nothing of it, if the variable holds a login."""
    for name in _ENDPOINTS:
        if os.environ.get(name):
            return refuse_secret(os.environ[name], name)
    return None


def prepare_environment() -> None:
    """Defaults for what the user did not set; they also reach child processes and other S3 clients in this one."""
    os.environ.setdefault("AWS_RETRY_MODE", "standard")
    if "AWS_REGION" in os.environ:  # set by several platforms, but botocore reads only the other name
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
    host = urlsplit(endpoint() or "https://amazonaws.com").hostname or ""
    if not host.endswith(("amazonaws.com", "amazonaws.com.cn")):
        # Servers older than 2025 do not know the checksums that clients send since then.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        # Without credentials the client would wait for a metadata service that exists only inside AWS.
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")


def _key() -> tuple[int, tuple[tuple[str, str], ...]]:
    return os.getpid(), tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


def _new_client(session: Any = None) -> Files:
    # No region is passed on: s3fs would send it when it creates a bucket, where us-east-1 is refused.
    client = Files(
        session=session,
        endpoint_url=endpoint(),
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={**client_settings(), "http_session_cls": _Direct},
    )
    client.retries = 1  # see `client_settings`
    return client
