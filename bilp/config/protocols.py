"""How sets are evaluated in the field: each published protocol is an entry with its values and the papers that compare under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bilp.config.network import CONVNET
from bilp.config.sources import SOURCES
from bilp.registry import Registry


@dataclass(frozen=True)
class EvaluationProtocol:
    """A published protocol of evaluation."""

    name: str
    """As `evaluate.protocol` takes it."""
    title: str
    """In words."""
    papers: str
    """Who compares under it."""
    values: Callable[[str, int], dict[str, Any]]
    """Nested values for a data set and an ipc, where they differ from the models' defaults and the method's own."""


def _idc(dataset: str, ipc: int) -> dict[str, Any]:
    changed: dict[str, Any] = {
        "epochs": 1000,
        "batch_size": 64,
        "decay": "steps",
        "milestones": [2 / 3, 5 / 6],
        "decay_factor": 0.2,
        "augment_each": [],
        "augment_always": ["flip", "color"],
        "augment": ["crop", "scale", "rotate"],
        "cutmix": 0.5,
    }
    return {"evaluate": changed}


def _soft(dataset: str, ipc: int) -> dict[str, Any]:
    """The mini-batch grows with the set."""
    batch = 10 if ipc <= 1 else 50 if ipc <= 10 else 100
    changed: dict[str, Any] = {
        "epochs": 300,
        "batch_size": SOURCES[dataset].soft_batch * batch,
        "optimizer": "adamw",
        "learning_rate": 0.001,
        "weight_decay": 0.01,
        "decay": "cosine",
        "augment_each": [],
        "augment_always": ["flip"],
        "augment": ["crop", "scale"],
        "cutmix": 1.0,
        "labels": "soft",
        "temperature": 20.0,
    }
    return {"evaluate": changed}


DC = EvaluationProtocol(
    "dc", "hard labels, plain or siamese augmentation", "Zhao et al. 2021 (DC) and most after it", lambda dataset, ipc: {}
)
IDC = EvaluationProtocol("idc", "hard labels, CutMix", "Kim et al. 2022 (IDC); DREAM and others after it", _idc)
SOFT = EvaluationProtocol("soft", "soft labels of a teacher", "Yin et al. 2023 (SRe2L) and Sun et al. 2024 (RDED)", _soft)

PROTOCOLS = Registry("evaluation protocol", EvaluationProtocol, (DC, IDC, SOFT))
DEFAULT_PROTOCOL = DC.name


def is_convnet_bn(network: Mapping[str, Any]) -> bool:
    """Whether settings of a network mean DC's ConvNetBN: its ConvNet with batch norm and ReLU, of any width and depth."""
    return (network.get("name", CONVNET), network.get("norm"), network.get("activation", "relu")) == (CONVNET, "batch", "relu")
