"""Facility location: picking samples whose features, together, are close to those of all of a class, one sample at a time.

f(A) = sum_i w_i max over j in A of max(0, cos(phi_i, phi_j)) is monotone and submodular, so that picking the largest gain again and
again comes within 1 - 1/e of the best choice (Nemhauser et al. 1978). A gain can only shrink as more is picked, so that an old one is
an upper bound and most need not be computed again (Minoux 1978).
"""

from __future__ import annotations

import heapq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilp.errors import ConfigError, DataError

DIGITS = 1e-10
"""Gains are compared in this part of the sum of the weights: copies of one image tie, however a product rounds."""
LARGEST_TABLE = 2**27
"""Cosines of all pairs are kept up to so many values (1 GiB), and computed row by row beyond."""
ROWS = 1024
"""Rows of cosines that are computed at once for the first gains."""


def facility_location(features: Tensor, weights: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Order `[count]` in which the samples with `features` `[n, F]` are picked, of which sample i counts weights[i] >= 0.

    Of equal gains the lowest index wins. Raises ConfigError if count exceeds n, and DataError for features that are not finite.
    """
    if not 0 <= count <= len(features):
        raise ConfigError(f"{count} samples cannot be picked out of {len(features)}")
    cosines = _Cosines(features)
    unit = DIGITS * max(float(weights.sum()), np.finfo(float).tiny)
    covered = np.zeros(len(features))
    bounds = [(-round(gain / unit), index) for index, gain in enumerate(cosines.gains(weights))]
    heapq.heapify(bounds)
    fresh = np.zeros(len(features), dtype=np.int64)  # number of picks after which a gain was computed
    order: list[int] = []
    while len(order) < count:
        _, index = bounds[0]
        if fresh[index] == len(order):
            heapq.heappop(bounds)
            order.append(index)
            covered = np.maximum(covered, cosines.row(index))
        else:
            gain = float(weights @ np.maximum(cosines.row(index) - covered, 0.0))
            fresh[index] = len(order)
            heapq.heapreplace(bounds, (-round(gain / unit), index))
    return np.array(order, dtype=np.int64)


class _Cosines:
    """max(0, cosine) of all pairs of features `[n, F]`, looked up, or computed when asked for."""

    def __init__(self, features: Tensor) -> None:
        if not features.isfinite().all():
            raise DataError("features must be finite: the network that computed them has diverged")
        directions = torch.nn.functional.normalize(features.detach().double(), dim=1).cpu()
        self._directions = directions
        self._table = self._rows(slice(None)) if len(features) ** 2 <= LARGEST_TABLE else None

    def row(self, index: int) -> NDArray[np.float64]:
        """Of sample `index` with every sample `[n]`."""
        return self._rows(slice(index, index + 1))[0] if self._table is None else np.asarray(self._table[index])

    def gains(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each sample `[n]` covers alone."""
        found = np.empty(len(weights))
        for start in range(0, len(weights), ROWS):
            rows = slice(start, start + ROWS)
            found[rows] = (self._rows(rows) if self._table is None else self._table[rows]) @ weights
        return found

    def _rows(self, rows: slice) -> NDArray[np.float64]:
        return np.asarray((self._directions[rows] @ self._directions.T).clamp_(min=0.0).numpy())
