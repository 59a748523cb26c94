"""The synthetic images of a class as the causal effect sees them: psi, and products with the transposed Jacobian J^T."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from bilp.matching import Matching, Pullback, Vectors
from bilp.nets import Network


class Synthetic:
    """psi(augment(S)) of stored images S, and its derivative with respect to S. Nothing is computed before it is used."""

    def __init__(
        self,
        matching: Matching,
        network: Network,
        pair: tuple[Tensor, Tensor],
        augment: Callable[[Tensor], Tensor],
        count: int,
        byte_budget: int,
    ) -> None:
        """`pair` is (images `[M, C, H, W]`, labels); `count` is the number of cotangents to expect."""
        self._matching, self._network, self._labels = matching, network, pair[1]
        self._count, self._budget = count, byte_budget
        self.stored = pair[0].detach().requires_grad_()
        with torch.enable_grad():
            self._entering = augment(self.stored)

    @cached_property
    def psi(self) -> Vectors:
        """The synthetic vector, detached."""
        return tuple(block.detach() for block in self._matching.synthetic(self._network, self._entering.detach(), self._labels))

    @cached_property
    def pull(self) -> Pullback:
        """Products with the Jacobian's transpose at the images that enter the network."""
        values = sum(block.numel() for block in self.psi)
        # With fewer values in a vector than samples, the Jacobian itself is cheaper than a product for every sample.
        dense = values < self._count and values * self.stored.numel() * self.stored.element_size() <= self._budget
        images = self._entering.detach()
        pull = self._matching.pullback(self._network, images, self._labels, values if dense else self._count, self._budget)
        return DensePullback(pull, self.psi) if dense else pull

    def effects(self, cotangents: Vectors) -> Tensor:
        """J^T of at most `pull.lanes` cotangents (leading axis k), with respect to the stored images: `[k, M, C, H, W]`."""
        found = self.pull(cotangents)
        if self._entering is self.stored:
            return found
        (result,) = torch.autograd.grad(
            self._entering, self.stored, found, retain_graph=True, is_grads_batched=True, materialize_grads=True
        )
        return result


class DensePullback:
    """A pullback through the whole Jacobian, for vectors with fewer values than there are samples."""

    def __init__(self, pull: Pullback, psi: Vectors) -> None:
        """Costs one product with `pull` per value of psi; afterwards any number of cotangents is one matrix product."""
        self.lanes = pull.lanes
        units = torch.eye(sum(block.numel() for block in psi), dtype=psi[0].dtype, device=psi[0].device)
        self._rows = torch.cat([pull(_as_blocks(part, psi)) for part in units.split(pull.lanes)])

    def __call__(self, cotangents: Vectors) -> Tensor:
        """See Pullback."""
        flat = torch.cat([block.flatten(1) for block in cotangents], dim=1)
        return (flat @ self._rows.flatten(1)).view(-1, *self._rows.shape[1:])


def parts(vectors: Vectors, size: int) -> Iterator[Vectors]:
    """Views of at most `size` consecutive vectors."""
    for start in range(0, len(vectors[0]), size):
        yield tuple(block[start : start + size] for block in vectors)


def _as_blocks(flat: Tensor, psi: Vectors) -> Vectors:
    cut = flat.split([block.numel() for block in psi], dim=1)
    return tuple(part.reshape(-1, *block.shape) for part, block in zip(cut, psi, strict=True))
