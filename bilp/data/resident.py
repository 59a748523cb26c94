"""The pixels of a split on a GPU that is going to ask for most of them: batches are then gathered there, and no image travels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

from bilp.nets.by_device import memory_of

# Part of a GPU's memory that the pixels of a split may fill: CIFAR-10 takes 0.15 GB, ImageNet at 64 pixels 16 GB.
SHARE = 0.25


class Resident:
    """Keeps the images of a split, uint8 `[N, C, H, W]`, on the GPUs that use them. Results do not depend on whether it does.

    A device gets them once it has been given as many images one by one as there are, or at once on request; none whose share
    of memory they exceed does, none that is too full, and no CPU, which has the mapped file. Safe to use from several threads.
    """

    def __init__(self, images: Callable[[], Tensor], size: int, count: int) -> None:
        """`images` reads all `count` of them, `size` bytes."""
        self._images, self._size, self._count = images, size, count
        self._kept: dict[torch.device, Tensor] = {}
        self._full: set[torch.device] = set()
        self._given: Counter[torch.device] = Counter()
        self._lock = Lock()

    def fits(self, device: torch.device) -> bool:
        """Whether a device may keep them."""
        return 0 < self._size <= SHARE * memory_of(device) and device not in self._full

    def keep(self, device: torch.device) -> Tensor | None:
        """All images on the device, from now on; None where they are not kept."""
        with self._lock:
            if device not in self._kept:
                if not self.fits(device):
                    return None
                try:
                    self._kept[device] = self._images().to(device)
                except torch.OutOfMemoryError:  # others use the device, too
                    self._full.add(device)
                    return None
            return self._kept[device]

    def for_batch(self, device: torch.device, count: int) -> Tensor | None:
        """The same for a device that is about to be given `count` images: None until it has been given as many as there are."""
        if device not in self._kept:
            if device.type == "cpu" or not self.fits(device):
                return None
            self._given[device] += count
            if self._given[device] <= self._count:
                return None
        return self.keep(device)
