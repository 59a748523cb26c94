"""The synthetic images of classes as the causal effect sees them: psi, and products with J and J^T (docs/notation.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from bilp.causal.batch import ClassBatch
from bilp.matching import Matching, Pullback, Vectors
from bilp.nets import Network
from bilp.seeds import generator


class Synthetic:
    """psi(augment(S)) of the stored images S of K classes, and its derivatives. Nothing is computed before it is used.

    The images of all classes are one batch, class by class; every class has equally many.
    """

    def __init__(
        self, matching: Matching, network: Network, batches: Sequence[ClassBatch], byte_budget: int, count: int | None = None
    ) -> None:
        """As many cotangents of every class as `count` are expected, or as there are real samples."""
        self._matching, self._network, self._budget = matching, network, byte_budget
        self._count = max(len(batch.real[0]) for batch in batches) if count is None else count
        self.classes = len(batches)
        self._labels = torch.cat([batch.synthetic[1] for batch in batches])
        self.stored = torch.cat([batch.synthetic[0].detach() for batch in batches]).requires_grad_()
        with torch.enable_grad():
            own = self.stored.chunk(self.classes)
            augmented = [batch.augment(images) for batch, images in zip(batches, own, strict=True)]
            unchanged = all(after is before for after, before in zip(augmented, own, strict=True))
            self._entering = self.stored if unchanged else torch.cat(augmented)

    @cached_property
    def psi(self) -> Vectors:
        """The synthetic vector of every class, blocks with a leading axis K, detached."""
        return self._matching.synthetic_by_class(self._network, self._entering.detach(), self._labels, self.classes)

    def psi_of(self, which: int) -> Vectors:
        """That of one class."""
        return tuple(block[which] for block in self.psi)

    @property
    def values(self) -> int:
        """Values of one vector."""
        return sum(block[0].numel() for block in self.psi)

    @property
    def vector_bytes(self) -> int:
        """Bytes of one vector."""
        return self.values * self.psi[0].element_size()

    @cached_property
    def pull(self) -> Pullback:
        """Products with the Jacobian's transpose at the images that enter the network."""
        # With fewer values in a vector than samples, the Jacobian itself is cheaper than a product for every sample.
        dense = self.values < self._count and self.values * self.stored.numel() * self.stored.element_size() <= self._budget
        count, images = self.values if dense else self._count, self._entering.detach()
        pull = self._matching.pullback(self._network, images, self._labels, count, self._budget, self.classes)
        return DensePullback(pull, self.psi) if dense else pull

    def effects(self, cotangents: Vectors) -> Tensor:
        """J^T of at most `pull.lanes` cotangents of every class (leading axes k, K), with respect to the stored images.

        `[k, K, M, C, H, W]`, detached.
        """
        found = self.pull(cotangents)
        if self._entering is self.stored:
            return found
        (result,) = torch.autograd.grad(
            self._entering, self.stored, found.flatten(1, 2), retain_graph=True, is_grads_batched=True, materialize_grads=True
        )
        by_class: Tensor = result.unflatten(1, (self.classes, -1))
        return by_class

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
        each = [(values == side).all(dim=1) for values in flipped for side in (plain, opposite)]
        answers = iter(torch.stack(each).cpu() if each else ())
        for digit, (same, other) in enumerate(zip(answers, answers, strict=True)):
            if not bool((same | other).all()):
                return None
            found += torch.where(same, 0, 1 << digit)
        return None if bool((found >= count).any()) else found

    @property
    def mixes(self) -> bool:
        """Whether an image that enters the network depends on several stored ones, or the network on none alone."""
        return self.owners is None

    @property
    def movable(self) -> int:
        """Parts of a class's images that directions move one at a time: its M images, or 1 for all of them if they are mixed."""
        return 1 if self.mixes else len(self.stored) // self.classes

    def push(self, directions: Tensor) -> Vectors:
        """J r for directions `[k, K * M, C, H, W]` of the stored images: a vector per movable part, `[k, K * movable, ...]`."""
        tangents = directions if self._entering is self.stored else self._augmented(directions)
        # A pushforward takes the mean over all images that it gets, psi that over the images of a class.
        found = self._matching.pushforward(self._network, self._entering.detach(), self._labels, tangents * self.classes)
        if self.owners is None:
            return tuple(block.unflatten(1, (self.classes, -1)).sum(dim=2) for block in found)
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
        """Costs one product with `pull` per value of psi (leading axis K); afterwards any number of cotangents is one matrix product."""
        self.lanes, self.lane_bytes = pull.lanes, pull.lane_bytes
        units = torch.eye(sum(block[0].numel() for block in psi), dtype=psi[0].dtype, device=psi[0].device)
        self._rows = torch.cat([pull(_for_all(part, psi)) for part in units.split(pull.lanes)]).transpose(0, 1)

    def __call__(self, cotangents: Vectors) -> Tensor:
        flat = torch.cat([block.flatten(2) for block in cotangents], dim=2)
        found = torch.bmm(flat.transpose(0, 1), self._rows.flatten(2)).transpose(0, 1)
        result: Tensor = found.unflatten(2, self._rows.shape[2:])
        return result


def parts(vectors: Vectors, size: int) -> Iterator[Vectors]:
    """Views of at most `size` consecutive vectors."""
    for start in range(0, len(vectors[0]), size):
        yield tuple(block[start : start + size] for block in vectors)


def _for_all(flat: Tensor, psi: Vectors) -> Vectors:
    """Vectors in one row each, as blocks `[k, K, ...]` that are the same for every class."""
    cut = flat.split([block[0].numel() for block in psi], dim=1)
    return tuple(
        part.reshape(-1, 1, *block.shape[1:]).expand(-1, len(block), *block.shape[1:]) for part, block in zip(cut, psi, strict=True)
    )
