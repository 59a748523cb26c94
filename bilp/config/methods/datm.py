"""Difficulty-aligned trajectory matching: DATM (Guo et al. 2024), and PAD (Li et al. 2024), which compares deep layers alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from bilp.config.base import Count, Dropped, Fraction, Frozen, Positive, Rate
from bilp.config.methods.spec import Cell, Method, always, augmented_evaluation
from bilp.config.methods.trajectory import MTT, TrajectoryRow, check_experts, row_of, values_of
from bilp.config.nested import merge


class DifficultyConfig(Frozen):
    """DATM and PAD: from which epochs of experts trainings on the synthetic images start, and how their soft labels are learned."""

    by_rule = frozenset({"min_start", "early_max_start", "expansion", "threshold", "label_rate", "shallow"})

    min_start: Count = 0
    """First epoch of an expert that may be the starting point; the last one is trajectory.max_start."""
    early_max_start: Count | None = None
    """What trajectory.max_start is in the first iteration, from which it grows linearly; empty leaves it as it is from the beginning."""
    expansion: Positive = 1000
    """Iterations until it has grown."""
    threshold: Rate = 1.0
    """A step of images, labels and step size is taken if the loss is no larger."""
    label_rate: Annotated[float, Field(ge=0.0)] = 2.0
    """Step size of SGD on the logits of the soft labels; 0 leaves these as they are."""
    label_momentum: Fraction = 0.9
    """Momentum of SGD on them."""
    shallow: Dropped = 0.0
    """Share of the network's layers, from the images on and rounded down to whole layers, whose parameters are not compared (PAD)."""
    nearest: Dropped = 0.0
    """Share of the numbers in all other layers that are not compared: those in which the training ends nearest to the expert. PAD's
    program leaves out such numbers of all layers, and no shallow layers."""

    def starts(self, iteration: int, max_start: int) -> range:
        """The epochs that may be the starting point of an iteration, counted from 0."""
        last = max_start
        if self.early_max_start is not None:
            grown = (max_start - self.early_max_start) * iteration // self.expansion
            last = min(self.early_max_start + grown, max_start)
        return range(self.min_start, last + 1)


class DifficultyRow(NamedTuple):
    """One line of a published table beside a TrajectoryRow."""

    min_start: int
    early_max_start: int | None
    """One less than current_max_start_epoch of the programs, which draw below it."""
    expansion: int
    label_rate: float
    threshold: float = 1.0
    init: str = "recognized"
    shallow: float = 0.0


Table = dict[str, dict[int, tuple[TrajectoryRow, DifficultyRow]]]

# DATM, Guo et al. 2024: configs/ of its program (NUS-HPC-AI-Lab/DATM 97ae510). Where Sequential_Generation is off, nothing grows.
_Z = "zca"
DATM_ROWS: Table = {
    "cifar10": {
        1: (TrajectoryRow(80, 2, 3, 100.0, 1e-7, 0.01, 10, _Z), DifficultyRow(0, None, 1000, 5.0, 1.1)),
        10: (TrajectoryRow(80, 2, 19, 100.0, 1e-5, 0.01, 100, _Z), DifficultyRow(0, 9, 1000, 2.0)),
        50: (TrajectoryRow(80, 2, 39, 1000.0, 1e-5, 0.01, 500, _Z), DifficultyRow(0, 19, 2000, 2.0)),
        500: (TrajectoryRow(40, 2, 59, 50.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(40, None, 1000, 10.0)),
        1000: (TrajectoryRow(100, 2, 59, 50.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(40, None, 1000, 10.0)),
    },
    "cifar100": {
        1: (TrajectoryRow(40, 3, 19, 1000.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(0, 9, 1000, 10.0)),
        10: (TrajectoryRow(80, 2, 49, 1000.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(0, 29, 2000, 10.0)),
        50: (TrajectoryRow(80, 2, 69, 1000.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(20, None, 1000, 10.0, init="real")),
        100: (TrajectoryRow(80, 2, 69, 50.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(30, None, 1000, 10.0)),
    },
    "tiny_imagenet": {
        1: (TrajectoryRow(40, 2, 19, 1e4, 1e-4, 0.01, 1000, _Z), DifficultyRow(0, 14, 2000, 10.0)),
        10: (TrajectoryRow(40, 2, 49, 100.0, 1e-4, 0.01, 500, _Z), DifficultyRow(10, None, 1000, 10.0)),
        50: (TrajectoryRow(20, 2, 69, 100.0, 1e-4, 0.01, 1000, _Z), DifficultyRow(40, None, 1000, 10.0)),
    },
}
# PAD, Li et al. 2024: configs/ of its program (NUS-HPC-AI-Lab/PAD 2a4bc91); the shares of layers that are not compared are its depth_ratio.
PAD_ROWS: Table = {
    "cifar10": {
        1: (TrajectoryRow(80, 2, 3, 100.0, 1e-7, 0.01, None, _Z), DifficultyRow(0, None, 1000, 5.0, 1.1)),
        10: (TrajectoryRow(80, 2, 19, 100.0, 1e-5, 0.01, None, _Z), DifficultyRow(0, 9, 1000, 2.0, shallow=0.5)),
        50: (TrajectoryRow(80, 3, 39, 1000.0, 1e-5, 0.01, None, _Z), DifficultyRow(0, 19, 2000, 2.0, shallow=0.25)),
        500: (TrajectoryRow(40, 2, 69, 50.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(40, 59, 2000, 10.0, shallow=0.5)),
        1000: (TrajectoryRow(100, 2, 59, 50.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(40, None, 1000, 10.0, shallow=0.5)),
    },
    "cifar100": {
        1: (TrajectoryRow(40, 3, 29, 1000.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(0, 19, 1000, 10.0, shallow=0.5)),
        10: (TrajectoryRow(80, 2, 49, 1000.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(0, 29, 2000, 10.0, shallow=0.5)),
        50: DATM_ROWS["cifar100"][50],
        100: (TrajectoryRow(80, 2, 69, 50.0, 1e-5, 0.01, 1000, _Z), DifficultyRow(30, None, 1000, 10.0, shallow=0.5)),
    },
    "tiny_imagenet": {ipc: (row, own._replace(shallow=0.5)) for ipc, (row, own) in DATM_ROWS["tiny_imagenet"].items()},
}
SMALL = (TrajectoryRow(20, 2, 6, 10.0, 1e-4, 0.05, 50), DifficultyRow(0, 2, 50, 1.0))
"""For few and small images, whose experts learn fast: a choice of this project."""


def _values(cell: Cell, table: Table) -> dict[str, Any]:
    """Iterations, step sizes, start epochs and experts."""
    row, difficulty = SMALL if cell.small else row_of(cell, table)
    row = row if cell.dataset in table else row._replace(whitening="none")
    own = difficulty._asdict()
    init = own.pop("init")
    rules = merge(values_of(row, 100 if cell.small else 10000, cell.small), {"distill": {"init": init, "difficulty": own}})
    return rules if cell.small else merge(rules, {"experts": {"epochs": 100}})


def _evaluation(cell: Cell) -> dict[str, Any]:
    """As the programs train on their sets: mini-batches of 128, and the labels that were learned."""
    return merge(augmented_evaluation(cell), {"evaluate": {"batch_size": 128, "labels": "learned"}})


def _check(distill: Any, epochs: int, found: str) -> None:
    """Experts are long enough, and there are starting points in every iteration."""
    check_experts(distill, epochs, found)
    own, max_start = distill.difficulty, distill.trajectory.max_start
    if not own.min_start <= (max_start if own.early_max_start is None else own.early_max_start) <= max_start:
        raise ValueError(
            f"distill.difficulty starts trainings at epochs min_start = {own.min_start} to early_max_start = {own.early_max_start}, which "
            f"grows to trajectory.max_start = {max_start}: give them in this order"
        )


DATM = replace(
    MTT,
    name="datm",
    title="difficulty-aligned trajectory matching (DATM)",
    paper="Guo et al. 2024",
    venue="ICLR 2024, arXiv 2310.05773",
    paper_title="Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching",
    settings={**MTT.settings, "difficulty": DifficultyConfig},
    values=partial(_values, table=DATM_ROWS),
    evaluation=_evaluation,
    no_effect="meets real samples only through its experts, and as initial images",
    check_experts=_check,
    real_part=False,
    loop="bilp.distill.loops.datm:distill",
    carried="bilp.distill.loops.datm:require_labels",
    carries="bilp.distill.loops.datm:label_forms",
    product="bilp.distill.label_product:product",
    stores_labels=always,
    brief={**MTT.brief, "difficulty": {"min_start": 0, "early_max_start": None, "label_rate": 0.0}},
)


def _pad_values(cell: Cell) -> dict[str, Any]:
    """As DATM, with its own rows, and the curriculum of its experts; a shorter one for few and small images."""
    rules = _values(cell, PAD_ROWS)
    if not cell.small:
        return merge(rules, {"experts": {"curriculum": {"criterion": "grand", "score": {"gradient_norm": "last_layer"}}}})
    scoring = {"network": {"width": 64}, "batch_size": 64, "gradient_norm": "last_layer"}
    short = {"criterion": "grand", "full_from": 3, "dropped_from": [6, 9], "score": scoring}
    return merge(rules, {"distill": {"difficulty": {"shallow": 0.5}}, "experts": {"curriculum": short}})


PAD = replace(
    DATM,
    name="pad",
    title="trajectory matching that prioritizes alignment (PAD)",
    paper="Li et al. 2024",
    venue="arXiv 2408.03360",
    paper_title="Prioritize Alignment in Dataset Distillation",
    values=_pad_values,
)

METHODS: tuple[Method, ...] = (DATM, PAD)
