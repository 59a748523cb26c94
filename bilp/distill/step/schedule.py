"""What trains the network between two image steps, and for how long: what remains of a method once its matching is named.

DM (Zhao & Bilen 2023, algorithm 1) never trains it; DC (Zhao et al. 2021, algorithm 1) and DSA (Zhao & Bilen 2021)
train it on the current synthetic set between the outer loops of an iteration, DSA under augmentation; CAFE for as
long as the network's accuracy asks for. The networks of IDC, DREAM and IDM are trained on real images
(`real_training`), so only the image steps per network concern them here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilp.config import METHODS, AugmentFamily, DistillConfig
from bilp.images import augment
from bilp.nets import Network
from bilp.registry import resolve
from bilp.seeds import generator
from bilp.training.classifier_step import ClassifierStep
from bilp.training.drawn_ahead import epoch_on_device
from bilp.training.optimizers import sgd


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


def at_least(config: DistillConfig) -> Schedule:
    """CAFE decides itself when to train (bilp.distill.loops.cafe). These are the least that its rules can lead to; they say how
    far the networks are trained on which a round's reselection is measured."""
    least = config.alignment
    steps, epochs = min(least.watched, least.most_steps), min(least.watched, least.most_epochs)
    return replace(trained_under_augmentation(config), outer_loops=steps, inner_epochs=epochs)


def train_network(network: Network, images: Tensor, labels: Tensor, schedule: Schedule, seed: int, *path: str | int) -> None:
    """Train `network` in place for `inner_epochs` on the synthetic set, by cross-entropy.

    Args:
        network: what is trained.
        images: stored images `[M, C, H, W]`; they are not changed.
        labels: their classes `[M]`.
        schedule: how long, and with what step size, mini-batch and augmentation.
        seed: of the run.
        path: names of the streams of order and augmentation.
    """
    InnerTraining(network, schedule, labels.device).run(images, labels, seed, *path)


class InnerTraining:
    """The training of one network on the synthetic set, again and again; what a GPU has recorded of it serves all of them."""

    def __init__(self, network: Network, schedule: Schedule, device: torch.device) -> None:
        """`network` lies on `device` and stays there: its parameters are always changed in place."""
        self._network, self._schedule = network, schedule
        self._step = ClassifierStep(network, sgd(network.parameters(), schedule.learning_rate), device)

    def run(self, images: Tensor, labels: Tensor, seed: int, *path: str | int) -> None:
        """Train the network as it is now; arguments as of `train_network`."""
        schedule, network = self._schedule, self._network
        network.train()
        if schedule.inner_epochs == 0:
            return
        order, parameters = generator(seed, "order", *path), generator(seed, "train_augment", *path)
        side = (images.shape[-2], images.shape[-1])
        images = images.detach()
        orders = torch.stack([torch.randperm(len(images), generator=order) for _ in range(schedule.inner_epochs)])
        lengths = [len(rows) for rows in orders[0].split(schedule.batch)] * schedule.inner_epochs
        drawn = [augment.draw(schedule.augment, side, parameters, count=length) for length in lengths]
        chosen, drawn = epoch_on_device(orders.flatten(), drawn, images.device)
        for rows, params in zip(chosen.split(lengths), drawn, strict=True):
            self._step(augment.apply(images[rows], params), labels[rows])
        network.zero_grad(set_to_none=True)
