"""What a causal effect is measured on, and which class batches share the passes through the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from bilp.matching import Matching
from bilp.matching.pullback import lane_images
from bilp.nets import Network
from bilp.nets.frames import frames_of

Pair = tuple[Tensor, Tensor]
Augment = Callable[[Tensor], Tensor]


# Classes share passes until their samples fill so many tiled batches. Beyond that nothing is gained, and on a CPU time is
# lost: the lanes of one class have their convolutions' input in common.
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


def class_groups(matching: Matching, network: Network, batches: Iterable[ClassBatch], byte_budget: int) -> Iterator[list[ClassBatch]]:
    """Consecutive batches that are measured together: as many as the device is not filled by, and the budget holds the vectors of.

    A single batch may need more. At most one batch is taken before the group that it belongs to has its turn.
    """
    group: list[ClassBatch] = []
    needs: Needs | None = None
    for batch in batches:
        if group and _same_shape(group[0], batch):
            needs = needs or Needs.of(matching, network, batch, byte_budget)
            if _fits([*group, batch], needs, byte_budget):
                group.append(batch)
                continue
        elif group:
            needs = None
        if group:
            yield group
        group = [batch]
    if group:
        yield group


def _same_shape(one: ClassBatch, other: ClassBatch) -> bool:
    return one.synthetic[0].shape == other.synthetic[0].shape and len(one.synthetic[1]) == len(other.synthetic[1])


def _fits(group: list[ClassBatch], needs: Needs, byte_budget: int) -> bool:
    images, labels = group[0].synthetic
    entering = len(labels) * frames_of(images)
    samples = sum(len(batch.real[0]) for batch in group)
    return samples * entering <= TILES * lane_images(images) and max(samples * needs.vector, len(group) * needs.lane) <= byte_budget
