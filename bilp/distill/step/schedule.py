"""What trains the network between two image steps, and for how long: what remains of a method once its matching is named.

DM (Zhao & Bilen 2023, algorithm 1) never trains it; DC (Zhao et al. 2021, algorithm 1) and DSA (Zhao & Bilen 2021)
train it on the current synthetic set between the outer loops of an iteration, DSA under augmentation; CAFE for as
long as the network's accuracy asks for. The networks of IDC, DREAM and IDM are trained on real images
(`real_training`), so only the image steps per network concern them here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bilp.config import AugmentFamily, DistillConfig
from bilp.images import augment
from bilp.nets import Network
from bilp.seeds import generator

FEATURE_METHODS = ("dm", "idm")
"""Methods that compare features and take one image step per iteration."""


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
    """The schedule of a method; DM and IDM ignore the settings of the network's training, MTT and TESLA the whole schedule.

    CAFE decides itself when to train (bilp.distill.loops.cafe). Its entries are the least that its rules can lead to; they
    say how far the networks are trained on which a round's reselection is measured.
    """
    if config.method == "cafe":
        least = config.alignment
        steps, epochs = min(least.watched, least.most_steps), min(least.watched, least.most_epochs)
        return Schedule(steps, epochs, config.network_learning_rate, config.batch_train, config.augment, features=False)
    features = config.method in FEATURE_METHODS
    return Schedule(
        outer_loops=1 if features else config.outer_loops,
        inner_epochs=0 if features else config.inner_epochs,
        learning_rate=config.network_learning_rate,
        batch=config.batch_train,
        augment=config.augment if config.method == "dsa" else (),
        features=features,
    )


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
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=schedule.learning_rate)
    order, parameters = generator(seed, "order", *path), generator(seed, "train_augment", *path)
    side = (images.shape[-2], images.shape[-1])
    images = images.detach()
    for _ in range(schedule.inner_epochs):
        for rows in torch.randperm(len(images), generator=order).to(images.device).split(schedule.batch):
            drawn = augment.draw(schedule.augment, side, parameters, count=len(rows))
            loss = functional.cross_entropy(network(augment.apply(images[rows], drawn)), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
