"""IDM, improved distribution matching (Zhao et al. 2023)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Fraction, Frozen, Positive
from bilp.config.methods.spec import Cell, Method


class IdmConfig(Frozen):
    """IDM: distribution matching under a pool of networks that are trained on real images, with a classification term."""

    later: ClassVar[frozenset[str]] = frozenset({"accuracy_window"})
    by_rule: ClassVar[frozenset[str]] = frozenset({"new_every", "train_steps", "classification"})

    networks: Positive = 3
    """Networks in the pool at the beginning; the first iteration adds one more."""
    new_every: Positive = 30
    """A fresh network enters the pool every so many iterations, the first included."""
    most_networks: Positive = 100
    """Networks in the pool at most, the oldest leaves first; each is part of every checkpoint."""
    trained: Count = 2
    """Networks of the pool that are trained after each image step."""
    train_steps: Positive = 10
    """Steps of each such training, on real mini-batches of batch_train."""
    network_momentum: Fraction = 0.9
    """Momentum of the network's SGD; each network of the pool keeps its own from one training to the next."""
    network_weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of the network's SGD."""
    classification: Annotated[float, Field(ge=0.0)] = 0.5
    """Weight of the cross-entropy of the synthetic images, times the network's training accuracy in percent."""
    accuracy_window: Count = 0
    """Iterations after which that accuracy is counted anew, for all networks at once, so that the term is 0 until a network is
    trained again; 0 never does. IDM's program resets it at each of its evaluations, every 100 iterations (500 at ipc 50)."""

    @model_validator(mode="after")
    def _pool_fits(self) -> Self:
        if self.networks > self.most_networks:
            raise ValueError(f"networks = {self.networks} exceeds most_networks = {self.most_networks}: lower networks")
        return self


# IDM's program: the pool's settings above and 20000 iterations are the defaults of its IDM_cifar10.py (`trained` is fetch_net_num
# there), the others those of its commands for CIFAR-10 and CIFAR-100 (command.txt). Other data get CIFAR-10's.
# Weight of the classification term below ipc 10, from 10, from 50.
IDM_CLASSIFICATION = {"cifar100": (0.5, 0.1, 0.1)}
IDM_ELSEWHERE = (0.5, 0.5, 0.1)


def _values(cell: Cell) -> dict[str, Any]:
    dataset, ipc = cell.dataset, cell.ipc
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


def _small(cell: Cell) -> dict[str, Any]:
    """Images of 8x8 are too small to be cut into parts."""
    return {"distill": {"iterations": 100, "batch_real": 128, "batch_train": 64, "decode": {"factor": 1}}}


IDM = Method(
    name="idm",
    title="improved distribution matching (IDM)",
    paper="Zhao et al. 2023",
    venue="CVPR 2023, arXiv 2307.09742",
    paper_title="Improved Distribution Matching for Dataset Condensation",
    settings={"idm": IdmConfig},
    values=_values,
    small=_small,
    decodes=True,
    shrinking="bilinear",  # the mean of 2 x 2 pixels (IDM_cifar10.py:142)
    one_step=True,
    weighs=True,
    revision=1,  # the networks of the pool keep their momentum; initial images
    matching="bilp.matching:features",
    loop="bilp.distill.loops.idm:distill",
    schedule="bilp.distill.step.schedule:untrained",
    networks="bilp.distill.loops.idm:draw_trained_network",
    carried="bilp.distill.step.network_pool:require_pool",
    carries="bilp.distill.step.network_pool:pool_forms",
    work="bilp.costs.method_work:pool",
)

METHODS = (IDM,)
