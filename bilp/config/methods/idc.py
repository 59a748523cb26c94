"""Published hyper-parameters of IDC, DREAM and IDM, for any ipc: rules of `bilp.config.defaults`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bilp.config.sources import SOURCES, IdcFacts

# Other data have what IDC's program sets for CIFAR-10 and its like.
IDC_ELSEWHERE = IdcFacts("mse", 5e-3, 2000, 32, 32)
IDC_FACTOR = 2

# IDM, Zhao et al. 2023: weight of the classification term below ipc 10, from 10, from 50.
IDM_CLASSIFICATION = {"cifar100": (0.5, 0.1, 0.1)}
IDM_ELSEWHERE = (0.5, 0.5, 0.1)


def decoding_rules(dataset: str, method: str, ipc: int, factor: int = 0, side: int = 0) -> dict[str, Any]:
    """Nested values that `method` implies; empty for the other methods.

    `factor` and `side` are what was given for distill.decode.factor and ingest.resolution, 0 for nothing.
    """
    if method in ("idc", "dream"):
        return _idc_rules(dataset, method, ipc, factor, side)
    return _idm_rules(dataset, ipc) if method == "idm" else {}


def idc_evaluation_rules(dataset: str, ipc: int, factor: int) -> dict[str, Any]:
    """Where IDC's program leaves CutMix out of its own protocol; `factor` as for `decoding_rules`.

    In one of these cases, SVHN at one whole image per class, cutout remains (reproduce.py:22, argument.py:450), elsewhere CutMix
    is in its place.
    """
    factor, facts = factor or IDC_FACTOR, _facts(dataset)
    if facts.cutout_of_one and factor == ipc == 1:
        return {"evaluate": {"cutmix": 0.0, "augment_after": ["cutout"]}}
    return {} if facts.mixes_parts or factor == 1 else {"evaluate": {"cutmix": 0.0}}


def _facts(dataset: str) -> IdcFacts:
    return SOURCES[dataset].idc or IDC_ELSEWHERE


def _idc_rules(dataset: str, method: str, ipc: int, factor: int, side: int) -> dict[str, Any]:
    row = _facts(dataset)
    mixed = row.mixes_parts or (factor or IDC_FACTOR) == 1
    distill = {
        "iterations": 2000,
        "outer_loops": 100,
        "learning_rate": row.rate * ipc / 10 * ((side if side > 0 else row.side) / row.base) ** 2,
        "batch_real": 64 if method == "idc" else 128,
        "batch_train": 64 if method == "idc" else 128,  # that of the loader of real images (DREAM's condense.py:490)
        "init": "real" if method == "idc" else "kmeans",
        "augment": ["color", "crop", "cutout"] if mixed else ["color", "crop"],
        "decode": {"factor": IDC_FACTOR},
        "idc": {"metric": row.metric, "train_samples": row.train_samples, "cutmix": 0.5 if mixed else 0.0},
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
    """Samples that a class needs for its real initialization: under these rules, or with the `factor` that was given (else 0)."""
    factor = factor or values.get("distill", {}).get("decode", {}).get("factor", 1)
    return int(max(ipc * factor**2, 2))
