"""Twenty networks of an evaluation, one epoch: stacked and run by vmap, or one after the other."""

from __future__ import annotations

from typing import Any, cast

import torch

from benchmarks.gpu.device import Machine, rows, tf32
from benchmarks.gpu.iterations import CLASSES, SHAPE
from bilp.config import EvaluateConfig, PipelineConfig
from bilp.evaluate.stacked_training import fresh_stack, train_together
from bilp.nets import build
from bilp.nets.arithmetic import place
from bilp.seeds import generator
from bilp.training.batch_augment import Streams
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule


def evaluation(machine: Machine) -> dict[str, Any]:
    """Milliseconds per epoch of all networks, by images per class and augmentation (none for dc, siamese for dsa)."""
    names = [f"{method} ipc {ipc}" for ipc in machine.pick((1,), (10, 1, 50)) for method in ("dsa", "dc")]
    return rows(machine, names, lambda name: epoch(machine, *name.split(" ipc ")))


def epoch(machine: Machine, method: str, images_per_class: str) -> dict[str, Any]:
    """Of as many networks as papers train, on random images."""
    ipc = int(images_per_class)
    number, device = machine.pick(3, 20), machine.device
    values = PipelineConfig(dataset="cifar10", method=cast(Any, method), ipc=ipc).evaluate.model_dump()
    values["networks"][0]["width"] = machine.pick(16, 128)
    config = EvaluateConfig.model_validate(values)
    schedule = Schedule.of_config(config, 10**6)
    labels = torch.arange(CLASSES).repeat_interleave(ipc)
    images = ImageSet.of_tensors(torch.randn(len(labels), *SHAPE), labels, str(device))
    row = {}
    for on in (False, True):
        with tf32(on):
            network = build(config.networks[0], SHAPE, CLASSES)
            place(network, "float32", device)
            stack = fresh_stack(network, [generator(0, seed) for seed in range(number)])
            together = train_together(network, stack, [images] * number, schedule, [Streams.of(0, "n", seed) for seed in range(number)])
            row[f"{number} together, tf32 {on}"] = machine.milliseconds(lambda epochs=together: next(epochs), 5, 2)
            alone = train(network, images, schedule, Streams.of(0, "n", 0))
            row[f"{number} in turn, tf32 {on}"] = number * machine.milliseconds(lambda epochs=alone: next(epochs), 5, 2)
    return row
