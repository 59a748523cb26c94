"""SelMatch (Lee & Chung 2024): trajectory matching from a window of the ranking by difficulty, of which a part stays real."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from bilp.config.methods.spec import Cell
from bilp.config.methods.trajectory import MTT
from bilp.config.real_part import RealPartConfig


class WindowRow(NamedTuple):
    """One line of a published table."""

    share: float
    """Real images among those of a class: 1 - alpha."""
    window: float
    """Where the window begins: beta."""
    learning_rate: float = 1000.0


# The scripts of the program (scripts/distill of Yongalls/SelMatch, ce63f76), by ipc.
ROWS: dict[str, dict[int, WindowRow]] = {
    "cifar10": {
        250: WindowRow(0.4, 0.5),
        500: WindowRow(0.8, 0.3),
        1000: WindowRow(0.9, 0.2, 10000.0),
        1500: WindowRow(0.9, 0.2, 10000.0),
    },
    "cifar100": {25: WindowRow(0.2, 0.8), 50: WindowRow(0.4, 0.7), 100: WindowRow(0.7, 0.6), 150: WindowRow(0.8, 0.4)},
    "tiny_imagenet": {50: WindowRow(0.4, 0.8), 100: WindowRow(0.5, 0.7)},
}
STEPS = {"tiny_imagenet": 20}
"""Where the scripts do not leave syn_steps at 55."""
DEPTHS = {"tiny_imagenet": 4}
"""Blocks of the ConvNet with batch norm, where there are not three."""


def _row(cell: Cell) -> WindowRow:
    """The line of the largest published ipc that is not above the cell's, or of the smallest; CIFAR-10's for other data."""
    lines = ROWS.get(cell.dataset, ROWS["cifar10"])
    return lines[max((known for known in lines if known <= cell.ipc), default=min(lines))]


def _values(cell: Cell) -> dict[str, Any]:
    """max_start is 79, as the program draws below its max_start_epoch of 80. A class of so few images that none would be moved has no
    real part."""
    row = _row(cell)
    part = RealPartConfig(share=row.share, window=row.window)
    own = {"share": part.share if part.real(cell.ipc) < cell.ipc else 0.0, "window": part.window}
    imitated: dict[str, Any] = {"steps": STEPS.get(cell.dataset, 55), "expert_epochs": 2, "max_start": 79, "batch": 125}
    distill: dict[str, Any] = {
        "iterations": 10000,
        "init": "real",
        "learning_rate": row.learning_rate,
        "trajectory": {**imitated, "step_size": 0.001, "step_rate": 1e-5},
        "real_part": own,
    }
    experts = {"count": 100, "epochs": 100}
    if cell.dataset in ROWS:  # networks of other data are left to their own rules
        distill["network"] = {"norm": "batch", **({"depth": DEPTHS[cell.dataset]} if cell.dataset in DEPTHS else {})}
    return {"distill": distill, "experts": experts, "prune": {"minimum_per_class": max(part.first(cell.ipc) + cell.ipc, 2)}}


def _small(cell: Cell) -> dict[str, Any]:
    """Experts of a dozen epochs, as MTT has on these."""
    distill: dict[str, Any] = {
        "iterations": 100,
        "learning_rate": 10.0,
        "trajectory": {"steps": 20, "max_start": 6, "batch": None if cell.ipc <= 5 else 50, "step_size": 0.05, "step_rate": 1e-4},
    }
    return {"distill": distill, "experts": {"count": 4, "epochs": 12, "batch_size": 64, "learning_rate": 0.05}}


SELMATCH = replace(
    MTT,
    name="selmatch",
    title="selection and trajectory matching (SelMatch)",
    paper="Lee & Chung 2024",
    venue="ICML 2024, arXiv 2406.18561",
    paper_title=(
        "SelMatch: Effectively Scaling Up Dataset Distillation via Selection-Based Initialization "
        "and Partial Updates by Trajectory Matching"
    ),
    values=_values,
    small=_small,
    protocol="selmatch",
    no_effect="meets real samples only through its experts and its window",
    dials=lambda cell: {"criterion": "forgetting"},
)

METHODS = (SELMATCH,)
