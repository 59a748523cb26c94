"""Studies and parts of them that were never computed: rows as the evaluations would have given them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bilp.studies.definition import study_of
from bilp.studies.study_plan import Plan, planned

NARROW = {"width": 8}
TWO_CELLS: dict[str, Any] = {
    "name": "wrong",
    "settings": {"dataset": "digits", "distill": {"network": NARROW}, "evaluate": {"networks": [NARROW]}},
    "grid": {"labels": {"clean": {}, "20 % wrong": {"keep": 0.7}}},
    "arms": {"random": {"title": "Random <real>", "baseline": "random"}, "unpruned": {}, "static": {}, "bilp": {}},
    "seeds": 3,
}


@dataclass(frozen=True)
class Told:
    """What `bilp.studies.study_table` reads of a part."""

    rows: Sequence[Mapping[str, Any]]
    seconds: Sequence[Mapping[str, Any]] = ()
    detection: Sequence[Mapping[str, Any]] = ()


def plan_of(**changes: Any) -> Plan:
    """The plan of TWO_CELLS with these entries changed."""
    return planned(study_of({**TWO_CELLS, **changes}, "study"), "study")


def row(cell: str, seed: int, arm: str, training: int, accuracy: float, network: str = "convnet") -> dict[str, Any]:
    """A trained network."""
    return {
        "cell": cell,
        "seed": seed,
        "arm": arm,
        "network": network,
        "training": training,
        "accuracy": accuracy,
        "best_accuracy": accuracy,
        "train_images": 10,
        "epochs": 5,
        "evaluation": "0" * 16,
        "top_k": 5,
        "top_k_accuracy": (1 + accuracy) / 2,
    }
