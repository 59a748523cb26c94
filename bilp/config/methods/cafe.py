"""CAFE, feature alignment (Wang et al. 2022)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bilp.config.base import Fraction, Frozen, Positive, Several
from bilp.config.methods.dc import plain_evaluation
from bilp.config.methods.spec import Cell, Method


class AlignmentConfig(Frozen):
    """CAFE: means of feature maps are aligned layer by layer, and synthetic means must tell real samples apart."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"watched", "measured_per_class", "most_steps", "most_epochs"})

    shallow_weight: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight of every feature map but the last."""
    deep_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Weight of the last feature map, of its pooled form and of the flat features."""
    discrimination: Annotated[float, Field(ge=0.0)] = 0.01
    """Weight of the cross-entropy of real features classified by the synthetic means, summed over samples; 0 leaves it out."""
    watched: Several = 10
    """Accuracies looked back on by both of the rules that follow."""
    settled: Annotated[float, Field(ge=0.0, le=1.0)] = 0.04
    """A network is done with once its accuracy before the last image steps varied by less (lambda 1)."""
    moved: Annotated[float, Field(ge=0.0, le=1.0)] = 0.03
    """Its training between two image steps ends once its accuracy varied by more (lambda 2)."""
    measured_per_class: Positive = 128
    """Real training samples per class on which that accuracy is measured."""
    most_steps: Positive = 100
    """Image steps with one network at most."""
    most_epochs: Positive = 100
    """Epochs of training between two image steps at most."""
    decay_at: tuple[Fraction, ...] = (0.6, 0.8, 0.9)
    """Shares of the iterations after which the step size of the images is halved."""


def _values(cell: Cell) -> dict[str, Any]:
    """Noise, no augmentation, one setting for every dataset and ipc."""
    distill: dict[str, Any] = {"iterations": 2000, "learning_rate": 0.1, "init": "noise", "augment": []}
    # A vector as large as all feature maps is pulled back for every sample, so samples take turns.
    rules: dict[str, Any] = {"distill": distill, "reselect": {"candidates_per_class": 256}}
    if cell.small:  # a hundredth of the budget
        distill |= {"iterations": 20, "alignment": {"watched": 5, "most_steps": 10, "most_epochs": 10, "measured_per_class": 32}}
    return rules


CAFE = Method(
    name="cafe",
    title="feature alignment (CAFE)",
    paper="Wang et al. 2022",
    venue="CVPR 2022, arXiv 2203.01531",
    paper_title="CAFE: Learning to Condense Dataset by Aligning Features",
    settings={"alignment": AlignmentConfig},
    values=_values,
    values_for="on {dataset}",
    evaluation=partial(plain_evaluation, epochs=600),  # its program's get_daparam and main are DC's
    matching="bilp.matching:alignment",
    loop="bilp.distill.loops.cafe:distill",
    work="bilp.costs.method_work:alignment",
    real_part=True,
    brief={"alignment": {"watched": 3, "most_steps": 2, "most_epochs": 2}},
    schedule="bilp.distill.step.schedule:at_least",
)

METHODS = (CAFE,)
