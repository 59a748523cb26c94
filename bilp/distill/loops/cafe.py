"""The loop of CAFE (Wang et al. 2022, algorithm 1): a network is trained on the synthetic images while that tells something new.

For every iteration a new random network. Each image step is one of SGD on the alignment of all classes and the
discrimination of real samples. Then the network's accuracy on real training samples is measured: once it no longer
varies the iteration ends, otherwise the network is trained until its accuracy varies.

CAFE's program adds a tenth of the last measurement to every accuracy, which it carries over (distill.py:304), so that its spread
is a tenth larger and `settled` is met a little later; here each is measured anew, as the paper says. It cannot run MNIST.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.distill.loops.iterations import Iterations, SharedStep, Step
from bilp.distill.loops.late_reading import Course, Reading
from bilp.distill.loops.whole_alignment import whole_gradient
from bilp.distill.step.batch import Batch, sent
from bilp.distill.step.divergence import measured
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.real import draw_batches, samples_per_pass
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.matching import Vectors
from bilp.matching.alignment import AlignmentMatching, discrimination
from bilp.seeds import generator

DECAY = 0.5
"""Factor of the images' step size at each of `decay_at`."""


@dataclass(frozen=True)
class _RealSide:
    """What the real batches say: mean maps of every class, discrimination losses and their gradient with respect to the centers."""

    means: list[Vectors]
    discrimination: Tensor
    """Sum over each class's samples, `[classes]`."""
    centers_grad: Tensor
    """Gradient of that loss with respect to the centers, over all samples together, `[classes, F]`."""


class CafeIterations(Iterations):
    """Image steps on alignment and discrimination until the accuracy of the network settles.

    An iteration's loss is the mean over its image steps and over classes of alignment plus discrimination. The cross-entropy of
    the real images under the network's own classifier, which the paper adds, has no gradient with respect to the synthetic
    images and is left out.
    """

    def prepare(self) -> None:
        """The optimizer of the images."""
        self._shared = SharedStep(self.setting, self.state)

    def iteration(self, number: int) -> Iterator[Step]:
        """The image steps of one network; at least `watched` of them, if `most_steps` allows."""
        setting, settings = self.setting, self.setting.config.alignment
        setting.draw_network("network", number)
        reading, steps = Reading(setting.device), list[Step]()
        accuracies = Course(settings.watched, reading)
        for step in range(settings.most_steps):
            setting.freeze_statistics(number, step)
            self._image_step(number, step, reading, steps.append)
            accuracies.add(*rightly_classified(setting, number, step))
            if accuracies.spread < settings.settled:
                break
            if step + 1 < settings.most_steps:
                _train_until_moved(setting, self.state, (number, step), reading)
        reading.read()
        yield from steps

    def note(self, record: Record, steps: Sequence[Step]) -> str:
        """Iterations differ in length."""
        return f"{super().note(record, steps)}, {len(steps)} steps"

    def _image_step(self, number: int, step: int, reading: Reading, told: Callable[[Step], object]) -> None:
        """One SGD step on the gradient summed over classes, each of which is differentiated on its own; `told` of it once it is read."""
        batches, images = self._batches(number, step), self.state.images
        gradient, losses = image_gradient(self.setting, images, self.state.labels, batches)
        self._shared.take(gradient, learning_rate(self.setting, number))
        used, withheld = sum(len(batch.ids) for batch in batches), statistics.fmean(batch.withheld for batch in batches)

        def checked(numbers: list[float]) -> None:
            by_class = [numbers[first : first + len(batches)] for first in range(0, len(numbers), len(batches))]
            told(Step(self.guard.check_measured(number, by_class), used, withheld))

        reading.take(measured(losses, gradient, images), checked)

    def _batches(self, number: int, step: int) -> list[Batch]:
        """One batch per class; its mean is not that of the matching alone, so it is computed later (`image_gradient`)."""
        if self.reselects(number, step):
            return [target.batch for target in self.targets(number, step)]
        return sent(self.setting, draw_batches(self.setting, self.pruner, number, step))


def learning_rate(setting: Setting, iteration: int) -> float:
    """Step size of the images, halved once for every share of the iterations that is over."""
    config = setting.config
    over = sum(iteration >= share * config.iterations for share in config.alignment.decay_at)
    return config.learning_rate * DECAY**over


def _train_until_moved(setting: Setting, state: DistillState, path: tuple[int, int], reading: Reading) -> None:
    """Epochs on the synthetic set until the accuracy varied enough, `most_epochs` of them at most; `path` is iteration and image step."""
    settings = setting.config.alignment
    accuracies = Course(settings.watched, reading)
    for epoch in range(settings.most_epochs):
        setting.train_epoch(state.images, state.labels, *path, epoch)
        accuracies.add(*rightly_classified(setting, *path, epoch))
        if accuracies.spread > settings.moved:
            return


@torch.no_grad()
def rightly_classified(setting: Setting, *path: int) -> tuple[Tensor, int]:
    """Of `measured_per_class` real training samples of every class, drawn anew: how many the network classifies correctly, a float32 scalar
    on the device, and how many there are.
    """
    setting.network.eval()
    pool, count = setting.pool, setting.config.alignment.measured_per_class
    ids = torch.cat([pool.draw(c, count, generator(setting.config.seed, "measure", *path, c)) for c in range(pool.classes)])
    labels = pool.dataset.train.labels[ids].to(setting.device)
    right = torch.zeros((), device=setting.device)
    each = samples_per_pass(setting)
    for part, wanted in zip(ids.split(each), labels.split(each), strict=True):
        right += (setting.network(pool.images(part, setting.device)).argmax(dim=1) == wanted).sum()
    setting.network.train()
    return right, len(ids)


def image_gradient(setting: Setting, images: Tensor, labels: Tensor, batches: list[Batch]) -> tuple[Tensor, Tensor]:
    """Gradient `[M, C, H, W]` of the sum over classes of their losses with respect to the synthetic images, and the losses `[classes]`.

    The discrimination couples the classes, but only through the synthetic centers: with its gradient with respect to those known, the
    classes are differentiated one after the other, so memory holds one class's graph and the mean maps of all. That is how a CPU does
    it; other devices take the classes together.
    """
    if images.device.type != "cpu":
        return whole_gradient(setting, _matching(setting), images, batches)
    matching, weight = _matching(setting), setting.config.alignment.discrimination
    real = _real_side(setting, images, labels, batches)
    gradient, losses = torch.zeros_like(images), []
    for batch, mean, told in zip(batches, real.means, real.discrimination, strict=True):
        rows = setting.rows(batch.class_index)
        points = images[rows].detach().requires_grad_()
        psi = matching.synthetic(setting.network, augment.apply(points, batch.params), labels[rows])
        aligned = matching.distance(mean, psi)
        (gradient[rows],) = torch.autograd.grad(aligned + weight * (real.centers_grad[batch.class_index] * psi[-1]).sum(), points)
        losses.append(aligned.detach() + weight * told)
    return gradient, torch.stack(losses)


def _real_side(setting: Setting, images: Tensor, labels: Tensor, batches: list[Batch]) -> _RealSide:
    matching, network = _matching(setting), setting.network
    with torch.no_grad():
        rows = [setting.rows(batch.class_index) for batch in batches]
        shown = [augment.apply(images[part], batch.params) for part, batch in zip(rows, batches, strict=True)]
        centers = torch.stack([network.embed(part).mean(dim=0) for part in shown])
    means, losses, centers_grad = [], [], torch.zeros_like(centers)
    for batch in batches:
        real = batch.images(setting)
        real_labels = setting.class_labels(batch.class_index, len(real))
        mean, embeddings = matching.mean_and_embeddings(network, real, real_labels)
        loss, center_grad = discrimination(embeddings, real_labels, centers)
        means.append(mean)
        losses.append(loss)
        centers_grad += center_grad
    return _RealSide(means, torch.stack(losses), centers_grad)


def _matching(setting: Setting) -> AlignmentMatching:
    assert isinstance(setting.matching, AlignmentMatching)
    return setting.matching


distill = CafeIterations.distill
