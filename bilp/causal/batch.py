"""What a causal effect is measured on, and which class batches share the passes through the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from bilp.matching import Matching
from bilp.matching.jacobian import lane_images
from bilp.nets import Network
from bilp.nets.clips import frames_of

Pair = tuple[Tensor, Tensor]
Augment = Callable[[Tensor], Tensor]


# On a CPU classes share passes until their samples fill so many tiled batches. Beyond that time is lost: the lanes of one class
# have their convolutions' input in common. A GPU gains by every class that its memory has room for.
TILES = 4


def unchanged(images: Tensor) -> Tensor:
    """No augmentation."""
    return images


@dataclass(frozen=True)
class ClassBatch:
    """Real samples of one class, and the synthetic images of the class on which they may have an effect."""

    real: Pair
    """Images `[B, C, H, W]` as they enter the network, and their labels."""
    synthetic: Pair
    """Stored images `[M, C, H, W]`, and one label for each image that `augment` makes of them."""
    augment: Augment = unchanged


@dataclass(frozen=True)
class Needs:
    """Bytes that the effects of a class batch hold."""

    vector: int
    """One vector."""
    lane: int
    """The graph of its synthetic images, once."""

    @classmethod
    def of(cls, matching: Matching, network: Network, batch: ClassBatch, byte_budget: int) -> Needs:
        images, labels = batch.augment(batch.synthetic[0].detach()), batch.synthetic[1]
        psi = matching.synthetic(network, images, labels)
        pull = matching.pullback(network, images, labels, 1, byte_budget)
        return cls(sum(block.numel() * block.element_size() for block in psi), pull.lane_bytes)

    def fit(self, group: Sequence[ClassBatch], byte_budget: int) -> bool:
        """Whether what all of these hold is within the budget."""
        samples = sum(len(batch.real[0]) for batch in group)
        return max(samples * self.vector, len(group) * self.lane) <= byte_budget


def class_groups(matching: Matching, network: Network, batches: Iterable[ClassBatch], byte_budget: int) -> Iterator[list[ClassBatch]]:
    """Consecutive batches that are measured together: as many as the device is not filled by, and the budget holds the vectors of.

    A single batch may need more. At most one batch is taken before the group that it belongs to has its turn.
    """
    group: list[ClassBatch] = []
    needs: Needs | None = None
    for batch in batches:
        if group and not _same_shape(group[0], batch):
            needs = None
        elif group and _leaves_room([*group, batch]):
            needs = needs or Needs.of(matching, network, batch, byte_budget)
            if needs.fit([*group, batch], byte_budget):
                group.append(batch)
                continue
        if group:
            yield group
        group = [batch]
    if group:
        yield group


def _same_shape(one: ClassBatch, other: ClassBatch) -> bool:
    return one.synthetic[0].shape == other.synthetic[0].shape and len(one.synthetic[1]) == len(other.synthetic[1])


def _leaves_room(group: Sequence[ClassBatch]) -> bool:
    """Whether the products of these batches fill no more tiled batches than suits the device."""
    images, labels = group[0].synthetic
    if images.device.type != "cpu":
        return True
    samples = sum(len(batch.real[0]) for batch in group)
    return samples * len(labels) * frames_of(images) <= TILES * lane_images(images)
