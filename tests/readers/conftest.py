"""One storage for this room, which every test leaves as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from made_once import made_once
from tiny_world import Snapshot, World, make_world

from bilp.errors import BilpError

Refused = Callable[[Callable[[], object], str], str]


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Snapshot]:
    world = made_once(tmp_path_factory, "tiny-world", World, lambda folder: make_world(str(folder)))
    return world, Snapshot(world.root)


@pytest.fixture
def world(_made: tuple[World, Snapshot]) -> Iterator[World]:
    """Everything in it may be changed."""
    world, snapshot = _made
    yield world
    snapshot.restore()


@pytest.fixture
def refused() -> Refused:
    """Checks that a call is answered with one of our errors, in one line that matches a pattern; returns the line."""

    def do(call: Callable[[], object], pattern: str) -> str:
        with pytest.raises(BilpError, match=pattern) as caught:
            call()
        (line,) = str(caught.value).splitlines()
        assert len(line) < 1500
        return line

    return do
