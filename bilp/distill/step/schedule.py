"""What trains the network between two image steps, and for how long: what remains of a method once its matching is named.

DM (Zhao & Bilen 2023, algorithm 1) never trains it; DC (Zhao et al. 2021, algorithm 1) and DSA (Zhao & Bilen 2021)
train it on the current synthetic set between the outer loops of an iteration, DSA under augmentation; CAFE for as
long as the network's accuracy asks for. The networks of IDC, DREAM and IDM are trained on real images
(`real_training`), so only the image steps per network concern them here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bilp.config import METHODS, AugmentFamily, DistillConfig
from bilp.registry import resolve


@dataclass(frozen=True)
class Schedule:
    """Image steps per random network and what happens to the network between them."""

    outer_loops: int
    """Image steps per network."""
    inner_epochs: int
    """Epochs on the synthetic set between two image steps."""
    learning_rate: float
    """Step size of the network's SGD (no momentum, no weight decay)."""
    batch: int
    """Mini-batch of that training."""
    augment: tuple[AugmentFamily, ...]
    """Families drawn per mini-batch with fresh parameters per image; empty trains on the images as they are."""
    features: bool
    """The matching compares features: parameters need no gradient, and one forward pass may serve many classes."""


def schedule_for(config: DistillConfig) -> Schedule:
    """The schedule that the method's entry names."""
    schedule: Schedule = resolve(METHODS[config.method].schedule)(config)
    return schedule


def trained(config: DistillConfig) -> Schedule:
    """Image steps between which the network is trained on the images as they are; MTT and TESLA, which do neither, ignore it."""
    return Schedule(config.outer_loops, config.inner_epochs, config.network_learning_rate, config.batch_train, (), features=False)


def trained_under_augmentation(config: DistillConfig) -> Schedule:
    """The same, on images that are augmented."""
    return replace(trained(config), augment=config.augment)


def untrained(config: DistillConfig) -> Schedule:
    """Features under a network that nothing trains between image steps, of which there is one per iteration."""
    return replace(trained(config), outer_loops=1, inner_epochs=0, features=True)


def once(config: DistillConfig) -> Schedule:
    """One image step per network, whose training is the method's own."""
    return replace(trained(config), outer_loops=1, inner_epochs=0)


def features_of_several_steps(config: DistillConfig) -> Schedule:
    """The same for `outer_loops` image steps per network."""
    return replace(untrained(config), outer_loops=config.outer_loops)


def at_least(config: DistillConfig) -> Schedule:
    """CAFE decides itself when to train (bilp.distill.loops.cafe). These are the least that its rules can lead to; they say how
    far the networks are trained on which a round's reselection is measured."""
    least = config.alignment
    steps, epochs = min(least.watched, least.most_steps), min(least.watched, least.most_epochs)
    return replace(trained_under_augmentation(config), outer_loops=steps, inner_epochs=epochs)
