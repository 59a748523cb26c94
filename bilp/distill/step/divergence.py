"""Stops a distillation that left the useful numbers, before anything of it is published."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.errors import Diverged
from bilp.text.sample_words import spoken

# Real images have a standard deviation of about one in normalized space.
PIXEL_LIMIT = 1e3
# A loss that stays this far above the run's own beginning, and grows, does not come back.
LOSS_FACTOR = 1e3
RISING = 5
# The beginning may match almost perfectly; rounding noise on top of that is no divergence.
SMALLEST_REFERENCE = 1e-6


class Guard:
    """Rules, each of which raises Diverged: a loss, gradient or effect that is not finite; a pixel beyond 1000 standard
    deviations; the last five losses all above 1000 times the median loss of the run's first round, the newest highest.
    """

    def __init__(
        self, learning_rate: float, class_names: Sequence[str], reference_loss: float, last_good: str, classes: range | None = None
    ) -> None:
        """The guard of one round.

        Args:
            learning_rate: step size of the images, for messages.
            class_names: names of all classes.
            reference_loss: median loss of the run's first round; nan while that is not over.
            last_good: a sentence that tells where the last good state lies.
            classes: those that losses and images are of, in their order; without them all that have a name.
        """
        self._learning_rate = learning_rate
        self._class_names = class_names
        self._classes = range(len(class_names)) if classes is None else classes
        self._limit = LOSS_FACTOR * max(reference_loss, SMALLEST_REFERENCE) if math.isfinite(reference_loss) else math.inf
        self._last_good = last_good
        self._recent: deque[float] = deque(maxlen=RISING)

    def check_step(self, iteration: int, losses: Tensor, gradient: Tensor, images: Tensor) -> list[float]:
        """Check one image step: losses `[classes]`, gradient and updated images `[classes * ipc, C, H, W]`.

        Returns the losses as numbers; one transfer from the device serves losses and checks.
        """
        return self.check_measured(iteration, measured(losses, gradient, images).tolist())

    def check_measured(self, iteration: int, values: Sequence[Sequence[float]]) -> list[float]:
        """As `check_step`, for an image step of which `measured` was kept on the device and has been read since."""
        losses, steepest, brightest = values
        for c, value in zip(self._classes, losses, strict=True):
            if not math.isfinite(value):
                self._stop(iteration, f"the loss of class {self._name(c)} is {value}")
        self._check_images(iteration, steepest, brightest)
        return list(losses)

    def check_joint_step(self, iteration: int, loss: Tensor, gradient: Tensor, images: Tensor) -> float:
        """As `check_step`, for one loss that all classes share, a scalar; returns it as a number."""
        losses, steepest, brightest = measured(loss.detach().expand(len(self._classes)), gradient, images).tolist()
        if not math.isfinite(losses[0]):
            self._stop(iteration, f"the loss is {losses[0]}")
        self._check_images(iteration, steepest, brightest)
        return float(losses[0])

    def _check_images(self, iteration: int, steepest: Sequence[float], brightest: Sequence[float]) -> None:
        """Check the largest absolute values of each class's gradient and images."""
        for c, value in zip(self._classes, steepest, strict=True):
            if not math.isfinite(value):
                self._stop(iteration, f"the gradient of class {self._name(c)} is not finite")
        worst = max(range(len(brightest)), key=lambda place: math.inf if math.isnan(brightest[place]) else brightest[place])
        if not brightest[worst] <= PIXEL_LIMIT:
            reached = f"{brightest[worst]:.3g} standard deviations (limit {PIXEL_LIMIT:g})"
            self._stop(iteration, f"a pixel of class {self._name(self._classes[worst])} reached {reached}")

    def check_loss(self, iteration: int, loss: float, class_losses: Sequence[float]) -> None:
        """Check an iteration's loss against the run's beginning; `class_losses` tell which class is worst, if there are any."""
        self._recent.append(loss)
        high = len(self._recent) == RISING and min(self._recent) > self._limit
        if high and loss == max(self._recent):
            what = f"the loss is {loss:.3g} and rising, over {LOSS_FACTOR:g} times its median in the first round"
            if class_losses:
                worst = max(range(len(class_losses)), key=lambda place: class_losses[place])
                what += f"; the worst class is {self._name(self._classes[worst])}"
            self._stop(iteration, what)

    def check_effects(self, iteration: int, class_index: int, scores: Tensor, word: str = "causal effect") -> None:
        """Check the causal effects `[n]` of a class, or the scores in their place, called `word`."""
        bad = int((~torch.isfinite(scores)).sum())
        if bad:
            self._stop(iteration, f"the {word} of {bad} of {len(scores)} samples of class {self._name(class_index)} is not finite")

    def _name(self, class_index: int) -> str:
        return f"{class_index} ({self._class_names[class_index]})"

    def _stop(self, iteration: int, what: str) -> None:
        samples = spoken("images")
        raise Diverged(
            f"distillation diverged at iteration {iteration}: {what}. The learning rate of the {samples} is {self._learning_rate:g}: "
            f"try {self._learning_rate / 10:g}, or check the real {samples} of that class. {self._last_good}"
        )


def measured(losses: Tensor, gradient: Tensor, images: Tensor) -> Tensor:
    """What the guard wants to know of an image step, `[3, K]`: the losses `[K]`, and per class the largest absolute values.

    `gradient` and `images` are `[K * ipc, C, H, W]`. The values stay on the device.
    """
    peaks = [values.detach().abs().reshape(len(losses), -1).amax(dim=1) for values in (gradient, images)]
    return torch.stack([losses.detach(), *peaks])
