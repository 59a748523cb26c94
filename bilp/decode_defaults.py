"""Published hyper-parameters of IDC, DREAM and IDM, for any ipc: rules of `bilp.defaults`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# IDC, Kim et al. 2022: metric, step size on pixels at ipc 10 and side 32 (MNIST 28), real images of a training pass.
IDC_SETTINGS: dict[str, tuple[str, float, int]] = {
    "mnist": ("l1", 1e-4, 500),
    "fashion_mnist": ("l1", 1e-4 * (28 / 32) ** 2, 500),
    "svhn": ("mse", 5e-3, 500),
    "cifar10": ("mse", 5e-3, 2000),
    "cifar100": ("mse", 5e-3, 2000),
}
IDC_ELSEWHERE = IDC_SETTINGS["cifar10"]

# IDM, Zhao et al. 2023: weight of the classification term below ipc 10, from 10, from 50.
IDM_CLASSIFICATION = {"cifar100": (0.5, 0.1, 0.1)}
IDM_ELSEWHERE = (0.5, 0.5, 0.1)


def decoding_rules(dataset: str, method: str, ipc: int) -> dict[str, Any]:
    """Nested values that `method` implies; empty for the other methods."""
    if method in ("idc", "dream"):
        return _idc_rules(dataset, method, ipc)
    return _idm_rules(dataset, ipc) if method == "idm" else {}


def _idc_rules(dataset: str, method: str, ipc: int) -> dict[str, Any]:
    metric, rate, samples = IDC_SETTINGS.get(dataset, IDC_ELSEWHERE)
    mixed = dataset != "mnist"  # its coarser images are trained without CutMix and cutout
    distill = {
        "iterations": 2000,
        "outer_loops": 100,
        "learning_rate": rate * ipc / 10,
        "batch_real": 64 if method == "idc" else 128,
        "batch_train": 64,
        "init": "real" if method == "idc" else "kmeans",
        "augment": ["color", "crop", "cutout"] if mixed else ["color", "crop"],
        "decode": {"factor": 2},
        "idc": {"metric": metric, "train_samples": samples, "cutmix": 0.5 if mixed else 0.0},
    }
    return {"distill": distill, "reselect": {"candidates_per_class": 256}}


def _idm_rules(dataset: str, ipc: int) -> dict[str, Any]:
    weights = IDM_CLASSIFICATION.get(dataset, IDM_ELSEWHERE)
    weight = weights[0] if ipc < 10 else weights[1] if ipc < 50 else weights[2]
    distill = {
        "iterations": 20000,
        "learning_rate": 0.2,
        "batch_real": 5000 if ipc == 1 else 256,
        "init": "real",
        "decode": {"factor": 2},
        "idm": {
            "new_every": 5 if ipc == 1 else 30,
            "train_steps": 50 if (dataset, ipc) == ("cifar100", 10) else 10,
            "classification": weight,
        },
    }
    return {"distill": distill}


def digits_rules(method: str, ipc: int) -> dict[str, Any]:
    """What these methods need on images of 8x8, which are too small to be cut into parts: short schedules, larger steps."""
    if method == "idm":
        return {"iterations": 100, "batch_real": 128, "batch_train": 64, "decode": {"factor": 1}}
    return {
        "iterations": 12,
        "outer_loops": 10,
        "learning_rate": 2e-2 * ipc / 10,
        "batch_real": 64,
        "idc": {"train_samples": 256},
        "decode": {"factor": 1},
    }


def smallest_class(values: Mapping[str, Any], ipc: int, factor: int) -> int:
    """Samples that a class needs for its real initialisation: under these rules, or with the `factor` that was given (else 0)."""
    factor = factor or values.get("distill", {}).get("decode", {}).get("factor", 1)
    return int(max(ipc * factor**2, 2))
