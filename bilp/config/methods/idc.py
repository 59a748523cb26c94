"""IDC, efficient parameterization (Kim et al. 2022), and DREAM, its representative batches (Liu et al. 2023)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bilp.config.base import Count, Fraction, Frozen, Positive, Rate
from bilp.config.methods.spec import Cell, Method
from bilp.config.sources import SOURCES, IdcFacts

KernelMetric = Literal["mse", "l1"]


class PretrainedConfig(Frozen):
    """IDC, DREAM and LGM: networks that are trained on real images once, before the first iteration, and that all iterations share."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"networks", "epochs", "learning_rate"})

    networks: Count = 0
    """How many; every iteration starts from a copy of one, drawn at random. 0 gives each a new random network, or all of lgm the same."""
    epochs: Positive = 5
    """Epochs of their training on all real images that take part."""
    learning_rate: Rate = 0.1
    """Step size of its SGD, whose momentum is idc.network_momentum."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Weight decay of its SGD."""
    batch_size: Positive = 128
    """Its mini-batch."""


class IdcConfig(Frozen):
    """IDC and DREAM: gradients of convolution kernels, with networks that are trained on real images between image steps."""

    later: ClassVar[frozenset[str]] = frozenset({"pretrained"})
    by_rule: ClassVar[frozenset[str]] = frozenset({"metric", "train_samples", "cutmix"})

    metric: KernelMetric = "mse"
    """Distance of two gradients: sum of squared differences, or of absolute ones."""
    train_samples: Count = 2000
    """Real images of the network's training pass after each image step; 0 never trains it."""
    early_epochs: Count = 0
    """Epochs on all real images before the first image step of a network."""
    network_momentum: Fraction = 0.9
    """Momentum of the network's SGD."""
    network_weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of the network's SGD."""
    cutmix: Fraction = 0.5
    """Share of the network's mini-batches that are mixed by cutting and pasting; cutout is left out of their augmentation then."""
    pretrained: PretrainedConfig = PretrainedConfig()
    """Networks that are trained beforehand and shared by all iterations."""


class DreamConfig(Frozen):
    """DREAM: the real batch of a class is the sample nearest to each center of its clusters."""

    later: ClassVar[frozenset[str]] = frozenset({"clustered", "nearest"})

    interval: Positive = 10
    """Image steps for which the representatives of the clusters are used before the class is clustered anew."""
    # DREAM's program allows 100 (fast_pytorch_kmeans); why 20 suffice here is not recorded.
    most_steps: Positive = 20
    """Steps of k-means at most; it stops when no sample changes its cluster."""
    clustered: Literal["normalized", "pixels"] = "normalized"
    """Whose features are clustered: images as the network is trained on them, or their pixels in [0, 1]. DREAM's program took
    the latter by a slip, so that recipes of its published cells do too."""
    nearest: Literal["own", "all"] = "own"
    """What stands for a cluster: the nearest of its own samples, or of all samples of the class, as in DREAM's program, where a
    neighbor's sample may stand for a cluster, and one sample for two."""


# Other data have what IDC's program sets for CIFAR-10 and its like.
IDC_ELSEWHERE = IdcFacts("mse", 5e-3, 2000, 32, 32)
IDC_FACTOR = 2


def _facts(cell: Cell) -> IdcFacts:
    return SOURCES[cell.dataset].idc or IDC_ELSEWHERE


def _coarse(cell: Cell) -> bool:
    """Data of which parts are trained without CutMix and cutout, which would leave nothing of a stroke."""
    return not _facts(cell).mixes_parts and (cell.factor or IDC_FACTOR) > 1


def _values(cell: Cell, batch: int, init: str) -> dict[str, Any]:
    row = _facts(cell)
    mixed = not _coarse(cell)
    distill = {
        "iterations": 2000,
        "outer_loops": 100,
        "learning_rate": row.rate * cell.ipc / 10 * ((cell.side if cell.side > 0 else row.side) / row.base) ** 2,
        "batch_real": batch,
        "batch_train": batch,
        "init": init,
        "augment": ["color", "crop", "cutout"] if mixed else ["color", "crop"],
        "decode": {"factor": IDC_FACTOR},
        "idc": {"metric": row.metric, "train_samples": row.train_samples, "cutmix": 0.5 if mixed else 0.0},
    }
    return {"distill": distill, "reselect": {"candidates_per_class": 256}}


def _small(cell: Cell) -> dict[str, Any]:
    """Images of 8x8 are too small to be cut into parts: short schedules, larger steps."""
    distill = {
        "iterations": 12,
        "outer_loops": 10,
        "learning_rate": 2e-2 * cell.ipc / 10,
        "batch_real": 64,
        "idc": {"train_samples": 256},
        "decode": {"factor": 1},
    }
    return {"distill": distill}


def _exceptions(cell: Cell) -> dict[str, Any]:
    """Where IDC's program leaves CutMix out of its own protocol.

    In one of these cases, SVHN at one whole image per class, cutout remains (reproduce.py:22, argument.py:450), elsewhere CutMix
    is in its place.
    """
    if _facts(cell).cutout_of_one and (cell.factor or IDC_FACTOR) == cell.ipc == 1:
        return {"evaluate": {"cutmix": 0.0, "augment_after": ["cutout"]}}
    return {"evaluate": {"cutmix": 0.0}} if _coarse(cell) else {}


IDC = Method(
    name="idc",
    title="efficient parameterization (IDC)",
    paper="Kim et al. 2022",
    venue="ICML 2022, arXiv 2205.14959",
    paper_title="Dataset Condensation via Efficient Synthetic-Data Parameterization",
    settings={"idc": IdcConfig},
    values=partial(_values, batch=64, init="real"),
    small=_small,
    protocol="idc",
    exceptions=_exceptions,
    decodes=True,
    bounds_decoded=True,
    pretrained=True,
    augmentation="combined",
    independent_with={},
    weighs=True,
    revision=1,  # networks are trained on whole mini-batches that go on through the epochs; initial images
    matching="bilp.matching:kernels",
    loop="bilp.distill.loops.idc:distill",
    networks="bilp.distill.loops.idc:draw_trained_network",
)

DREAM = replace(
    IDC,
    name="dream",
    title="representative matching (DREAM)",
    paper="Liu et al. 2023",
    venue="ICCV 2023, arXiv 2302.14416",
    paper_title="DREAM: Efficient Dataset Distillation by Representative Matching",
    settings={"idc": IdcConfig, "dream": DreamConfig},
    values=partial(_values, batch=128, init="kmeans"),  # the batch of the loader of real images (DREAM's condense.py:490)
    weighs=False,  # its samples stand for their clusters
    parts={"representatives": "bilp.distill.step.representatives:Representatives"},
)

METHODS = (IDC, DREAM)
