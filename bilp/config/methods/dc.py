"""Gradient matching: DC (Zhao et al. 2021) and DSA, the same under siamese augmentation (Zhao & Bilen 2021)."""

from __future__ import annotations

from functools import partial
from typing import Any

from bilp.config.methods.spec import Cell, Method
from bilp.config.real_passes import EXACT_OR_SHORT
from bilp.config.sources import SOURCES

# DC, outer and inner loops by ipc; the reference program refuses any other ipc.
DC_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}

# What DC's own program does with its ConvNetBN, also on MNIST: the augmentation "makes model training with Batch Norm layer
# easier", and whatever it augments it trains for 1000 epochs.
CONVNET_BN: dict[str, Any] = {"augment_each": ["crop", "noise"], "epochs": 1000}


def dc_loops(ipc: int) -> tuple[int, int]:
    """Outer loops and inner epochs of gradient matching for any ipc, linear between the published points."""
    if ipc in DC_LOOPS:
        return DC_LOOPS[ipc]
    known = sorted(DC_LOOPS)
    if ipc > known[-1]:
        return ipc, DC_LOOPS[known[-1]][1]
    low = max(k for k in known if k < ipc)
    high = min(k for k in known if k > ipc)
    if low == 1:  # between 1 and 10 the network must be trained at all, as it is from 10 on
        return ipc, DC_LOOPS[high][1]
    share = (ipc - low) / (high - low)
    return ipc, round(DC_LOOPS[low][1] + share * (DC_LOOPS[high][1] - DC_LOOPS[low][1]))


def plain_evaluation(cell: Cell, epochs: int) -> dict[str, Any]:
    """Evaluation without augmentation, which DC's program has for MNIST alone, and then trains for 1000 epochs."""
    if SOURCES[cell.dataset].dc_operations:
        return {"evaluate": {"epochs": 1000, "augment": [], "augment_each": ["crop", "scale", "rotate"]}}
    return {"evaluate": {"epochs": epochs, "augment": []}}


def _values(cell: Cell, **own: Any) -> dict[str, Any]:
    outer, inner = dc_loops(cell.ipc)
    distill = {"iterations": 1000, "learning_rate": 0.1, "outer_loops": outer, "inner_epochs": inner, **own}
    # A gradient per sample costs several times what its share of an ordinary step does, so samples take turns.
    return {"distill": distill, "reselect": {"candidates_per_class": 256}}


def _small(cell: Cell) -> dict[str, Any]:
    return {"distill": {"iterations": 100, "inner_epochs": min(dc_loops(cell.ipc)[1], 10)}}


DC = Method(
    name="dc",
    title="gradient matching (DC)",
    paper="Zhao, Mopuri & Bilen 2021",
    venue="ICLR 2021, arXiv 2006.05929",
    paper_title="Dataset Condensation with Gradient Matching",
    values=partial(_values, init="noise", augment=[]),
    small=_small,
    evaluation=partial(plain_evaluation, epochs=300),
    convnet_bn=CONVNET_BN,
    augmentation="none",
    augmented_as="dsa",
    independent_with={"outer_loops": 1},
    real_part=True,
    weighs=True,
    signed=True,
    real_passes=EXACT_OR_SHORT,
    measuring_cost=4.1,
    product_cost=4.0,
    matching="bilp.matching:gradients",
    loop="bilp.distill.loops.captured:distill",
    work="bilp.costs.method_work:gradients",
)

DSA = Method(
    name="dsa",
    title="gradient matching with augmentation (DSA)",
    paper="Zhao & Bilen 2021",
    venue="ICML 2021, arXiv 2102.08259",
    paper_title="Dataset Condensation with Differentiable Siamese Augmentation",
    values=partial(_values, init="real"),
    small=_small,
    independent_with={"outer_loops": 1},
    real_part=True,
    weighs=True,
    signed=True,
    real_passes=EXACT_OR_SHORT,
    measuring_cost=4.1,
    product_cost=4.0,
    matching="bilp.matching:gradients",
    loop="bilp.distill.loops.captured:distill",
    work="bilp.costs.method_work:gradients",
    schedule="bilp.distill.step.schedule:trained_under_augmentation",
)

METHODS = (DC, DSA)
