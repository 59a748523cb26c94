"""The synthetic images of a class as the causal effect sees them: psi, and products with the transposed Jacobian J^T."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from bilp.matching import Matching, Pullback, Vectors
from bilp.matching.pushforward import pushforward
from bilp.nets import Network
from bilp.seeds import generator


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

    @property
    def entering_count(self) -> int:
        """Images that enter the network."""
        return len(self._entering)

    @cached_property
    def owners(self) -> Tensor | None:
        """For each image that enters the network, which stored image it depends on, int64; None if it mixes several.

        Every binary digit of a stored image's number flips the sign of its direction or not, and with it exactly that of
        what depends on it alone.
        """
        count = len(self.stored)
        if self._entering is self.stored:
            return torch.arange(count)
        numbers = torch.arange(count)
        digits = [1 - 2 * ((numbers >> digit) & 1) for digit in range((count - 1).bit_length())]
        signs = torch.stack([torch.ones_like(numbers), -torch.ones_like(numbers), *digits]).to(self.stored)
        probe = torch.randn(self.stored.shape, generator=generator(0, "causal_owners"), dtype=torch.float32).to(self.stored)
        plain, opposite, *flipped = self._augmented(probe * signs.view(-1, count, *[1] * (probe.dim() - 1))).flatten(2)
        found = torch.zeros(len(plain), dtype=torch.int64)
        for digit, values in enumerate(flipped):
            same, other = (values == plain).all(dim=1).cpu(), (values == opposite).all(dim=1).cpu()
            if not bool((same | other).all()):
                return None
            found += torch.where(same, 0, 1 << digit)
        return None if bool((found >= count).any()) else found

    @property
    def mixes(self) -> bool:
        """Whether an image that enters the network depends on several stored ones, or the network on none alone."""
        return self.owners is None

    def push(self, directions: Tensor) -> Vectors:
        """J r for directions `[k, M, C, H, W]` of the stored images, one vector per direction and stored image: `[k, M, ...]`.

        If images are mixed, one vector per direction: `[k, 1, ...]`.
        """
        tangents = directions if self._entering is self.stored else self._augmented(directions)
        found = pushforward(self._matching, self._network, self._entering.detach(), self._labels, tangents)
        if self.owners is None:
            return tuple(block.sum(dim=1, keepdim=True) for block in found)
        if torch.equal(self.owners, torch.arange(len(self.stored))):
            return found
        shape = (len(directions), len(self.stored))
        owners = self.owners.to(directions.device)
        return tuple(block.new_zeros(*shape, *block.shape[2:]).index_add_(1, owners, block) for block in found)

    def _augmented(self, directions: Tensor) -> Tensor:
        """How the images that enter the network move with the stored ones, for directions `[k, M, C, H, W]`."""
        probe = torch.zeros_like(self._entering, requires_grad=True)
        (pulled,) = torch.autograd.grad(self._entering, self.stored, probe, create_graph=True, materialize_grads=True)
        if not pulled.requires_grad:
            return torch.zeros(len(directions), *self._entering.shape).to(self._entering)
        (moved,) = torch.autograd.grad(pulled, probe, directions, is_grads_batched=True, materialize_grads=True)
        return moved.detach()


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
