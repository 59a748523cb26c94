"""How sets are evaluated in the field: each published protocol is an entry with its values and the papers that compare under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bilp.config.augmentations import ALL_FAMILIES
from bilp.config.labels import HARD
from bilp.config.network import CONVNET, CONVNET_FREPO, RESNET18, RESNET18_IMAGENET
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
    least_side: int = 1
    """Pixels that images have at least: on smaller ones the protocol makes no sense, and is refused."""
    departs: str = ""
    """A sentence on where ours differs from the published one, for the page and the documentation; empty if nowhere."""


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


def _ncfm(dataset: str, ipc: int) -> dict[str, Any]:
    """Of the program's configuration files, which have fewer epochs for some sets; half the step size at each fifth of the training."""
    changed: dict[str, Any] = {
        "epochs": SOURCES[dataset].ncfm_epochs.get(ipc, 2000),
        "batch_size": 128,
        "optimizer": "adamw",
        "learning_rate": 0.001,
        "weight_decay": 5e-4,
        "decay": "steps",
        "milestones": [0.2, 0.4, 0.6, 0.8],
        "decay_factor": 0.5,
        "augment_each": [],
        "augment_always": ["flip", "color"],
        "augment": ["crop", "scale", "rotate"],
        "cutmix": 0.5,
    }
    return {"evaluate": changed}


FREPO_STEPS = {10: 1000, 100: 2000, 200: 20_000, 400: 5000, 1000: 10_000, 2000: 40_000}
"""Steps of the tests of FRePo's program by images of the whole set; a set of another size has those of the next smaller one."""
FREPO_BATCH = 500


def _frepo(dataset: str, ipc: int) -> dict[str, Any]:
    """Adam is AdamW without weight decay, and an epoch as many steps as there are mini-batches."""
    counts = SOURCES[dataset].counts
    images = ipc * (counts.classes if counts else 10)
    steps = FREPO_STEPS[max((size for size in FREPO_STEPS if size <= images), default=min(FREPO_STEPS))]
    changed: dict[str, Any] = {
        "epochs": steps // -(-images // FREPO_BATCH),
        "batch_size": FREPO_BATCH,
        "networks": [{"name": CONVNET_FREPO, "norm": "none"}],
        "optimizer": "adamw",
        "learning_rate": 3e-4,
        "weight_decay": 0.0,
        "decay": "cosine",
        **_PLAIN,
        "augment": list(ALL_FAMILIES),
        "labels": "learned_values",
    }
    return {"evaluate": changed}


_PLAIN: dict[str, Any] = {"augment_each": [], "augment_always": [], "augment": [], "augment_after": [], "cutmix": 0.0}
_ADAMW: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.01, "decay": "cosine"}
_RESNET18: dict[str, Any] = {"name": RESNET18}
_LARGE: dict[str, Any] = {"name": RESNET18_IMAGENET}


def _hl(dataset: str, ipc: int) -> dict[str, Any]:
    """A tenth of the step size from epoch 151 on."""
    changed: dict[str, Any] = {
        "epochs": 300,
        "batch_size": 256,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "weight_decay": 5e-4,
        "decay": "steps",
        "milestones": [151 / 300],
        "decay_factor": 0.1,
        **_PLAIN,
        "augment": list(ALL_FAMILIES),
        "labels": HARD,
    }
    return {"evaluate": changed}


def _sl(dataset: str, ipc: int) -> dict[str, Any]:
    changed: dict[str, Any] = {
        "epochs": 300,
        "batch_size": 256,
        **_ADAMW,
        **_PLAIN,
        "augment": list(ALL_FAMILIES),
        "labels": "fixed",
        "temperature": 20.0,
        "temperature_squared": True,
    }
    return {"evaluate": changed}


def _slkd(dataset: str, ipc: int) -> dict[str, Any]:
    """Soft labels of every augmented view, with the optimizer and the test of RDED's program."""
    changed = {"decay_smoothing": 2.0, "decay_vectors": False, "test_enlarged": True}
    return {"evaluate": _soft(dataset, ipc)["evaluate"] | changed}


def _rd3(dataset: str, ipc: int) -> dict[str, Any]:
    """Adam is AdamW without weight decay."""
    changed: dict[str, Any] = {
        "epochs": 400,
        "batch_size": 50,
        "decay_smoothing": 1.0,
        "decay_vectors": True,
        "weight_decay": 0.0,
        "networks": [_RESNET18],
        "teacher": {"network": _RESNET18},
    }
    return {"evaluate": _slkd(dataset, ipc)["evaluate"] | changed}


def _cda_hl(dataset: str, ipc: int) -> dict[str, Any]:
    changed: dict[str, Any] = {
        "epochs": 300,
        "batch_size": 128,
        "networks": [_LARGE],
        **_ADAMW,
        "decay_vectors": False,
        **_PLAIN,
        "augment_always": ["resized_crop", "flip"],
        "labels": HARD,
        "test_enlarged": True,
    }
    return {"evaluate": changed}


def _cda_sl(dataset: str, ipc: int) -> dict[str, Any]:
    taught = {"cutmix": 1.0, "labels": "soft", "temperature": 20.0, "teacher": {"network": _LARGE}}
    return {"evaluate": _cda_hl(dataset, ipc)["evaluate"] | taught}


_PROBED = 100
"""Images of a mini-batch in the program of Cazenavette et al., or all where there are fewer; 256 of them would have the step size 0.001."""


def _linear_probe(dataset: str, ipc: int) -> dict[str, Any]:
    """Adam is AdamW without weight decay; the step size is in proportion to the images of a mini-batch."""
    counts = SOURCES[dataset].counts
    batch = _PROBED if counts is None else min(_PROBED, counts.classes * ipc)
    changed: dict[str, Any] = {
        "linear_probe": True,
        "epochs": 1000,
        "full_epochs": 100,
        "batch_size": _PROBED,
        **_ADAMW,
        "learning_rate": 0.001 * batch / 256,
        "weight_decay": 0.0,
        **_PLAIN,
        "augment_always": ["flip", "resized_crop"],
        "labels": HARD,
    }
    return {"evaluate": changed}


def _selmatch(dataset: str, ipc: int) -> dict[str, Any]:
    """The step size that was learned is not used."""
    changed: dict[str, Any] = {
        "epochs": SOURCES[dataset].selmatch_epochs.get(ipc, 1000),
        "batch_size": 128,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "learned_rate": False,
        "weight_decay": 5e-4,
        "decay": "cosine",
        **_PLAIN,
        "augment": list(ALL_FAMILIES),
        "labels": HARD,
    }
    return {"evaluate": changed}


def _ccfs(dataset: str, ipc: int) -> dict[str, Any]:
    """The mini-batch grows with the set, but for TinyImageNet."""
    source = SOURCES[dataset]
    grown = 32 if ipc < 500 else 64 if ipc < 1000 else 128
    changed: dict[str, Any] = {
        "epochs": source.ccfs_epochs.get(ipc, 500),
        "batch_size": source.ccfs_batch or grown,
        "optimizer": "sgd",
        "learning_rate": 0.2,
        "weight_decay": 1e-4,
        "decay": "cosine",
        **_PLAIN,
        "augment_always": ["resized_crop", "flip"],
        "labels": "soft",
        "temperature": 20.0,
        "temperature_squared": True,
    }
    return {"evaluate": changed}


DC = EvaluationProtocol(
    "dc", "hard labels, plain or siamese augmentation", "Zhao et al. 2021 (DC) and most after it", lambda dataset, ipc: {}
)
IDC = EvaluationProtocol("idc", "hard labels, CutMix", "Kim et al. 2022 (IDC); DREAM and others after it", _idc)
SOFT = EvaluationProtocol("soft", "soft labels of a teacher", "Yin et al. 2023 (SRe2L) and Sun et al. 2024 (RDED)", _soft)

_LAST = "The accuracy after the last epoch counts, and not the best one on test images."
NCFM = EvaluationProtocol("ncfm", "hard labels, CutMix, AdamW", "Wang et al. 2025 (NCFM)", _ncfm, departs=_LAST)
FREPO = EvaluationProtocol(
    "frepo",
    "labels learned with the images, squared error",
    "Zhou et al. 2022 (FRePo)",
    _frepo,
    departs=f"There is no warm-up, the cosine falls to zero, and augmentation is siamese. {_LAST}",
)

SELMATCH = EvaluationProtocol(
    "selmatch",
    "hard labels, siamese augmentation, long trainings with a large step size",
    "Lee & Chung 2024 (SelMatch)",
    _selmatch,
    departs=f"{_LAST} Real images are augmented as distilled ones, not by shifts and mirroring alone. The step size ends at 0, "
    "not at a hundredth.",
)

_OWN_TEACHER = "The teacher is trained here on all real images, as evaluate.teacher says, and is no published network."
_NO_SHUFFLE = "Tiles of an image are not shuffled, and crops are the shifts and scalings of protocol soft."

CCFS = EvaluationProtocol(
    "ccfs",
    "soft labels of every augmented view, SGD with a large step size",
    "Chen et al. 2025 (CCFS)",
    _ccfs,
    departs=f"{_OWN_TEACHER} {_LAST} The step size is not warmed up, which takes five epochs there.",
)

EQUAL = (
    EvaluationProtocol("hl", "hard labels, siamese augmentation", "arXiv 2604.18811 (CAD-Prune), 32 and 64 pixels", _hl),
    EvaluationProtocol("sl", "one soft label per image", "arXiv 2604.18811 (CAD-Prune), 32 and 64 pixels", _sl, departs=_OWN_TEACHER),
    EvaluationProtocol(
        "slkd",
        "soft labels of every augmented view, as RDED's program trains and tests",
        "Sun et al. 2024 (RDED) and those that report distilled labels beside hard ones",
        _slkd,
        departs=f"{_OWN_TEACHER} {_NO_SHUFFLE}",
    ),
    EvaluationProtocol(
        "rd3",
        "soft labels of every augmented view, one training common to all methods",
        "arXiv 2509.19743 (RD3)",
        _rd3,
        departs=f"{_OWN_TEACHER} {_NO_SHUFFLE}",
    ),
    EvaluationProtocol(
        "cda_hl", "hard labels, crops as on ImageNet", "arXiv 2502.06434 (rethinking compression)", _cda_hl, least_side=128, departs=_LAST
    ),
    EvaluationProtocol(
        "cda_sl",
        "soft labels of every augmented view, crops and CutMix as on ImageNet",
        "arXiv 2502.06434 (rethinking compression)",
        _cda_sl,
        least_side=128,
        departs=f"{_OWN_TEACHER} {_LAST}",
    ),
)
"""Protocols under which sets of different methods, and real subsets, are compared with each other."""

LINEAR_PROBE = EvaluationProtocol(
    "linear_probe",
    "hard labels, a linear classifier on a frozen encoder",
    "Cazenavette et al. 2025 (LGM)",
    _linear_probe,
    departs="An encoder that is not supplied is trained here, with labels, on all real images, as evaluate.teacher says.",
)

PROTOCOLS = Registry("evaluation protocol", EvaluationProtocol, (DC, IDC, SOFT, *EQUAL, NCFM, FREPO, SELMATCH, CCFS, LINEAR_PROBE))
DEFAULT_PROTOCOL = DC.name


def is_convnet_bn(network: Mapping[str, Any]) -> bool:
    """Whether settings of a network mean DC's ConvNetBN: its ConvNet with batch norm and ReLU, of any width and depth."""
    return (network.get("name", CONVNET), network.get("norm"), network.get("activation", "relu")) == (CONVNET, "batch", "relu")
