"""The loop of FADRM (Cui et al. 2025): a teacher is inverted from patches of real images, which come in again between blocks.

Patches are chosen as RDED chooses them (`bilp.distill.loops.crops`), but of each class those of medium difficulty, in the middle of
the order by cross-entropy. The iterations are cut into blocks; between two of them an image becomes `residual.share` of itself and the
rest of its patch, and Adam begins anew. The step size falls along half a cosine over all blocks.

Left out of the authors' program: blocks in which images have another side (200 of 224 pixels on ImageNet; on smaller sets all blocks have
the same), several teachers in turn (FADRM+), and labels of a teacher whose batch norm goes by each batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bilp.artifacts.tensors import require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.crops import CropIterations, require_images, tiles_of_class
from bilp.distill.loops.inversion import SQUARES, InversionIterations, require_pixels
from bilp.distill.loops.inversion import require_carried as require_inversion
from bilp.distill.loops.iterations import Step
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState

PATCHES = "patches"
"""What a state carries beside the rest: the patches, float32 as the images."""


class MediumCrops(CropIterations):
    """As RDED's, of the images whose best crops are in the middle of their class."""

    def _best(self, place: int) -> Tensor:
        order = self._ranked(place)
        needed = tiles_of_class(self.setting.config)
        return order[(len(order) - needed) // 2 :][:needed]


class ResidualIterations(InversionIterations):
    """Image steps as of SRe2L, in blocks."""

    def prepare(self) -> None:
        """Begin with the patches. Raises ConfigError without a teacher."""
        super().prepare()
        config, carried = self.setting.config, self.state.method
        self._starts = block_starts(config)
        if PATCHES not in carried:
            carried[PATCHES] = medium_patches(self.setting, self.state.labels)
            self.state.images.copy_(carried[PATCHES])

    def iteration(self, number: int) -> Iterator[Step]:
        """The image step; the first of a block begins with a new optimizer and images that are nearer to their patches."""
        state, share = self.state, self.setting.config.residual.share
        if number > 0 and number in self._starts:
            state.images.mul_(share).add_(state.method[PATCHES], alpha=1.0 - share)
            state.momentum.zero_()
            state.method[SQUARES].zero_()
        yield from super().iteration(number)

    def steps_before(self, number: int) -> int:
        """See InversionIterations."""
        return number - max(start for start in self._starts if start <= number)


def block_starts(config: DistillConfig) -> list[int]:
    """The iteration that each block begins with; fewer iterations than blocks are a block each."""
    blocks = min(config.residual.blocks, config.iterations)
    return [block * config.iterations // blocks for block in range(blocks)]


def medium_patches(setting: Setting, labels: Tensor) -> Tensor:
    """A patch for every synthetic image `[classes * ipc, C, H, W]`, on the run's device."""
    crops = setting.config.residual.crops
    if crops == 0:
        drawn = initial_state(setting.config.model_copy(update={"init": "real"}), setting.pool, setting.classes)
        return drawn.images.to(setting.device)
    config = setting.config.model_copy(update={"iterations": crops, "rounds": 1})
    state = DistillState.start(torch.zeros(len(labels), *setting.pool.dataset.shape, device=setting.device), labels)
    guard = Guard(config.learning_rate, setting.pool.dataset.class_names, math.nan, "", setting.classes)
    MediumCrops.distill(replace(setting, config=config), state, crops, None, guard)
    return state.images


def require_patches(pool: RealPool, config: DistillConfig) -> None:
    """Raise ConfigError for samples that make no patches, or that no teacher is inverted to."""
    require_pixels(pool, config)
    require_images(pool, config)


def require_carried(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `state.method` is that of a run of this method."""
    rest = {name: value for name, value in tensors.items() if name != PATCHES}
    require_inversion(rest, config, pool, where)
    patches = {name: value for name, value in tensors.items() if name == PATCHES}
    require_tensors(patches, {PATCHES: (torch.float32, tuple(tensors[SQUARES].shape))}, where)


distill = ResidualIterations.distill
