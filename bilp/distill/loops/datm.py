"""The loop of DATM and PAD: as that of MTT, with soft labels that are learned, starting points that grow more difficult, and no step if
the loss is too large."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.iterations import Step
from bilp.distill.loops.mtt import TrajectoryIterations, draw_trajectory, require_step_size, step_size_forms
from bilp.distill.step.recognized_start import initial_logits
from bilp.errors import Diverged
from bilp.experts.expert_answers import ExpertAnswers
from bilp.matching.compared_layers import first_compared
from bilp.matching.trajectory import Trajectory, TrajectoryGradient

LABELS, LABEL_MOMENTUM = "labels", "label_momentum"
"""What a state carries beside that of MTT: logits of the soft labels and the momentum of their SGD, float32 `[classes * ipc, classes]`."""


class AlignedIterations(TrajectoryIterations):
    """Steps of images, soft labels and step size towards an expert (Guo et al. 2024, section 3.3)."""

    def prepare(self) -> None:
        """See TrajectoryIterations; and which parameters are compared."""
        super().prepare()
        self._first = first_compared(self.setting.network, self.setting.config.difficulty.shallow)

    def begin(self) -> dict[str, Tensor]:
        """See TrajectoryIterations; and what the experts say of the images."""
        setting, dataset, experts = self.setting, self.setting.pool.dataset, self.setting.inputs.experts
        assert experts is not None  # which `prepare` has checked
        answers = ExpertAnswers(experts, setting.config.network, dataset.shape, setting.pool.classes, setting.device)
        logits = initial_logits(answers, self.state.images, self.state.labels)
        return {**super().begin(), LABELS: logits, LABEL_MOMENTUM: torch.zeros_like(logits)}

    def iteration(self, number: int) -> Iterator[Step]:
        """One comparison with an expert; a step of everything that is learned, unless the loss is beyond the threshold."""
        found = self.compared(number, self.state.method[LABELS])
        self.draw_ahead(number)
        if float(found.loss) <= self.setting.config.difficulty.threshold:
            self.take(found)
        yield Step([self.checked_loss(number, found)], 0, 0.0, shared=True)
        self.check_learned(number)

    def take(self, found: TrajectoryGradient) -> None:
        """See TrajectoryIterations; and a step of the labels."""
        super().take(found)
        settings, carried = self.setting.config.difficulty, self.state.method
        assert found.labels is not None
        velocity = settings.label_momentum * carried[LABEL_MOMENTUM] + found.labels
        self.state.method = {**carried, LABELS: carried[LABELS] - settings.label_rate * velocity, LABEL_MOMENTUM: velocity}

    def trajectory(self, number: int) -> Trajectory:
        """See TrajectoryIterations; from the epochs that the iteration may start from."""
        settings, max_start = self.setting.config.difficulty, self.setting.config.trajectory.max_start
        piece = draw_trajectory(self.setting, self.experts, number, settings.starts(number, max_start))
        return replace(piece, first=self._first, nearest=settings.nearest)

    def check_learned(self, number: int) -> None:
        """See TrajectoryIterations; and labels that left the finite numbers."""
        super().check_learned(number)
        if not math.isfinite(float(self.state.method[LABELS].abs().amax())):
            rate = self.setting.config.difficulty.label_rate
            raise Diverged(
                f"distillation diverged at iteration {number}: the learned labels are no longer finite; "
                f"lower distill.difficulty.label_rate, for example to {rate / 10:g}"
            )


def label_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of what these methods carry (see `bilp.costs.run_files.Carries`).

    Args:
        config: settings of the distillation.
        parameters: of the network, on which nothing of this depends.
        values: likewise.
        iterations: likewise.
        images: shape of the synthetic images, `[classes * ipc, C, H, W]`.
    """
    shape = (images[0], images[0] // config.ipc)
    labels: Form = (torch.float32, shape)
    return {**step_size_forms(config, parameters, values, iterations, images), LABELS: labels, LABEL_MOMENTUM: labels}


def require_labels(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `state.method` is that of a run that imitates experts and learns labels."""
    images = (pool.classes * config.ipc, *pool.dataset.shape)
    require_tensors(tensors, label_forms(config, 0, 0, 0, images), where)
    require_step_size({name: tensors[name] for name in step_size_forms(config, 0, 0, 0, images)}, config, pool, where)


distill = AlignedIterations.distill
