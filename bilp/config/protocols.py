"""Evaluation as the papers do it: what a method and a named protocol imply, as nested values for `bilp.config.defaults`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from bilp.config.augmentations import ALL_FAMILIES
from bilp.config.dials import Settled
from bilp.config.network import CONVNET
from bilp.config.sources import SOURCES

# Methods whose papers are compared under another protocol than DC's.
METHOD_PROTOCOL = {"idc": "idc", "dream": "idc"}

# What DC's own program does with its ConvNetBN, also on MNIST: the augmentation "makes model training with Batch Norm layer
# easier", and whatever it augments it trains for 1000 epochs.
CONVNET_BN: dict[str, Any] = {"batch_norm_augment_each": ["crop", "noise"], "batch_norm_epochs": 1000}


def evaluation_rules(dataset: str, method: str) -> dict[str, Any]:
    """Protocol of the DC family: 300 epochs without augmentation (CAFE: 600), 1000 with it, which DC has for MNIST (and CAFE's
    program too: its get_daparam and main are DC's)."""
    if SOURCES[dataset].dc_operations and method in ("dc", "cafe"):
        return {"evaluate": {"epochs": 1000, "augment": [], "augment_each": ["crop", "scale", "rotate"]}}
    if method in ("dc", "cafe"):
        return {"evaluate": {"epochs": 300 if method == "dc" else 600, "augment": []}}
    return {"evaluate": {"epochs": 1000, "augment": list(ALL_FAMILIES)}}


def protocol_rules(protocol: str, dataset: str, ipc: int) -> dict[str, Any]:
    """What a named protocol means where it differs from DC's, whose values are the models' defaults and the method's rules."""
    if protocol == "idc":  # Kim et al. 2022 (IDC); DREAM and others after it
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
    elif protocol == "soft":  # Yin et al. 2023 (SRe2L) and Sun et al. 2024 (RDED), whose mini-batch grows with the set
        batch = 10 if ipc <= 1 else 50 if ipc <= 10 else 100
        changed = {
            "epochs": 300,
            "batch_size": SOURCES[dataset].soft_batch * batch,
            "optimiser": "adamw",
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
    else:
        return {}
    return {"evaluate": changed}


def is_convnet_bn(network: Mapping[str, Any]) -> bool:
    """Whether settings of a network mean DC's ConvNetBN: its ConvNet with batch norm and ReLU, of any width and depth."""
    return (network.get("name", CONVNET), network.get("norm"), network.get("activation", "relu")) == (CONVNET, "batch", "relu")


def convnet_bn_rules(settled: Settled, own: Set[str]) -> Iterator[tuple[str, Any, str]]:
    """Path, value and origin of what DC's own program does with its ConvNetBN, if that is among the networks.

    Not where somebody gave augment_each (`own` are the paths that somebody gave), nor on a data set whose images are smaller
    than the program knows; and the epochs follow where they are those of the program too.
    """
    decided = (not SOURCES[settled.source].small, settled.method == "dc", settled.protocol == "dc")
    if not all(decided) or not any(is_convnet_bn(network.model_dump()) for network in settled.networks):
        return
    for name in ("augment_each", "epochs"):
        path = f"evaluate.batch_norm_{name}"
        if path not in own and f"evaluate.{name}" not in own:
            yield path, CONVNET_BN[f"batch_norm_{name}"], "method dc (its ConvNet with batch norm)"
