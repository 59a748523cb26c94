"""What an iteration of a method does to how many samples, for the methods whose entries name a function here (`Method.work`)."""

from __future__ import annotations

from bilp.config import DistillConfig
from bilp.costs.work import Work

SECOND_ORDER = 9.0
"""Differentiating a distance of gradients with respect to images: a forward and a backward pass, and the backward pass of both."""


def features(config: DistillConfig, real: int, synthetic: int) -> list[Work]:
    """DM: real samples pass the network forwards, synthetic ones forwards and backwards.

    Args:
        config: Settings of distillation.
        real: Real samples of an image step.
        synthetic: Synthetic images of all classes, as they enter the network.
    """
    return [Work("real", real, 1.0), Work("synthetic", synthetic, 3.0)]


def gradients(config: DistillConfig, real: int, synthetic: int) -> list[Work]:
    """DC and DSA: gradients of both, and between image steps training on the synthetic images. Arguments as of `features`."""
    steps = config.outer_loops
    trained = (steps - 1) * config.inner_epochs * synthetic
    return [Work("real", steps * real, 3.0), Work("synthetic", steps * synthetic, SECOND_ORDER), Work("trained", trained, 3.0)]


def head_gradients(config: DistillConfig, real: int, synthetic: int) -> list[Work]:
    """LGM: copies of synthetic images pass the encoder forwards and backwards; real samples are features that are there.

    Each real sample passes the encoder once in a process, which is not counted here. Arguments as of `features`.
    """
    return [Work("real", real, 0.0), Work("synthetic", config.linear.copies * synthetic, 3.0)]
