"""Networks that are trained on real images beforehand, as settings that several methods share."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from bilp.config.base import Count, Fraction, Frozen, Positive, Rate


class PretrainedConfig(Frozen):
    """Networks that are trained on real images once, before the first iteration, and that all iterations share."""

    later: ClassVar[frozenset[str]] = frozenset({"decay_at", "decay_factor"})
    by_rule: ClassVar[frozenset[str]] = frozenset({"networks", "epochs", "learning_rate"})

    networks: Count = 0
    """How many; every iteration starts from a copy of one, drawn at random. 0 gives each a new random network, or all of lgm the same."""
    epochs: Positive = 5
    """Epochs of their training on all real images that take part."""
    learning_rate: Rate = 0.1
    """Step size of its SGD, whose momentum is network_momentum of the same method."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Weight decay of its SGD."""
    batch_size: Positive = 128
    """Its mini-batch."""
    decay_at: tuple[Fraction, ...] = ()
    """Shares of the epochs after which the step size is multiplied by decay_factor; empty keeps it."""
    decay_factor: Fraction = 0.2
    """See decay_at."""
