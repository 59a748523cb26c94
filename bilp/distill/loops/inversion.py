"""The loop of SRe2L (Yin et al. 2023), CDA (Yin & Shen 2023) and LPLD (Xiao & He 2024): synthetic images under a frozen teacher.

In every iteration each batch of images (`bilp.distill.step.inversion_batches`) has one view (`bilp.images.view`), and a step of Adam on
its cross-entropy under the teacher plus the distances of its statistics (`bilp.matching.layer_statistics`): from those that the teacher's
batch norm holds (SRe2L, CDA), or from those of the real images of its class (LPLD). Pixels are kept within their range. The step size
falls to 0 along half a cosine.

What is different from the authors' programs on purpose:

* LPLD's program gathers the statistics of a class as an exponential average over batches; here they are exact first and second moments
  of all images of the class that take part, so that leaving one out has a closed form.
* All batches take their turns in every iteration, where the programs finish one batch after the other: they do not depend on each other.
* Images are not stored as JPEG on the way to their labels.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.step.inversion_batches import InversionBatch, batches_of
from bilp.distill.step.inversion_pass import Shown, losses_and_gradients, packed
from bilp.distill.step.inversion_views import view_of
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.pixel_range import PixelRange
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.distill.step.synthetic import PASS_BYTES, image_bytes
from bilp.errors import ConfigError, DamagedArtifact
from bilp.matching import Vectors
from bilp.matching.layer_statistics import running_moments
from bilp.progress import Progress, silent

FIRST, SECOND, LEAST = 0.5, 0.9, 1e-8
"""Adam's decay of the first and of the second moment, and what is added to the root of the latter, as in the programs."""
SQUARES, LOGITS = "squares", "logits"
"""What a state carries: second moments, float32 as the images, and the teacher's answers to the images `[classes * ipc, classes]`, after
the last iteration of the run. First moments are its momentum."""


class InversionIterations(Iterations):
    """One image step of all batches."""

    def prepare(self) -> None:
        """The batches, what they are given, and the optimizer. Raises ConfigError without a teacher."""
        setting, state = self.setting, self.state
        if setting.inputs.teacher is None:
            raise ConfigError(f"method {setting.config.method} inverts a teacher: start the run with one")
        self._batches, self._pixels = batches_of(setting), PixelRange.of(setting)
        self._held_by_teacher = running_moments(setting.network)
        self._of_class: dict[int, tuple[Tensor, Tensor | None, Vectors]] = {}
        self._limit = max(1, PASS_BYTES.on(setting.device) // image_bytes(setting))
        if not state.method:
            state.method[SQUARES] = torch.zeros_like(state.images)

    def advance(self, stop: int, progress: Progress = silent) -> list[Record]:
        """See Iterations; after the last of the run the teacher is asked for labels of the images."""
        records = super().advance(stop, progress)
        if stop == self.setting.config.iterations:
            with torch.no_grad():
                answers = [self.setting.network(part).float() for part in self.state.images.split(self._limit)]
            self.state.method[LOGITS] = torch.cat(answers)
        return records

    def iteration(self, number: int) -> Iterator[Step]:
        """The image step."""
        used, withheld = self._decided(number)
        losses, gradient = self._moved(number)
        self._step(gradient, number)
        checked = self._checked_losses(number, losses, gradient)
        yield Step(checked, used, withheld, shared=len(checked) == 1 < len(self.setting.classes))

    def _decided(self, number: int) -> tuple[int, float]:
        """Form the statistics of classes whose samples that take part have changed; how many do, and the share that is kept away."""
        setting, classes = self.setting, [c for c in self.setting.classes if any(b.of_class and b.class_index == c for b in self._batches)]
        if not classes:
            return 0, 0.0
        if self.reselects(number, 0):
            for _ in self.targets(number, 0):
                pass  # what is decided is the pruner's
        whole = [setting.pool.by_class[c] for c in classes]
        remaining = whole if self.pruner is None else self.pruner.candidates_of_each(whole, number)
        weights = [None] * len(classes) if self.pruner is None else self.pruner.weights_of_each(remaining)
        for c, ids, own in zip(classes, remaining, weights, strict=True):
            known = self._of_class.get(c)
            if known is None or not torch.equal(known[0], ids) or not _equal(known[1], own):
                self._of_class[c] = (ids, own, setting.class_statistics.mean(c, ids, own))
        shares = [1.0 - len(left) / len(every) for left, every in zip(remaining, whole, strict=True)]
        return sum(len(ids) for ids in remaining), statistics.fmean(shares)

    def _moved(self, number: int) -> tuple[Tensor, Tensor]:
        """The loss of every batch, and the gradient with respect to all images `[classes * ipc, C, H, W]`."""
        setting, state = self.setting, self.state
        shown = [
            Shown(state.images[batch.rows], state.labels[batch.rows], view_of(setting, batch, number, "view", number), self._target(batch))
            for batch in self._batches
        ]
        losses, gradient = list[Tensor](), torch.zeros_like(state.images)
        for which in packed([len(batch.images) for batch in shown], self._limit):
            found, gradients = losses_and_gradients(setting.network, setting.matching, shown[which], self._limit)
            losses.append(found)
            for batch, own in zip(self._batches[which], gradients, strict=True):
                gradient[batch.rows] = own
        return torch.cat(losses), gradient

    def _target(self, batch: InversionBatch) -> Vectors:
        if not batch.of_class:
            return self._held_by_teacher
        assert batch.class_index is not None
        return self._of_class[batch.class_index][2]

    def steps_before(self, number: int) -> int:
        """Steps that the moments of the optimizer hold when iteration `number` begins."""
        return number

    def _step(self, gradient: Tensor, number: int) -> None:
        """Adam (Kingma & Ba 2015), and pixels back into their range."""
        state, count = self.state, self.steps_before(number) + 1
        rate = self.setting.config.learning_rate * (1.0 + math.cos(math.pi * number / self.setting.config.iterations)) / 2.0
        state.momentum.lerp_(gradient, 1.0 - FIRST)
        squares = state.method[SQUARES].mul_(SECOND).addcmul_(gradient, gradient, value=1.0 - SECOND)
        root = (squares / (1.0 - SECOND**count)).sqrt_().add_(LEAST)
        state.images.sub_(state.momentum / root, alpha=rate / (1.0 - FIRST**count))
        self._pixels.clamp_(state.images)

    def _checked_losses(self, number: int, losses: Tensor, gradient: Tensor) -> list[float]:
        """Of every class, if batches are of one, else their mean. Raises Diverged."""
        places = [batch.class_index for batch in self._batches]
        if any(place is None for place in places):
            return [self.guard.check_joint_step(number, losses.mean(), gradient, self.state.images)]
        of_class = torch.tensor([c - self.setting.classes.start for c in places if c is not None], device=losses.device)
        sums = losses.new_zeros(len(self.setting.classes)).index_add_(0, of_class, losses)
        means = sums / of_class.bincount(minlength=len(sums))
        return self.guard.check_step(number, means, gradient, self.state.images)


def frozen_teacher(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """The network of a reselection is the teacher, as in every image step. Raises ConfigError without one."""
    if setting.inputs.teacher is None:
        raise ConfigError(f"method {setting.config.method} inverts a teacher: start the run with one")


def require_pixels(pool: RealPool, config: DistillConfig) -> None:
    """Raise ConfigError for samples whose pixels have no range that images could be kept in."""
    if pool.dataset.whitening_facts is not None:
        raise ConfigError(
            f"method {config.method} keeps pixels within their range, and those of {pool.dataset.name} are whitened: "
            "use the data set not whitened"
        )


def require_carried(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `state.method` is that of a run of these methods, or of some of its classes."""
    count = len(tensors[SQUARES]) if SQUARES in tensors and tensors[SQUARES].dim() else 0
    forms: dict[str, Form] = {SQUARES: (torch.float32, (count, *pool.dataset.shape))}
    if LOGITS in tensors:
        forms[LOGITS] = (torch.float32, (count, pool.classes))
    require_tensors(tensors, forms, where)
    if bool((tensors[SQUARES] < 0).any()) or not 0 < count <= pool.classes * config.ipc:
        raise DamagedArtifact(f"{where} holds second moments of {count} images that cannot be: run the round again")


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


distill = InversionIterations.distill
