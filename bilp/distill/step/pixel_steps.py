"""Steps of an optimizer on the pixels of synthetic images, with a step size per class that falls when its loss no longer does.

Images are stored normalized; what is stepped are their pixels p = std x + mean, whose gradient is that of x divided by std. Every
class has a step size and moments of its own, so that no class's images depend on another's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.step.pixel_range import PixelRange
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.errors import DamagedArtifact

FIRST, SECOND, LEAST = 0.9, 0.999, 1e-8
"""AdamW's decay of the first and of the second moment, and what is added to the root of the latter: PyTorch's defaults."""
THRESHOLD = 1e-4
"""A loss is lower than the lowest before if it is by this share of it, as in PyTorch's ReduceLROnPlateau."""

SQUARES, RATES, LOWEST, WAITED = "squares", "rates", "lowest", "waited"
"""What a state carries, by image or by class: second moments (AdamW alone), step sizes, lowest losses, image steps since those."""


class PixelSteps:
    """AdamW (Loshchilov & Hutter 2019, algorithm 2) or SGD with momentum, as `distill.characteristic` says, on a state in place."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        """Continues from what `state.method` holds, or starts with empty moments."""
        self._config, self._state, self._pixels = setting.config, state, PixelRange.of(setting)
        self._settings = setting.config.characteristic
        carried, classes = state.method, len(setting.classes)
        if not carried:
            if self._settings.optimizer == "adamw":
                carried[SQUARES] = torch.zeros_like(state.images)
            carried[RATES] = state.images.new_full((classes,), self._config.learning_rate)
            carried[LOWEST] = state.images.new_full((classes,), torch.inf)
            carried[WAITED] = torch.zeros(classes, dtype=torch.int64, device=state.images.device)
            self.clamp()

    def take(self, gradient: Tensor, count: int) -> None:
        """Step number `count`, from 1, on the gradient with respect to the normalized images `[classes * ipc, C, H, W]`."""
        state, pixels = self._state, self._pixels
        of_pixels = gradient / pixels.std
        rates = state.method[RATES].repeat_interleave(self._config.ipc).view(-1, *[1] * (gradient.dim() - 1))
        if SQUARES in state.method:
            squares = state.method[SQUARES]
            state.momentum.lerp_(of_pixels, 1.0 - FIRST)
            squares.mul_(SECOND).addcmul_(of_pixels, of_pixels, value=1.0 - SECOND)
            root = (squares / (1.0 - SECOND**count)).sqrt_().add_(LEAST)
            step = (state.momentum / (1.0 - FIRST**count)) / root
            step.add_(state.images * pixels.std + pixels.mean, alpha=self._settings.weight_decay)
        else:
            state.momentum.mul_(self._config.momentum).add_(of_pixels)
            step = state.momentum
        state.images.sub_(rates * step / pixels.std)

    def clamp(self) -> None:
        """Take the pixels back into [0, 1]."""
        self._pixels.clamp_(self._state.images)

    def note(self, losses: Tensor) -> None:
        """The losses `[classes]` of an image step: those that were not lower for `patience` image steps lower the step size."""
        if self._settings.patience == 0:
            return
        carried = self._state.method
        lower = losses < carried[LOWEST] * (1.0 - THRESHOLD)
        carried[LOWEST] = torch.where(lower, losses, carried[LOWEST])
        waited = torch.where(lower, 0, carried[WAITED] + 1)
        late = waited > self._settings.patience
        carried[RATES] = torch.where(late, carried[RATES] * self._settings.decay, carried[RATES])
        carried[WAITED] = torch.where(late, 0, waited)


def carried_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of what `PixelSteps` carries (see `bilp.costs.run_files.Carries`).

    Args:
        config: Settings of the distillation.
        parameters: Of the network, on which it does not depend.
        values: Likewise.
        iterations: Likewise.
        images: Shape of the synthetic images, `[classes * ipc, C, H, W]`.
    """
    classes = images[0] // config.ipc
    forms: dict[str, Form] = {
        RATES: (torch.float32, (classes,)),
        LOWEST: (torch.float32, (classes,)),
        WAITED: (torch.int64, (classes,)),
    }
    return forms | ({SQUARES: (torch.float32, images)} if config.characteristic.optimizer == "adamw" else {})


def require_carried(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `tensors` are what `PixelSteps` carries of a run, or of some of its classes."""
    settings = config.characteristic
    classes = len(tensors[RATES]) if RATES in tensors and tensors[RATES].ndim else 0
    forms = carried_forms(config, 0, 0, 0, (classes * config.ipc, *pool.dataset.shape))
    require_tensors(tensors, forms, where, finite=settings.patience > 0)
    waited, rates = tensors[WAITED], tensors[RATES]
    possible = bool(((waited >= 0) & (waited <= settings.patience)).all()) and bool((rates <= config.learning_rate).all())
    if not (0 < classes <= pool.classes and possible and bool((rates >= 0).all())):
        raise DamagedArtifact(f"{where} holds step sizes of {classes} classes that cannot be: run the round again")
