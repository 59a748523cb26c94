"""LinBa, addressable memories (Deng & Russakovsky 2022): images are sums of memories that all classes share, learned through training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bilp.config.base import Fraction, Frozen, Positive, Rate
from bilp.config.methods.spec import Cell, Method
from bilp.config.shapes import shrunk, values_in


class MemoriesConfig(Frozen):
    """LinBa: every image is a sum of memories that all classes share; its coefficients are its own row of an addressing matrix."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"shrink", "steps", "per_class", "step_size"})

    count: Positive = 16
    """Memories, shared by all classes."""
    shrink: Annotated[int, Field(ge=1, le=8)] = 2
    """Memories have the sides of images divided by this number, and are enlarged bilinearly."""
    steps: Positive = 150
    """Steps of a new network's training on the synthetic images, through all of which its loss on real images is differentiated."""
    per_class: Positive = 32
    """Synthetic images of each class in a mini-batch of that training, drawn anew for every step; all where a class has fewer."""
    step_size: Rate = 0.01
    """Step size of that training, by SGD."""
    step_momentum: Fraction = 0.9
    """Momentum of that SGD."""
    penalty: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the norm of a mini-batch's coefficients, added to the loss for every step of that training."""
    clip: Annotated[float, Field(ge=0.0)] = 2.0
    """Norm that the gradient with respect to memories and coefficients together has at most; 0 leaves it as it is."""


def _values(cell: Cell) -> dict[str, Any]:
    """The program's script with memory addressing, for CIFAR-10 at the storage of one image per class (README.md of the program).

    The script's penalty of 1e-4 changes nothing there (`bilp.distill.loops.linba`), and neither does the default of 0 here.
    """
    distill = {
        "iterations": 500000,
        "learning_rate": 0.1,
        "init": "noise",
        "augment": [],
        "batch_real": 64,
        "memories": {"shrink": 2, "steps": 150, "per_class": 32, "step_size": 0.01},
    }
    return {"distill": distill, "reselect": {"candidates_per_class": 256}}


def _small(cell: Cell) -> dict[str, Any]:
    """Images of 8x8 are small enough for memories of their own size; short trainings with larger steps."""
    memories = {"shrink": 1, "steps": 20, "per_class": 10, "step_size": 0.05}
    return {"distill": {"iterations": 300, "batch_real": 64, "memories": memories}}


def _evaluation(cell: Cell) -> dict[str, Any]:
    """SGD with a step size that stays, without weight decay or augmentation, on mini-batches of 640 (tools/trainer.py of the program)."""
    return {"evaluate": {"epochs": 300, "batch_size": 640, "weight_decay": 0.0, "decay": "none", "augment": []}}


def stored_values(distill: Any, classes: int, shape: Sequence[int]) -> int:
    """Numbers of the memories, and of the coefficients of every image."""
    count = distill.memories.count
    return int(count * values_in(shrunk(shape, distill.memories.shrink)) + classes * distill.ipc * count)


LINBA = Method(
    name="linba",
    title="addressable memories (LinBa)",
    paper="Deng & Russakovsky 2022",
    venue="NeurIPS 2022, arXiv 2206.02916",
    paper_title="Remember the Past: Distilling Datasets into Addressable Memories for Neural Networks",
    settings={"memories": MemoriesConfig},
    values=_values,
    values_for="for any ipc",
    small=_small,
    evaluation=_evaluation,
    one_step=True,
    weighs=True,
    signed=True,
    measures="bilp.distill.loops.linba:measure",
    estimators=("auto", "cotangent", "sketch", "oracle"),
    matching="bilp.matching.query:queries",
    loop="bilp.distill.loops.linba:distill",
    schedule="bilp.distill.step.schedule:once",
    networks="bilp.distill.loops.linba:train_network",
    carried="bilp.distill.step.memory_steps:require_memories",
    carries="bilp.distill.step.memory_steps:memory_forms",
    requires="bilp.distill.step.memory_steps:require_images",
    product="bilp.distill.factors_product:product",
    factors="bilp.images.memories:MEMORY_SUMS",
    stored_values=stored_values,
    loss="loss on real images",
    loss_meaning="Cross-entropy of a network that was trained on the synthetic images, on real ones; it should fall and level off.",
    work="bilp.costs.method_work:query",
    measuring_work="bilp.costs.method_work:query_effect",
)

METHODS = (LINBA,)
