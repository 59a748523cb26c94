"""The tiers of the tests: what is marked `service` or `slow` is the second, everything else the first; docs/tests.md tells more."""

from __future__ import annotations

import gc
import re
from collections.abc import Generator, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SERVICES = "integration"
"""The folder whose tests share servers and workers, and are all marked so."""
SLOW = ("fuzz", "s3")
"""Folders that are of the second tier as a whole: thousands of changed inputs, an object storage server."""
SLOW_FILE = re.compile(r"^pytestmark = .*\bpytest\.mark\.(slow|service)\b", re.MULTILINE)
"""What marks a file as a whole."""
LONGEST = "test_readme.py"
"""The file that takes longest by far, for its tests follow each other: it begins first, or the other processes would wait for it."""
FIRST_ON_S3 = "storage"
"""The folder whose tests on S3 are of the first tier: the operations themselves. What others do with them there is of the second."""
FIRST_TIER = "not service and not slow"
"""The mark expression of `make test`."""


def first_tier(values: Iterable[str], *quick: str) -> list[Any]:
    """Parameters of a test of which the first tier takes only `quick`, and the second the others."""
    rest = [value for value in values if value not in quick]
    return [*quick, *(pytest.param(value, marks=pytest.mark.slow) for value in rest)]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The first tier does not import what is of the second as a whole: each process of a session would."""
    return True if config.option.markexpr == FIRST_TIER and _of_the_second(collection_path) else None


def _of_the_second(path: Path) -> bool:
    if path.is_dir():
        return path.name in (SERVICES, *SLOW)
    return path.name.startswith("test_") and path.suffix == ".py" and SLOW_FILE.search(path.read_text(encoding="utf-8")) is not None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The garbage collector passes over what is imported, a million objects that stay: here and, without end, while tests run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits longest for servers begins first, so that the other processes' tests fill the time.

    Raises UsageError if a file of tests/integration, or a test that uses its service, is in the first tier.
    """
    wrong = sorted({item.path for item in items if _needs_service(item) and item.get_closest_marker("service") is None})
    if wrong:
        raise pytest.UsageError(
            f"{', '.join(map(str, wrong))}: mark these tests with pytest.mark.service, for they start a server and workers"
        )
    for item in items:
        folders = _folders(item.path)
        if not folders.isdisjoint(SLOW) or (item.get_closest_marker("s3") and FIRST_ON_S3 not in folders):
            item.add_marker(pytest.mark.slow)
    items.sort(
        key=lambda item: (
            item.get_closest_marker("service") is None,
            item.get_closest_marker("slow") is None,
            item.path.name != LONGEST,
        )
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The files of a process, where several share the tests: all that share a service go to one of them.

    A server and its workers take minutes of computing before they answer, and part of a core as long as they wait.
    """
    from xdist.scheduler import LoadFileScheduling

    class OneService(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return SERVICES if SERVICES in nodeid.partition("::")[0].split("/") else str(super()._split_scope(nodeid))

    return OneService(config, log)


def _needs_service(item: pytest.Item) -> bool:
    return SERVICES in _folders(item.path) or "service" in getattr(item, "fixturenames", ())


@cache
def _folders(path: Path) -> frozenset[str]:
    return frozenset(path.parts)
