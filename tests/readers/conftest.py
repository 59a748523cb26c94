"""One storage for this room, which every test leaves as it was."""

from __future__ import annotations

import pytest
from tiny_world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(str(tmp_path_factory.mktemp("tiny-world")))
