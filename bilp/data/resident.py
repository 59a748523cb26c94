"""The pixels of a split on a GPU that is going to ask for most of them: batches are then gathered there, and no image travels.

BILP_DATA says where they lie: `auto` (on a GPU of whose memory they fill a small part), `resident` (on the device, whatever they fill, also
in the memory of a CPU) or `streamed` (only what a batch asks for travels). It changes no result.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from threading import Lock

import torch
from torch import Tensor

from bilp.capture import to_device
from bilp.errors import ConfigError
from bilp.nets.by_device import memory_of
from bilp.text.escaping import shown
from bilp.text.sample_words import spoken

# Part of a GPU's memory that the pixels of a split may fill: CIFAR-10 takes 0.15 GB, ImageNet at 64 pixels 16 GB.
SHARE = 0.25
STEP_BYTES = 256 * 2**20
"""Pixels that are read at once on their way to a device."""


class Reading(Enum):
    """Where the pixels lie that batches are made of."""

    AUTO = "auto"
    RESIDENT = "resident"
    STREAMED = "streamed"


def reading() -> Reading:
    """What BILP_DATA says. Raises ConfigError for anything else than the values of Reading."""
    given = os.environ.get("BILP_DATA") or Reading.AUTO.value
    try:
        return Reading(given)
    except ValueError:
        raise ConfigError(f"BILP_DATA={shown(given)}: use {', '.join(way.value for way in Reading)}") from None


@dataclass(frozen=True)
class Kept:
    """Images that a device keeps: all of a split, or some."""

    images: Tensor
    """uint8 `[n, C, H, W]` on the device."""
    places: Tensor | None = None
    """Where among them each image of the split is, int64 `[N]` on the CPU, -1 for those that are not; None if all are there."""

    def rows(self, indices: Tensor | None) -> Tensor | None:
        """Which of them the images at `indices` are, or None if some are not kept. Indices that lie on the device are not read."""
        if self.places is None:
            return torch.arange(len(self.images)) if indices is None else indices
        if indices is None or indices.device.type != "cpu":
            return None
        rows = self.places[indices]
        return None if len(rows) and int(rows.min()) < 0 else rows


class Resident:
    """Keeps the images of a split, uint8 `[N, C, H, W]`, on the devices that use them. Results do not depend on whether it does.

    A device gets them once it has been given as many images one by one as there are, or at once on request, all or some; none whose share
    of memory they exceed does, none that is too full, and no CPU, which has the mapped file, unless BILP_DATA says so. Safe to use from
    several threads.
    """

    def __init__(self, images: Callable[[Tensor], Tensor], size: int, count: int) -> None:
        """`images` reads those at int64 `[n]` of `count` images, which take `size` bytes in all."""
        self._images, self._size, self._count = images, size, count
        self._kept: dict[torch.device, Kept] = {}
        self._full: set[torch.device] = set()
        self._given: Counter[torch.device] = Counter()
        self._lock = Lock()

    def fits(self, device: torch.device, size: int | None = None) -> bool:
        """Whether a device may keep them, or `size` bytes of them."""
        size, way = self._size if size is None else size, reading()
        if size <= 0 or way is Reading.STREAMED or device in self._full:
            return False
        return way is Reading.RESIDENT or size <= SHARE * memory_of(device)

    def keep(self, device: torch.device, some: Tensor | None = None) -> Kept | None:
        """All images on the device, or at least those at `some`, int64 `[n]`, from now on; None where they are not kept.

        Raises ConfigError if BILP_DATA wants them there and they do not fit.
        """
        with self._lock:
            there = self._kept.get(device)
            if there is None or (there.places is not None and (some is None or there.rows(some) is None)):
                count = self._count if some is None else len(some)
                if not self.fits(device, self._size // max(1, self._count) * count):
                    return there
                try:
                    there = self._kept[device] = self._filled(device, some)
                except torch.OutOfMemoryError:  # others use the device, too
                    if reading() is Reading.RESIDENT:
                        gigabytes = self._size / max(1, self._count) * count / 1e9
                        raise ConfigError(
                            f"BILP_DATA=resident: {gigabytes:.1f} GB of {spoken('images')} do not fit on {device} beside what is there: "
                            f"set BILP_DATA=streamed, or distill in more shards"
                        ) from None
                    self._full.add(device)
            return there

    def kept(self, device: torch.device) -> Kept | None:
        """What a device keeps now."""
        return self._kept.get(device)

    def for_batch(self, device: torch.device, count: int) -> Kept | None:
        """What a device keeps that is about to be given `count` images: all of them once it has been given as many as there are."""
        there = self._kept.get(device)
        if there is not None and there.places is None:
            return there
        if not self.fits(device):
            return there
        if reading() is not Reading.RESIDENT:
            self._given[device] += count
            if self._given[device] <= self._count:
                return there
        return self.keep(device)

    def _filled(self, device: torch.device, some: Tensor | None) -> Kept:
        """Read them in steps, through pinned memory, so that the host never holds all of them."""
        wanted = torch.arange(self._count) if some is None else some.unique()
        step = max(1, STEP_BYTES * self._count // self._size)
        images: Tensor | None = None
        for start in range(0, len(wanted), step):
            part = self._images(wanted[start : start + step])
            if images is None:
                images = torch.empty((len(wanted), *part.shape[1:]), dtype=part.dtype, device=device)
            images[start : start + len(part)].copy_(to_device([part], device)[0])
        assert images is not None
        if some is None:
            return Kept(images)
        places = torch.full((self._count,), -1, dtype=torch.int64)
        places[wanted] = torch.arange(len(wanted))
        return Kept(images, places)
