"""Picking samples that cover a class: herding and k-center, each one sample at a time, from features of a trained network.

Both return an order, so the first k of it are the choice for every k. Distances are taken from inner products in float64
after the mean has been subtracted (neither rule changes under a shift), and values closer than `TIE` of their scale
count as equal, of which the lowest index wins. Copies of one image therefore tie as they should, and the order does not
depend on how a matrix product happens to round.

A pick is a step over tensors that stay where they are, and asks no value of the device, so that a GPU replays it as a graph; the order is
fetched once, at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.capture import CapturedStep
from bilp.errors import ConfigError, DataError

TIE = 1e-10
# Inner products of all pairs are computed at once up to so many values (1 GiB), and row by row beyond.
LARGEST_TABLE = 2**27
# A table of all pairs pays off if at least this share of its rows will be read.
TABLE_SHARE = 0.1


def herding(features: Tensor, count: int | None = None) -> Tensor:
    """Order `[count]` (int64, on the CPU) in which samples keep the mean of the picked features closest to the mean of all of them.

    Welling 2009, as used by Rebuffi et al. 2017: step k picks argmin over what is left of ||(k + 1) mu - sum - f_i||,
    where mu is the mean of `features` `[n, F]` and sum the sum of the k picked so far. Without `count` all n are ordered.
    Raises ConfigError if count exceeds n, and DataError for features that are not finite.
    """
    products, count = _products(features, count)
    picks = _Picks(products)
    # After the shift mu is zero, so the rule is argmin ||sum + f_i||^2 = const + ||f_i||^2 + 2 f_i . sum.
    along_sum = torch.zeros_like(products.squares)

    def pick() -> None:
        along_sum.add_(products.row(picks.take_lowest(products.squares + 2 * along_sum)))

    step = CapturedStep(pick, features.device)
    for _ in range(count):
        step()
    return picks.order(count)


def k_center(features: Tensor, count: int | None = None, first: int = 0) -> Tensor:
    """Order `[count]` (int64, on the CPU) in which each sample is the one farthest from everything picked before it.

    Gonzalez 1985; Sener & Savarese 2018, on features `[n, F]` and their Euclidean distance, starting from sample `first`.
    Without `count` all n are ordered. Raises ConfigError if count exceeds n or first is no sample, and DataError for
    features that are not finite.
    """
    products, count = _products(features, count)
    squares = products.squares
    if count and not 0 <= first < len(features):
        raise ConfigError(f"k-center cannot start from sample {first} of {len(features)}")
    picks = _Picks(products)
    nearest = torch.full_like(squares, torch.inf)

    def approach(center: Tensor) -> None:
        distances = squares + squares.index_select(0, center) - 2 * products.row(center)
        nearest.copy_(torch.minimum(nearest, distances))

    step = CapturedStep(lambda: approach(picks.take_lowest(-nearest)), features.device)
    if count:
        approach(picks.take(torch.full((1,), first, device=squares.device)))
    for _ in range(1, count):
        step()
    return picks.order(count)


class _Products:
    """Inner products between centered features `[n, F]`, one row at a time: looked up, or computed when asked for."""

    def __init__(self, features: Tensor, rows: int) -> None:
        self._features = features - features.mean(dim=0, keepdim=True)
        self.squares = self._features.square().sum(dim=1)
        self.tie = TIE * self.squares.max() if len(features) else self.squares.sum()
        worth_it = len(features) ** 2 <= LARGEST_TABLE and rows >= TABLE_SHARE * len(features)
        self._table = self._features @ self._features.T if worth_it else None

    def row(self, index: Tensor) -> Tensor:
        """Products `[n]` of the sample at `index` `[1]` with every sample."""
        if self._table is None:
            return self._features @ self._features.index_select(0, index).squeeze(0)
        return self._table.index_select(0, index).squeeze(0)


class _Picks:
    """Which of n samples are picked, and at which place of the order; a sample is known by its index, a tensor `[1]`."""

    def __init__(self, products: _Products) -> None:
        device = products.squares.device
        self._samples = len(products.squares)
        self._tie = products.tie
        self._indices = torch.arange(self._samples, device=device)
        self._places = torch.full((self._samples,), self._samples, device=device)  # what is left comes behind all places
        self._next = torch.zeros(1, dtype=torch.int64, device=device)

    def take_lowest(self, values: Tensor) -> Tensor:
        """Pick, of what is left, the lowest index whose value in `values` `[n]` is, up to rounding, the smallest."""
        values = values.masked_fill(self._places < self._samples, torch.inf)
        lowest = values <= values.min() + self._tie
        return self.take(torch.where(lowest, self._indices, self._samples).amin(0, keepdim=True))

    def take(self, chosen: Tensor) -> Tensor:
        """Pick a sample."""
        self._places.copy_(torch.where(self._indices == chosen, self._next, self._places))
        self._next += 1
        return chosen

    def order(self, count: int) -> Tensor:
        """The first `count` that were picked, int64 on the CPU."""
        return torch.argsort(self._places.cpu())[:count]


def _products(features: Tensor, count: int | None) -> tuple[_Products, int]:
    """The products and the number of samples to pick, after the checks."""
    count = len(features) if count is None else count
    if not 0 <= count <= len(features):
        raise ConfigError(f"{count} samples cannot be picked out of {len(features)}")
    if not features.isfinite().all():
        raise DataError("features must be finite: the network that computed them has diverged")
    return _Products(features.detach().double(), count), count
