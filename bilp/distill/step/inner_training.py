"""The training of the matched network on the synthetic set between two image steps, as `Schedule` says."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.distill.step.schedule import Schedule
from bilp.images import augment
from bilp.nets import Network
from bilp.seeds import generator
from bilp.training.classifier_step import ClassifierStep
from bilp.training.optimizers import sgd


class InnerTraining:
    """Trains one network again and again, in place; what a GPU has recorded of a step serves all of its trainings.

    Orders and augmentation of all epochs are drawn before the first one.
    """

    def __init__(self, network: Network, schedule: Schedule, device: torch.device) -> None:
        """`network` lies on `device` and stays there: its parameters are always changed in place."""
        self._network, self._schedule = network, schedule
        self._step = ClassifierStep(network, sgd(network.parameters(), schedule.learning_rate), device)

    def run(self, images: Tensor, labels: Tensor, seed: int, *path: str | int) -> None:
        """`inner_epochs` from the parameters as they are, by cross-entropy.

        Args:
            images: stored images `[M, C, H, W]`; they are not changed.
            labels: their classes `[M]`.
            seed: of the run.
            path: names of the streams of order and augmentation.
        """
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
        (chosen,), sent = augment.send_with([orders.flatten()], drawn, side, images.device)
        for rows, params in zip(chosen.split(lengths), sent, strict=True):
            self._step(augment.apply(images[rows], params), labels[rows])
        network.zero_grad(set_to_none=True)
