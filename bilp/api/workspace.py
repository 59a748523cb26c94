"""Where a call works: its storage, its device, and who watches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bilp.api.watching import Watch, watched
from bilp.artifacts.duration import timed
from bilp.config.arithmetics import AUTO_DEVICE
from bilp.nets.device import usable
from bilp.progress import Progress
from bilp.storage.objects import Uri, as_uri, check_storage, exists, storage_root


@dataclass(frozen=True)
class Place:
    """Where results lie, what computes them, and who watches."""

    root: str
    device: str
    watch: Watch

    @contextmanager
    def step(self, label: str) -> Iterator[Progress]:
        """A unit of work whose progress is watched, and whose artifacts tell how long it took: it alone, not what was done before."""
        with timed():
            yield self.watch.step(label)


@contextmanager
def place_at(root: str, device: str | None) -> Iterator[Place]:
    """The place of a call. Raises ConfigError for a device that cannot be computed on; None is that of BILP_DEVICE."""
    with watched() as watch:
        yield Place(root, usable(device or os.environ.get("BILP_DEVICE") or AUTO_DEVICE), watch)


def storage(root: Uri | None) -> str:
    """The root that is given, or BILP_STORAGE. Raises StorageError if nothing lies there and nothing can be published."""
    place = storage_root() if root is None else as_uri(root)
    if not exists(place):
        check_storage(place)
    return place
