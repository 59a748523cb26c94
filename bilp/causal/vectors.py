"""The vectors of a batch of real samples: one pass for the mean, for every sample, and for the mean of those that are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bilp.causal.precision import Precision, in_bfloat16
from bilp.errors import ConfigError
from bilp.matching import Matching, Vectors
from bilp.matching.base import shares_of
from bilp.matching.per_sample import micro_batch_size
from bilp.nets import Network


class RealVectors:
    """Per-sample vectors phi_i of a batch, held if all of them fit a budget, otherwise computed whenever they are asked for."""

    def __init__(
        self,
        matching: Matching,
        network: Network,
        real: tuple[Tensor, Tensor],
        affordable: int,
        lanes: int = 1,
        precision: Precision = "float32",
        held: Vectors | None = None,
    ) -> None:
        """Pass the samples through the network, if not for their vectors then for their mean.

        Args:
            matching: Its `real` and `real_mean` are used.
            network: Must stay as it is while vectors are asked for.
            real: Images `[B, C, H, W]` and labels `[B]`.
            affordable: Vectors that may be held.
            lanes: Chunks are whole multiples of it, if possible.
            precision: Of the pass that effects come from. The mean of the kept moves images and is always float32.
            held: The vectors of all samples, blocks `[B, ...]`, if they have been computed.
        """
        self._network, self._exact_mean, self._exact_weighted = network, matching.real_mean, matching.weighted_mean
        self._brief = precision == "bfloat16"
        self._real = in_bfloat16(matching.real) if self._brief else matching.real
        self._images, self._labels = real
        self._size = len(self._images) if held is not None else chunk_size(micro_batch_size(self._images), lanes, max(1, affordable))
        self._held: list[Vectors] | None = None if held is None else [held]
        if held is None and affordable >= len(self._images):
            self._held = list(self._computed())
        if self._held is None:
            mean = in_bfloat16(matching.real_mean) if self._brief else matching.real_mean
            self.mean = mean(network, self._images, self._labels)
        else:
            self.mean = self._weighted(self._held[0][0].new_full((len(self),), 1.0 / len(self)))

    def __len__(self) -> int:
        """Samples B."""
        return len(self._images)

    @property
    def held(self) -> Vectors | None:
        """The vectors of all samples, blocks `[B, ...]`, if they are kept in one piece. Do not change them in place."""
        return self._held[0] if self._held is not None and len(self._held) == 1 else None

    def chunks(self) -> Iterator[Vectors]:
        """Vectors of consecutive samples, blocks with a leading axis, all B in order. Do not change them in place."""
        return self._computed() if self._held is None else iter(self._held)

    def some(self, which: Tensor) -> Vectors:
        """Vectors of the samples at positions `which` (int64)."""
        if self._held is None:
            here = which.to(self._images.device)
            return self._real(self._network, self._images[here], self._labels[here])
        places = [divmod(i, self._size) for i in which.tolist()]
        return tuple(torch.stack([block[chunk][row] for chunk, row in places]) for block in zip(*self._held, strict=True))

    def mean_of(self, mask: Tensor) -> Vectors:
        """Mean vector of the samples where the bool `[B]`, best on the CPU, is true, as the matching's real_mean of them up to rounding.

        Raises ConfigError for a mask of another shape or type, or one that keeps nothing.
        """
        if mask.shape != (len(self),) or mask.dtype is not torch.bool:
            raise ConfigError(f"a choice among {len(self)} samples is a bool per sample, not {mask.dtype} of shape {tuple(mask.shape)}")
        count = int(mask.sum())
        if count == 0:
            raise ConfigError("no sample is kept, so there is no mean vector to match: keep at least one")
        if count == len(self) and not self._brief:
            return self.mean
        if self._held is None or self._brief:
            kept = mask.nonzero().squeeze(1).to(self._images.device)
            return self._exact_mean(self._network, self._images[kept], self._labels[kept])
        return self._weighted(mask.to(self.mean[0]) / count)

    def weighted_mean(self, weights: Tensor) -> Vectors:
        """sum_i w_i phi_i / sum_i w_i with weights `[B]` on the CPU, as the matching's weighted_mean; equal ones give the mean."""
        shares = shares_of(weights, len(self))
        if shares is None:
            return self.mean_of(torch.ones(len(self), dtype=torch.bool))
        if self._held is None or self._brief:
            return self._exact_weighted(self._network, self._images, self._labels, weights)
        return self._weighted(shares.to(self.mean[0]))

    def _computed(self) -> Iterator[Vectors]:
        pairs = zip(self._images.split(self._size), self._labels.split(self._size), strict=True)
        return (self._real(self._network, *pair) for pair in pairs)

    def _weighted(self, weights: Tensor) -> Vectors:
        assert self._held is not None
        parts = weights.split(self._size)
        blocks = zip(*self._held, strict=True)
        return tuple(
            torch.stack([(w @ values.flatten(1)).view(values.shape[1:]) for w, values in zip(parts, block, strict=True)]).sum(dim=0)
            for block in blocks
        )


def held_by_all(vectors: Sequence[RealVectors]) -> list[Vectors] | None:
    """The vectors of all samples of each class, blocks `[B, ...]`, if they are held in one piece and classes have equally many."""
    held = [own.held for own in vectors]
    if any(own is None for own in held) or len({len(own) for own in vectors}) > 1:
        return None
    return [own for own in held if own is not None]


def vectors_of_classes(
    matching: Matching,
    network: Network,
    pairs: Sequence[tuple[Tensor, Tensor]],
    affordable: int,
    lanes: int = 1,
    precision: Precision = "float32",
) -> list[RealVectors]:
    """The vectors of the real samples of each class; passes are shared, and all vectors held, if there are several.

    Args:
        matching: Its `real` and `real_mean` are used.
        network: Must stay as it is while vectors are asked for.
        pairs: Images `[B, C, H, W]` and labels `[B]` of each class.
        affordable: Vectors that may be held, if there is one class.
        lanes: Chunks are whole multiples of it, if possible.
        precision: Of the pass that effects come from.
    """
    if len(pairs) == 1:
        return [RealVectors(matching, network, pairs[0], affordable, lanes, precision)]
    real = in_bfloat16(matching.real) if precision == "bfloat16" else matching.real
    images, labels = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    found = zip(*(block.split([len(labels) for _, labels in pairs]) for block in real(network, images, labels)), strict=True)
    return [RealVectors(matching, network, pair, affordable, lanes, precision, tuple(own)) for pair, own in zip(pairs, found, strict=True)]


def chunk_size(suitable: int, lanes: int, affordable: int) -> int:
    """Samples per chunk: about `suitable`, and a multiple of `lanes`, so that only the last call has idle ones."""
    size = min(max(suitable, lanes), affordable)
    return size - size % lanes if size > lanes else size
