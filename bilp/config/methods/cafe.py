"""Published settings of trajectory matching and of CAFE, as nested values for any dataset and ipc."""

from __future__ import annotations

from typing import Any, NamedTuple

from bilp.config.sources import SOURCES


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


# MTT, Cazenavette et al. 2022, as the programs of the field's benchmark (dc_benchmark) list its settings, by ipc.
MTT: dict[str, dict[int, TrajectoryRow]] = {
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
TESLA: dict[str, dict[int, TrajectoryRow]] = {
    "cifar10": {**MTT["cifar10"], 1: TrajectoryRow(50, 2, 4, 500.0, 1e-7, 0.01)},
    "cifar100": {**MTT["cifar100"], 50: TrajectoryRow(80, 2, 39, 500.0, 1e-5, 0.01, 125, "zca")},
}

ITERATIONS = {"mtt": 5000, "tesla": 10000}


def trajectory_row(dataset: str, method: str, ipc: int) -> TrajectoryRow:
    """The line of the largest published ipc that is not above `ipc`; CIFAR-10's lines, less whitening, for a dataset without any."""
    table = TESLA if method == "tesla" else MTT
    lines = table.get(dataset, table["cifar10"])
    row = lines[max(known for known in lines if known <= max(ipc, 1))]
    return row if dataset in table else row._replace(whitening="none")


def trajectory_rules(dataset: str, method: str, ipc: int) -> dict[str, Any]:
    """Nested values of mtt and tesla."""
    row = trajectory_row(dataset, method, ipc)
    if SOURCES[dataset].small:  # experts with a larger step size learn these in a dozen epochs, where 0.01 would take fifty
        row = TrajectoryRow(20, 2, 6, 10.0, 1e-4, 0.05, None if ipc <= 5 else 50)
    values = row._asdict()
    whitening = values.pop("whitening")
    distill = {"learning_rate": values.pop("learning_rate"), "iterations": ITERATIONS[method], "init": "real", "trajectory": values}
    rules: dict[str, Any] = {"distill": distill, "ingest": {"whitening": whitening}}
    if SOURCES[dataset].small:
        distill["iterations"] = 100
        rules["experts"] = {"count": 4, "epochs": 12, "batch_size": 64, "learning_rate": 0.05}
    return rules


def alignment_rules(dataset: str) -> dict[str, Any]:
    """Nested values of cafe (Wang et al. 2022): noise, no augmentation, one setting for every dataset and ipc."""
    distill: dict[str, Any] = {"iterations": 2000, "learning_rate": 0.1, "init": "noise", "augment": []}
    # A vector as large as all feature maps is pulled back for every sample, so samples take turns.
    rules: dict[str, Any] = {"distill": distill, "reselect": {"candidates_per_class": 256}}
    if SOURCES[dataset].small:  # a hundredth of the budget
        distill |= {"iterations": 20, "alignment": {"watched": 5, "most_steps": 10, "most_epochs": 10, "measured_per_class": 32}}
    return rules
