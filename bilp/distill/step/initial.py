"""The synthetic images before the first iteration."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bilp.config import METHODS, DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.step.recognized_start import recognized
from bilp.distill.step.representatives import cluster_members
from bilp.distill.step.state import DISTILLED, DistillState
from bilp.errors import ConfigError
from bilp.experts.buffer import ExpertBuffer
from bilp.images.multiformation import mosaic
from bilp.nets import build, initialize
from bilp.pruning.difficulty import Difficulty
from bilp.registry import resolve
from bilp.seeds import generator

INITIAL = "initial"
"""Name of the random streams that initial images are drawn by."""


def initial_state(
    config: DistillConfig,
    pool: RealPool,
    classes: range | None = None,
    experts: ExpertBuffer | None = None,
    device: torch.device | str = "cpu",
    difficulty: Difficulty | None = None,
    start: Tensor | None = None,
    stream: str = INITIAL,
) -> DistillState:
    """Real samples of each class (of `classes` alone, if given), drawn at random, nearest to the centers of clusters (kmeans) or
    classified correctly by an expert (recognized), or standard Gaussian noise in normalized space; class c draws from its own stream.

    Where a stored image is decoded into factor^2 parts, as many real samples are shrunk into one. A real part is the last images of each
    class, and the first that were drawn, or the hardest of the window. Raises ConfigError if real images are asked for and a class has
    fewer than `ipc` * factor^2 candidates, the window lies beyond them, or experts are asked for and there are none.

    Args:
        config: settings of the distillation.
        pool: the real samples that take part.
        classes: those whose images start, or None for all.
        experts: of init recognized.
        device: where experts are asked; the state lies on the CPU.
        difficulty: of the real samples; needed for a window of their ranking.
        start: images by class `[classes, m, C, H, W]` of the set that a run starts from, for methods that begin in a way of their own.
        stream: name of the random streams.
    """
    classes = range(pool.classes) if classes is None else classes
    if own := METHODS[config.method].begins:
        begun: DistillState = resolve(own)(config, pool, classes, difficulty, start)
        return begun
    labels = torch.tensor(classes).repeat_interleave(config.ipc)
    fixed = config.real_part.real(config.ipc)
    if config.init == "noise" and not fixed:
        return DistillState.start(_noise(config, pool, classes), labels)
    require_initial(config, pool)
    drawn = _drawn(config, pool, classes, experts, device, difficulty, stream)
    if not fixed:
        images = mosaic(pool.images(torch.cat(drawn)), config.decode.factor, METHODS[config.method].shrinking)
        return DistillState.start(images, labels)
    real = torch.full((len(drawn), config.ipc), DISTILLED)
    real[:, config.ipc - fixed :] = torch.stack([ids[:fixed] for ids in drawn])
    if config.init == "noise":
        images = _noise(config, pool, classes)
        images[(real != DISTILLED).flatten()] = pool.images(real[real != DISTILLED])
    else:
        images = pool.images(torch.cat([ids.roll(-fixed) for ids in drawn]))
    return DistillState.start(images, labels, real.flatten())


def asks_experts(config: DistillConfig) -> bool:
    """Whether initial images are chosen by experts."""
    return config.init == "recognized"


def require_initial(config: DistillConfig, pool: RealPool, left: Callable[[int], int] | None = None) -> None:
    """Raise ConfigError if a class has too few samples to start from.

    Args:
        config: settings of the distillation.
        pool: the real samples that take part.
        left: of so many of a class, how many are there to be drawn from after a first decision; without it all.
    """
    part = config.real_part
    after = "" if left is None else " after a first decision"
    if part.window is not None:
        first = part.first(config.ipc)
        why = f"real_part.window = {part.window:g} with ipc = {config.ipc}, which begins at place {first}"
        pool.require(first + config.ipc, why + after, left)
    elif config.init != "noise":
        factor = config.decode.factor
        parts = "" if factor == 1 else f" and {factor}x{factor} parts"
        pool.require(_wanted(config), f"init {config.init} with ipc = {config.ipc}{parts}{after}", left)
    elif part.share > 0:
        pool.require(part.real(config.ipc), f"real_part.share = {part.share:g} with ipc = {config.ipc}")


def _wanted(config: DistillConfig) -> int:
    return config.ipc * config.decode.factor**2


def _drawn(
    config: DistillConfig,
    pool: RealPool,
    classes: range,
    experts: ExpertBuffer | None,
    device: torch.device | str,
    difficulty: Difficulty | None,
    stream: str,
) -> list[Tensor]:
    """The sample_ids of each class that its images are made of; arguments as of `initial_state`."""
    part = config.real_part
    if part.window is not None:
        if difficulty is None:
            raise ConfigError("real_part.window is of a ranking, and none is given: start the run with one (ranking_uri)")
        first = part.first(config.ipc)
        return [difficulty.hardest_first(pool.by_class[c])[first : first + config.ipc] for c in classes]
    if config.init == "kmeans":
        return _central(config, pool, classes, stream)
    if not asks_experts(config):
        return _random(config, pool, classes, stream)
    if experts is None:
        raise ConfigError(f"init {config.init} asks experts: start the run with experts")
    orders = [pool.draw(c, len(pool.by_class[c]), generator(config.seed, stream, c)) for c in classes]
    return recognized(config, pool, dict(zip(classes, orders, strict=True)), experts, device)


def _random(config: DistillConfig, pool: RealPool, classes: range, stream: str) -> list[Tensor]:
    return [pool.draw(c, _wanted(config), generator(config.seed, stream, c)) for c in classes]


def _central(config: DistillConfig, pool: RealPool, classes: range, stream: str) -> list[Tensor]:
    """The members nearest to the centers of clusters of a random network's features, and random ones for clusters without any."""
    network = build(config.network, pool.dataset.shape, pool.classes).eval()
    initialize(network, generator(config.seed, f"{stream}_network"))
    result = []
    for c, random in zip(classes, _random(config, pool, classes, stream), strict=True):
        clusters = generator(config.seed, f"{stream}_clusters", c)
        central = cluster_members(network, pool, pool.by_class[c], len(random), clusters, config.dream)
        others = random[~torch.isin(random, central)]
        result.append(torch.cat([central, others])[: len(random)])
    return result


def _noise(config: DistillConfig, pool: RealPool, classes: range) -> Tensor:
    shape = (config.ipc, *pool.dataset.shape)
    return torch.cat([torch.randn(shape, generator=generator(config.seed, INITIAL, c)) for c in classes])
