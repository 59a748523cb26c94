"""What FRePo and RFAD share: an iteration predicts labels of real samples by ridge regression on the synthetic ones, and steps these.

The real samples of all classes enter one regression, so that no class's images are independent of another's, and a run is not divided into
shards. Where the programs of both methods draw samples of all classes together, a batch here has equally many of every class,
whose mean losses count the same; real samples enter as they are. Learned labels and the optimizer's moments lie in `state.method`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form
from bilp.config import DistillConfig
from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.step import moments
from bilp.distill.step.batch import Batch
from bilp.distill.step.regressor import Gradients, Regressor
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.matching.kernel_regression import centered

LABELS, IMAGES = "labels", "images"
"""Names in a state: the learned labels, float32 `[classes * ipc, classes]`, and of the moments of labels and images."""


class RegressionIterations(Iterations):
    """One regression and one step of images and labels per iteration; a method says which networks it is on, and which optimizer."""

    @abstractmethod
    def draw(self, number: int) -> Regressor:
        """The networks of an iteration, in `setting.drawn`."""

    @abstractmethod
    def move(self, found: Gradients, number: int) -> None:
        """The step of images and labels."""

    def prepare(self) -> None:
        """Labels and moments of the beginning."""
        begin(self.setting, self.state)

    def iteration(self, number: int) -> Iterator[Step]:
        """The regression and the step; what a method adds comes after this."""
        setting, state = self.setting, self.state
        regressor = self.draw(number)
        batches = self.joint_batches(number)
        found = step_gradients(setting, regressor, state.images, batches)
        self.move(found, number)
        loss = torch.where(found.labels.isfinite().all(), found.loss, torch.nan)
        yield self.joint_step(number, loss, found.images, batches)


def begin(setting: Setting, state: DistillState) -> None:
    """Fill `state.method` with centered one-hot labels and moments of 0, unless they are there."""
    if LABELS not in state.method:
        state.method[LABELS] = initial_labels(state.labels, setting.pool.classes).to(setting.device)
    for name, like in ((IMAGES, state.images), (LABELS, state.method[LABELS])):
        moments.begin(state.method, name, like)


def initial_labels(labels: Tensor, classes: int) -> Tensor:
    """Centered one-hot labels float32 `[M, classes]` of int64 `[M]`."""
    return centered(labels, classes).float()


def step_gradients(setting: Setting, regressor: Regressor, images: Tensor, batches: Sequence[Batch]) -> Gradients:
    """Loss and gradients of the mean over classes of the mean losses of their batches, with the weights of these."""
    shares, ids = [], torch.cat([batch.ids for batch in batches])
    for batch in batches:
        count, weights = len(batch.ids), batch.shares
        own = torch.full((count,), 1.0 / count, dtype=torch.float64) if weights is None else weights
        shares.append(own.cpu() / len(batches))
    sizes = torch.tensor([len(batch.ids) for batch in batches])
    labels = torch.tensor([batch.class_index for batch in batches]).repeat_interleave(sizes)
    real = setting.pool.images(ids, setting.device).to(images.dtype)
    return regressor.gradients(images, real, labels.to(setting.device), torch.cat(shares).to(setting.device))


def learned_forms(config: DistillConfig, classes: int, shape: Sequence[int]) -> dict[str, Form]:
    """Types and shapes of labels and moments.

    Args:
        config: settings of the distillation.
        classes: how many there are.
        shape: of the synthetic images.
    """
    labels: Form = (torch.float32, (classes * config.ipc, classes))
    return {LABELS: labels, **moments.forms(LABELS, labels), **moments.forms(IMAGES, (torch.float32, tuple(shape)))}
