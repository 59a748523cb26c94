"""Trajectory matching: MTT (Cazenavette et al. 2022), and TESLA in constant memory (Cui et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

from pydantic import Field

from bilp.config.augmentations import ALL_FAMILIES, AugmentFamily
from bilp.config.base import SHARED, Count, Fraction, Frozen, GpuArithmetic, GpuRevision, Positive, Rate, Seed
from bilp.config.curriculum import CurriculumConfig
from bilp.config.methods.spec import Cell, Method


class ExpertsConfig(Frozen):
    """Experts: trainings on real samples whose parameters after every epoch trajectory matching imitates; their network is
    distill.network."""

    later: ClassVar[frozenset[str]] = frozenset({"gpu_revision", "curriculum"})
    by_rule: ClassVar[frozenset[str]] = SHARED | {"count", "epochs", "batch_size", "learning_rate", "augment"}

    count: Positive = 100
    """Independently seeded experts."""
    epochs: Positive = 50
    """Epochs of each expert; its parameters are kept before the first and after every one."""
    batch_size: Positive = 256
    """Mini-batch."""
    learning_rate: Rate = 0.01
    """Step size of SGD."""
    momentum: Fraction = 0.0
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight decay of SGD."""
    augment: tuple[AugmentFamily, ...] = ALL_FAMILIES
    """Augmentation, fresh parameters per image; empty is none."""
    curriculum: CurriculumConfig = CurriculumConfig()
    """Which samples each epoch learns."""
    gpu: GpuArithmetic = "float32"
    gpu_revision: GpuRevision = 0
    seed: Seed = 0
    """Seed of the experts (expert k uses its own streams)."""


class TrajectoryConfig(Frozen):
    """Trajectory matching: training on the synthetic images must lead where some epochs of an expert led."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"steps", "expert_epochs", "max_start", "batch", "step_size", "step_rate"})

    steps: Positive = 20
    """Training steps on the synthetic images."""
    expert_epochs: Positive = 2
    """Epochs of the expert that they shall make up for."""
    max_start: Count = 20
    """Last epoch of the expert that may be the starting point; it is drawn uniformly from 0 up to this one. The programs of MTT
    and TESLA draw below their max_start_epoch, so this is one less."""
    batch: Positive | None = None
    """Synthetic images per step, shuffled and without replacement; empty takes all of them."""
    step_size: Rate = 0.01
    """Step size of this training before it is learned."""
    step_rate: Annotated[float, Field(ge=0.0)] = 1e-5
    """Step size of SGD on that step size; 0 leaves it as it is."""
    step_momentum: Fraction = 0.5
    """Momentum of SGD on that step size."""

    @property
    def needed_epochs(self) -> int:
        """Epochs that an expert must have."""
        return self.max_start + self.expert_epochs


class TrajectoryRow(NamedTuple):
    """One line of a published table."""

    steps: int
    expert_epochs: int
    max_start: int
    """Last epoch that may be the start: one less than max_start_epoch of the programs, which draw below it
    (np.random.randint(0, max_start_epoch): mtt-distillation distill.py:324, tesla distill.py:322)."""
    learning_rate: float
    step_rate: float
    step_size: float
    batch: int | None = None
    whitening: str = "none"


Table = dict[str, dict[int, TrajectoryRow]]
Row = TypeVar("Row")

# MTT, Cazenavette et al. 2022, as the programs of the field's benchmark (dc_benchmark) list its settings, by ipc.
MTT_ROWS: Table = {
    "cifar10": {
        1: TrajectoryRow(50, 2, 1, 100.0, 1e-7, 0.01, whitening="zca"),
        10: TrajectoryRow(30, 2, 19, 100.0, 1e-5, 0.001, whitening="zca"),
        50: TrajectoryRow(30, 2, 39, 1000.0, 1e-5, 0.001),
    },
    "cifar100": {
        1: TrajectoryRow(20, 3, 19, 1000.0, 1e-5, 0.01, whitening="zca"),
        10: TrajectoryRow(20, 2, 19, 1000.0, 1e-5, 0.01),
        50: TrajectoryRow(80, 2, 39, 1000.0, 1e-5, 0.01, 125, "zca"),
    },
}

# TESLA, Cui et al. 2023, where it differs from MTT. Its program loses a factor 2 of the gradient, so what is an image rate
# of 1000 there is 500 with the whole gradient.
TESLA_ROWS: Table = {
    "cifar10": {**MTT_ROWS["cifar10"], 1: TrajectoryRow(50, 2, 4, 500.0, 1e-7, 0.01)},
    "cifar100": {**MTT_ROWS["cifar100"], 50: TrajectoryRow(80, 2, 39, 500.0, 1e-5, 0.01, 125, "zca")},
}


def row_of(cell: Cell, table: Mapping[str, Mapping[int, Row]]) -> Row:
    """The line of the largest published ipc that is not above the cell's; one of CIFAR-10's for a dataset without any."""
    lines = table.get(cell.dataset, table["cifar10"])
    return lines[max(known for known in lines if known <= max(cell.ipc, 1))]


def _row(cell: Cell, table: Table) -> TrajectoryRow:
    """The line of a cell; CIFAR-10's are taken less whitening."""
    if cell.small:  # experts with a larger step size learn these in a dozen epochs, where 0.01 would take fifty
        return TrajectoryRow(20, 2, 6, 10.0, 1e-4, 0.05, None if cell.ipc <= 5 else 50)
    row = row_of(cell, table)
    return row if cell.dataset in table else row._replace(whitening="none")


def _values(cell: Cell, table: Table, iterations: int) -> dict[str, Any]:
    return values_of(_row(cell, table), 100 if cell.small else iterations, cell.small)


def values_of(row: TrajectoryRow, iterations: int, small: bool) -> dict[str, Any]:
    """The settings that a line stands for, with experts for few and small images if they are."""
    values = row._asdict()
    whitening = values.pop("whitening")
    distill = {"learning_rate": values.pop("learning_rate"), "iterations": iterations, "init": "real", "trajectory": values}
    rules: dict[str, Any] = {"distill": distill, "ingest": {"whitening": whitening}}
    if small:
        rules["experts"] = {"count": 4, "epochs": 12, "batch_size": 64, "learning_rate": 0.05}
    return rules


def check_experts(distill: Any, epochs: int, found: str) -> None:
    """Raises ValueError if experts of so many epochs, which `found` tells, end before what trainings are compared with."""
    needed = distill.trajectory.needed_epochs
    if needed > epochs:
        raise ValueError(
            f"distill.trajectory needs experts of {needed} epochs (max_start + expert_epochs), but {found}: "
            "train them longer or lower max_start"
        )


MTT = Method(
    name="mtt",
    title="trajectory matching (MTT)",
    paper="Cazenavette et al. 2022",
    venue="CVPR 2022, arXiv 2203.11932",
    paper_title="Dataset Distillation by Matching Training Trajectories",
    settings={"trajectory": TrajectoryConfig},
    values=partial(_values, table=MTT_ROWS, iterations=5000),
    values_for="on {dataset} at ipc {ipc}",
    no_effect="meets real samples only through its experts",
    needs_experts=True,
    check_experts=check_experts,
    real_part=True,
    matching="bilp.matching:trajectories",
    loop="bilp.distill.loops.mtt:distill",
    carried="bilp.distill.loops.mtt:require_step_size",
    carries="bilp.distill.loops.mtt:step_size_forms",
    work="bilp.costs.method_work:trajectory",
    loss="loss against experts",
    loss_meaning="How far training on the synthetic images ends from where the expert went, as a part of the expert's way; it should fall "
    "and level off. Every iteration begins elsewhere, so it is never smooth.",
    brief={"trajectory": {"expert_epochs": 1, "max_start": 0, "step_rate": 0.0}},
    parts={"gradient": "bilp.matching.trajectory_forms:exact"},
)

TESLA = replace(
    MTT,
    name="tesla",
    title="trajectory matching in constant memory (TESLA)",
    paper="Cui et al. 2023",
    venue="ICML 2023, arXiv 2211.10586",
    paper_title="Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory",
    values=partial(_values, table=TESLA_ROWS, iterations=10000),
    parts={"gradient": "bilp.matching.trajectory_forms:in_constant_memory"},
    work="bilp.costs.method_work:trajectory_in_constant_memory",
)

METHODS = (MTT, TESLA)
