"""The synthetic images before the first iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.config import DistillConfig
from bilp.distill.sampling import RealPool
from bilp.distill.state import DistillState
from bilp.seeds import generator


def initial_state(config: DistillConfig, pool: RealPool) -> DistillState:
    """Real samples of each class, or standard Gaussian noise in normalised space; class c draws from its own stream.

    Raises ConfigError if real images are asked for and a class has fewer than `ipc` candidates.
    """
    labels = torch.arange(pool.classes).repeat_interleave(config.ipc)
    make = _real if config.init == "real" else _noise
    return DistillState.start(make(config, pool), labels)


def _real(config: DistillConfig, pool: RealPool) -> Tensor:
    pool.require(config.ipc, f"init real with ipc = {config.ipc}")
    drawn = [pool.draw(c, config.ipc, generator(config.seed, "initial", c)) for c in range(pool.classes)]
    return pool.images(torch.cat(drawn))


def _noise(config: DistillConfig, pool: RealPool) -> Tensor:
    shape = (config.ipc, *pool.dataset.shape)
    return torch.cat([torch.randn(shape, generator=generator(config.seed, "initial", c)) for c in range(pool.classes)])
