"""The outer loops of DC, DSA and DM as graphs over fixed tensors: what is queued on the device, and what is read from it later."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bilp.capture import CapturedStep, GraphMemory, Inputs
from bilp.distill.loops.dm_dc import SummedIterations
from bilp.distill.loops.step_inputs import OF_TRAINING, ORDERS, PARAMETERS, SLOT, Drawn, StepInputs
from bilp.distill.step.divergence import measured
from bilp.distill.step.real import targets
from bilp.images import augment


class StepGraphs:
    """Three steps, of which each outer loop is two: a new network, or a training of the one that is there, and an image step."""

    def __init__(self, loop: SummedIterations, rows: int, slots: int) -> None:
        """Begin where the loop's state stands.

        Args:
            loop: the reference, whose image step is captured; it must not keep these graphs, which keep it.
            rows: outer loops whose draws may be ready, or on their way, at once.
            slots: outer loops whose losses may wait on the device.
        """
        setting, self._loop, self._slots = loop.setting, loop, slots
        setting.network.train()
        self._drawing = StepInputs(setting, loop.pruner, len(loop.state.images), loop.state.iteration)
        self._inputs = Inputs(self._drawing.fields, setting.device, rows)
        self._sent, self._batches = self._drawing.found_in(self._inputs.values)
        self._told = torch.zeros(slots, 3, len(setting.classes), device=setting.device)
        memory = GraphMemory(setting.device)
        self._new_network = CapturedStep(self._fill_network, setting.device, memory)
        self._training = CapturedStep(self._train_network, setting.device, memory)
        self._image_step = CapturedStep(self._move_images, setting.device, memory)

    def draw(self, place: int) -> Drawn | None:
        """The draws of outer loop `place`, counted from the run's first, in a row of their own; None if they do not fit. In any thread."""
        where = divmod(place, self._loop.setting.schedule.outer_loops)
        return self._drawing.draw(where, place % self._slots, self._inputs.row(place))

    def queue(self, place: int) -> None:
        """An outer loop whose draws are ready, on the device's stream."""
        self._inputs.send(place)
        if place % self._loop.setting.schedule.outer_loops == 0:
            self._new_network()
        else:
            self._training()
        self._image_step()

    def told(self) -> list[list[list[float]]]:
        """What `measured` found, by slot: that of outer loop `place` is `place` modulo their count. The host waits for it."""
        found: list[list[list[float]]] = self._told.tolist()
        return found

    def _fill_network(self) -> None:
        self._drawing.initialization.fill(self._inputs.values[PARAMETERS])

    def _train_network(self) -> None:
        """`inner_epochs` of plain SGD on the synthetic set, as `bilp.distill.step.inner_training.InnerTraining`."""
        setting, labels = self._loop.setting, self._loop.state.labels
        images = self._loop.state.images.detach()
        parameters: list[Tensor] = list(setting.network.parameters())
        schedule, values = setting.schedule, self._inputs.values
        for order, numbers in zip(values[ORDERS].unbind(), values[OF_TRAINING].unsqueeze(1).unbind(), strict=True):
            parts = order.split(schedule.batch)
            drawn = [augment.of_rows(own) for own in numbers.split(schedule.batch, dim=1)] if schedule.augment else [None] * len(parts)
            for rows, params in zip(parts, drawn, strict=True):
                loss = functional.cross_entropy(setting.network(augment.apply(images[rows], params)), labels[rows])
                gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
                with torch.no_grad():
                    torch._foreach_add_(parameters, gradients, alpha=-schedule.learning_rate)

    def _move_images(self) -> None:
        moved = self._loop.move(targets(self._sent, self._batches))
        found = measured(moved.losses, moved.gradient, self._loop.state.images)
        self._told.index_copy_(0, self._inputs.values[SLOT], found.unsqueeze(0))
