"""CCFS (Chen et al. 2025): a small distilled set, to which rounds add the easiest real images that it teaches wrongly."""

from __future__ import annotations

import math
from fractions import Fraction as Exact
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bilp.config.augmentations import AugmentFamily
from bilp.config.base import Fraction, Frozen, Location, Positive, Rate
from bilp.config.methods.spec import Cell, Method
from bilp.config.sources import SOURCES


class CoarseToFineConfig(Frozen):
    """CCFS: a network is trained on the set so far with the teacher's soft labels; of the real samples that it takes for another class and
    the teacher does not, the easiest ones are added, equally many of each class.

    The teacher is the one of evaluate.teacher, samples are ranked by prune.criterion, the network is distill.network, and
    distill.iterations is the number of rounds of this kind.
    """

    by_rule: ClassVar[frozenset[str]] = frozenset({"share", "epochs", "augment_always"})

    start: Location | None = None
    """A finished synthetic set that the images of the beginning are taken from, or the run that it lies in; empty takes the easiest real
    images."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Share of each class's images that are there at the beginning (alpha), rounded down, and one at least."""
    epochs: Positive = 500
    """Passes over the set of each network."""
    batch_size: Positive | None = None
    """Mini-batch of its training; empty is the program's: 32 below 500 images per class, 64 below 1000, else 128."""
    learning_rate: Rate = 0.2
    """Step size of SGD at the beginning; it falls along a cosine to zero."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Weight decay of SGD."""
    augment_always: tuple[AugmentFamily, ...] = ("resized_crop", "flip")
    """Augmentation of every mini-batch, in this order, fresh parameters per image; the teacher sees the same."""
    temperature: Rate = 20.0
    """What the logits of teacher and network are divided by."""

    def begins(self, ipc: int) -> int:
        """Images of a class of `ipc` images that are there at the beginning."""
        return max(1, math.floor(Exact(repr(self.share)) * ipc))

    def added(self, ipc: int, rounds: int, number: int) -> int:
        """Images of a class that round `number`, from 0, of `rounds` adds: equally many, the first rounds one more."""
        each, more = divmod(ipc - self.begins(ipc), rounds)
        return each + (number < more)

    def batch(self, per_class: float) -> int:
        """The mini-batch for a set of so many images per class."""
        if self.batch_size is not None:
            return self.batch_size
        return 32 if per_class < 500 else 64 if per_class < 1000 else 128


EVERY = 2**31
"""More real samples than any class has."""
ROUNDS = 3
"""Rounds of the scripts of the program (scripts/ of CYDaaa30/CCFS, 025593e)."""
# Share and epochs of these scripts, by ipc.
ROWS: dict[str, dict[int, tuple[float, int]]] = {
    "cifar10": {250: (0.2, 500), 500: (0.1, 500), 1000: (0.3, 250), 1500: (0.3, 200)},
    "cifar100": {25: (0.2, 500), 50: (0.1, 500), 100: (0.1, 250), 150: (0.2, 200)},
    "tiny_imagenet": {50: (0.2, 100), 100: (0.2, 100)},
}


def _values(cell: Cell) -> dict[str, Any]:
    """The line of the largest published ipc that is not above the cell's, or of the smallest; CIFAR-10's for other data."""
    lines = ROWS.get(cell.dataset, ROWS["cifar10"])
    share, epochs = lines[max((known for known in lines if known <= cell.ipc), default=min(lines))]
    own: dict[str, Any] = {"share": share, "epochs": epochs}
    if cell.dataset == "tiny_imagenet":
        own["batch_size"] = 64
    if SOURCES[cell.dataset].mirroring_changes_meaning:
        own["augment_always"] = ["resized_crop"]
    distill = {"iterations": ROUNDS, "init": "real", "augment": [], "coarse_to_fine": own}
    return {"distill": distill, "prune": {"minimum_per_class": max(cell.ipc, 2)}}


def _small(cell: Cell) -> dict[str, Any]:
    """Short trainings on images that are shifted alone."""
    return {"distill": {"coarse_to_fine": {"epochs": 30, "augment_always": ["crop"]}}}


CCFS = Method(
    name="ccfs",
    title="curriculum coarse-to-fine selection (CCFS)",
    paper="Chen et al. 2025",
    venue="CVPR 2025, arXiv 2503.18872",
    paper_title="Curriculum Coarse-to-Fine Selection for High-IPC Dataset Distillation",
    settings={"coarse_to_fine": CoarseToFineConfig},
    values=_values,
    small=_small,
    protocol="ccfs",
    no_effect="chooses real samples and optimizes nothing",
    optimizes=False,
    needs_teacher=True,
    needs_ranking=True,
    adds_real=True,
    dials=lambda cell: {"criterion": "forgetting"},
    augmentation="none",
    one_step=True,
    brief={"coarse_to_fine": {"epochs": 1, "start": None}},
    matching="bilp.matching.uncompared:nothing",
    loop="bilp.distill.loops.coarse_to_fine:distill",
    begins="bilp.distill.loops.coarse_to_fine:beginning",
    schedule="bilp.distill.step.schedule:untrained",
    carried="bilp.distill.loops.coarse_to_fine:require_curriculum",
    carries="bilp.distill.loops.coarse_to_fine:curriculum_forms",
    product="bilp.distill.curriculum_product:product",
    loss="share of mistakes",
    loss_meaning="Share of the real samples that a network trained on the set of the moment takes for another class; it should fall.",
    looked_at=lambda distill: EVERY,
    work="bilp.costs.method_work:coarse_to_fine",
)

METHODS = (CCFS,)
