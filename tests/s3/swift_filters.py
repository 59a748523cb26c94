"""Paste filters for the Swift server of the tests: what a single process needs that a production cluster has elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from eventlet.semaphore import Semaphore

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Filter = Callable[[Application], Application]

CACHE_ENTRIES = 20_000


class DictCache:
    """Swift's memcache interface over a dictionary, so that account and container facts are not fetched per request."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Any, float]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        value, expires = self._entries.get(key, (None, 0.0))
        return None if expires and expires <= time.time() else value

    def set(
        self, key: str, value: Any, serialize: bool = True, time: float = 0, min_compress_len: int = 0, raise_on_error: bool = False
    ) -> None:
        if len(self._entries) >= CACHE_ENTRIES:
            self._entries.clear()
        self._entries[key] = (value, _now() + time if time else 0.0)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        value = max(0, int(self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -delta, time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._entries.pop(key, None)

    def set_multi(
        self, mapping: dict[str, Any], server_key: str, serialize: bool = True, time: float = 0, min_compress_len: int = 0
    ) -> None:
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys: Iterable[str], server_key: str | None = None) -> list[Any]:
        return [self.get(key) for key in keys]


def _now() -> float:
    return time.time()  # `time` is a parameter's name in the interface above


def memory_cache(settings: dict[str, str], **local: str) -> Filter:
    """Puts a DictCache where the proxy looks for memcached."""
    cache = DictCache()

    def wrap(app: Application) -> Application:
        def call(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
            environ["swift.cache"] = cache
            return app(environ, start_response)

        return call

    return wrap


def atomic_create(settings: dict[str, str], **local: str) -> Filter:
    """Runs conditional writes of one path one after the other.

    Swift alone checks If-None-Match and writes afterwards, so of several writers more than one can win.
    """
    locks: dict[str, Semaphore] = defaultdict(Semaphore)
    waiting: dict[str, int] = defaultdict(int)

    def wrap(app: Application) -> Application:
        def whole(environ: Environ) -> tuple[tuple[Any, ...], list[bytes]]:
            """The complete response: completing a multipart upload does its work while its body is iterated."""
            heads: list[tuple[Any, ...]] = []

            def remember(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
                heads.append((status, headers))
                return lambda data: None

            body = app(environ, remember)
            try:
                return heads[-1], list(body)
            finally:
                close = getattr(body, "close", None)
                if close:
                    close()

        def call(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] not in ("PUT", "POST") or "HTTP_IF_NONE_MATCH" not in environ:
                return app(environ, start_response)
            path = environ["PATH_INFO"]
            waiting[path] += 1
            try:
                with locks[path]:
                    head, body = whole(environ)
            finally:
                waiting[path] -= 1
                if not waiting[path]:
                    del waiting[path]
                    locks.pop(path, None)
            start_response(*head)
            return body

        return call

    return wrap


def forgetful_bucket(settings: dict[str, str], **local: str) -> Filter:
    """In the bucket named by the setting `bucket`, conditions are ignored without a word, as some S3 imitations do."""
    prefix = f"/{local['bucket']}/"

    def wrap(app: Application) -> Application:
        def call(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["PATH_INFO"].startswith(prefix):
                environ.pop("HTTP_IF_NONE_MATCH", None)
            return app(environ, start_response)

        return call

    return wrap
