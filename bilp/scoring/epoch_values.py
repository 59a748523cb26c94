"""Numbers of every sample after an epoch: gathered where they are computed, fetched from there once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class EpochValues:
    """R numbers of each of N samples, which come in mini-batches in index order."""

    def __init__(self) -> None:
        """Nothing was gathered yet."""
        self._parts: list[Tensor] = []

    def add(self, *values: Tensor) -> None:
        """R rows `[B]` of the next samples, kept as float32: exact for whole numbers below 2^24 and for booleans."""
        self._parts.append(torch.stack([row.float() for row in values]))

    def fetch(self) -> NDArray[np.float32]:
        """All that was gathered, `[R, N]`, in one copy; the next epoch begins anew."""
        found: NDArray[np.float32] = torch.cat(self._parts, dim=1).cpu().numpy()
        self._parts = []
        return found
