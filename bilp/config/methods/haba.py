"""HaBa, dataset factorization (Liu et al. 2022): images are what a few small networks, which all classes share, make of fewer bases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from bilp.config.augmentations import ALL_FAMILIES
from bilp.config.base import Fraction, Frozen, Positive, Rate
from bilp.config.methods.spec import Cell, Method
from bilp.config.methods.trajectory import MTT, TrajectoryConfig, check_experts
from bilp.config.shapes import Shape, channels_of, side_of, values_in, with_channels

Weight = Annotated[float, Field(ge=0.0)]


class HallucinatorsConfig(Frozen):
    """HaBa: every base passes every hallucinator, so that a class has as many images as bases times hallucinators.

    The training that is compared with experts is that of `distill.trajectory`, whose batch counts bases.
    """

    by_rule: ClassVar[frozenset[str]] = frozenset({"count", "learning_rate"})

    count: Positive = 5
    """Hallucinators, shared by all classes; ipc is a multiple of it."""
    kernel: Annotated[int, Field(ge=1, le=7)] = 3
    """Side of the kernels of their two convolutions."""
    gray: bool = False
    """Whether bases have one channel, a third of the numbers."""
    learning_rate: Rate = 100.0
    """Step size of SGD on hallucinators; that of bases is distill.learning_rate."""
    momentum: Fraction = 0.95
    """Momentum of SGD on bases and hallucinators."""
    step_momentum: Fraction = 0.9
    """Momentum of SGD on the learned step size."""
    least_step: Rate = 0.001
    """The learned step size is never less."""
    contrast: Weight = 0.1
    """Weight of how alike the images are that two hallucinators make of a base, to an extractor of features that is trained meanwhile."""
    classification: Weight = 1.0
    """Training of the extractor: weight of the cross-entropy."""
    likeness: Weight = 0.1
    """Training of the extractor: weight of how unlike two images of one base are to it."""
    supervision: Weight = 0.1
    """Training of the extractor: weight of the supervised contrastive loss (Khosla et al. 2020)."""
    extractor_learning_rate: Rate = 0.001
    """Training of the extractor: step size of SGD, with momentum 0.9."""


class HallucinatedRow(NamedTuple):
    """One script of the program."""

    steps: int
    expert_epochs: int
    max_start: int
    """Last epoch that may be the start: one less than max_start_epoch of the scripts, which draw below it (distill_fac.py:284)."""
    step_rate: float
    step_size: float


# run_cifar10_ipc*_style5.sh of the program, by bases of each class.
ROWS = {1: HallucinatedRow(50, 2, 1, 1e-7, 0.01), 10: HallucinatedRow(30, 2, 19, 1e-5, 0.001), 50: HallucinatedRow(30, 2, 19, 1e-5, 0.01)}
USUAL_COUNT = 5
USUAL_EPOCHS = 1000
"""In each of which every base passes one hallucinator, drawn at random."""


def _count(cell: Cell) -> int:
    """The usual number of hallucinators, or the largest below it by which ipc can be divided."""
    return max(count for count in range(1, USUAL_COUNT + 1) if cell.ipc % count == 0)


def _values(cell: Cell) -> dict[str, Any]:
    count = _count(cell)
    bases = cell.ipc // count
    row = ROWS[max(known for known in ROWS if known <= max(bases, 1))]
    distill: dict[str, Any] = {
        "iterations": 15000,
        "learning_rate": 100.0,
        "init": "real",
        "trajectory": row._asdict(),
        "hallucinators": {"count": count, "learning_rate": 100.0},
    }
    rules: dict[str, Any] = {"distill": distill, "ingest": {"whitening": "zca" if cell.dataset == "cifar10" else "none"}}
    if cell.small:  # as for MTT
        trajectory = {"steps": 20, "expert_epochs": 2, "max_start": 6, "step_rate": 1e-4, "step_size": 0.05}
        distill |= {"iterations": 100, "learning_rate": 1.0, "trajectory": trajectory}
        distill["hallucinators"] = {"count": count, "learning_rate": 0.1}
        rules["experts"] = {"count": 4, "epochs": 12, "batch_size": 64, "learning_rate": 0.05}
    return rules


def _evaluation(cell: Cell) -> dict[str, Any]:
    """As many images as in the program's epochs, in which every base passes one hallucinator: here a set holds what all of them make."""
    return {"evaluate": {"epochs": USUAL_EPOCHS // _count(cell), "augment": list(ALL_FAMILIES)}}


def unfit(distill: Any) -> str:
    """What settings of `distill` cannot be, whatever the images are, and what to set instead; empty if nothing."""
    count = distill.hallucinators.count
    if distill.ipc % count:
        return (
            f"ipc = {distill.ipc} counts what {count} hallucinators make of the bases of a class, and is no multiple of {count}: "
            f"set ipc to {-(-distill.ipc // count) * count}, or distill.hallucinators.count to a number that divides it"
        )
    if distill.network.norm == "batch":
        return (
            f"method {distill.method} carries the parameters of its extractor from round to round and no statistics, which batch norm has: "
            "set distill.network.norm to instance, or another norm"
        )
    return ""


def _check(distill: Any, epochs: int, found: str) -> None:
    """Experts are long enough, and bases are whole."""
    check_experts(distill, epochs, found)
    if told := unfit(distill):
        raise ValueError(told)


def hallucinator_shapes(distill: Any, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of all hallucinators, for images of a shape."""
    own, channels, (height, width) = distill.hallucinators, channels_of(shape), side_of(shape)
    entering, kernel = 1 if own.gray else channels, own.kernel
    middle = (own.count, channels, height - kernel + 1, width - kernel + 1)
    return {
        "encoder": (own.count, channels, entering, kernel, kernel),
        "encoder_bias": (own.count, channels),
        "inner_scale": middle,
        "inner_shift": middle,
        "decoder": (own.count, channels, channels, kernel, kernel),
        "decoder_bias": (own.count, channels),
    }


def base_shape(distill: Any, shape: Sequence[int]) -> Shape:
    """The shape of a base, for images of a shape."""
    return with_channels(shape, 1 if distill.hallucinators.gray else channels_of(shape))


def stored_values(distill: Any, classes: int, shape: Sequence[int]) -> int:
    """Numbers of all bases, and of the hallucinators."""
    bases: int = classes * distill.ipc // distill.hallucinators.count
    return bases * values_in(base_shape(distill, shape)) + sum(map(values_in, hallucinator_shapes(distill, shape).values()))


HABA = Method(
    name="haba",
    title="bases and hallucinators (HaBa)",
    paper="Liu et al. 2022",
    venue="NeurIPS 2022, arXiv 2210.16774",
    paper_title="Dataset Distillation via Factorization",
    settings={"trajectory": TrajectoryConfig, "hallucinators": HallucinatorsConfig},
    values=_values,
    values_for="on {dataset} at ipc {ipc}",
    evaluation=_evaluation,
    no_effect=MTT.no_effect,
    needs_experts=True,
    check_experts=_check,
    matching=MTT.matching,
    loop="bilp.distill.loops.haba:distill",
    parts=MTT.parts,
    requires="bilp.distill.step.hallucinators:require_images",
    carried="bilp.distill.loops.haba:require_carried",
    carries="bilp.distill.loops.haba:carried_forms",
    product="bilp.distill.factors_product:product",
    factors="bilp.images.hallucinations:HALLUCINATIONS",
    stored_values=stored_values,
    brief=MTT.brief,
    work="bilp.costs.method_work:hallucinated",
    loss="loss against experts",
    loss_meaning="How far training on the synthetic images ends from where the expert went, and how alike the images of one base are; it "
    "should fall and level off.",
)

METHODS = (HABA,)
