"""Memories and coefficients that images are made of, and the SGD that moves them (Deng & Russakovsky 2022).

In `state.method`: `memories` `[K, C, h, w]` and `coefficients` `[M, K]` (`bilp.images.memories`), and of each the momentum of SGD,
`memories_momentum` and `coefficients_momentum`. Both begin by Xavier's uniform distribution on the matrices `[K, C h w]` and `[M, K]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.config.shapes import shrunk
from bilp.data.pool import RealPool
from bilp.distill.step.state import DistillState
from bilp.errors import ConfigError
from bilp.images.memories import COEFFICIENTS, MEMORIES, rendered
from bilp.seeds import generator

FACTORS = (MEMORIES, COEFFICIENTS)
VELOCITY = "_momentum"


class Memories:
    """The memories and coefficients of a state, whose images follow them."""

    def __init__(self, config: DistillConfig, state: DistillState) -> None:
        """Go on where `state` stands, or begin; its images and `method` change."""
        self._config, self._state, self._shape = config, state, tuple(state.images.shape[1:])
        if not state.method:
            drawn = initial_memories(config, len(state.images), self._shape)
            state.method = {name: value.to(state.images.device) for name, value in drawn.items()}
            state.method |= {name + VELOCITY: torch.zeros_like(state.method[name]) for name in FACTORS}
            self._render()

    @property
    def size(self) -> int:
        """Numbers of memories and coefficients together."""
        return sum(self._state.method[name].numel() for name in FACTORS)

    def pull(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Gradients with respect to the images `[M, C, H, W]`, taken back to memories and coefficients, one vector for each."""
        leaves, images = self._graph()
        found = []
        for k, gradient in enumerate(gradients):
            parts = torch.autograd.grad(images, leaves, gradient, retain_graph=k + 1 < len(gradients))
            found.append(torch.cat([part.flatten() for part in parts]))
        return found

    def push(self, directions: Sequence[Tensor]) -> list[Tensor]:
        """How the images `[M, C, H, W]` move along directions of memories and coefficients, the vectors of `pull`."""
        memories, coefficients = (self._state.method[name] for name in FACTORS)
        moved = []
        for direction in directions:
            of_memories, of_coefficients = direction.split([memories.numel(), coefficients.numel()])
            first = rendered({MEMORIES: of_memories.view_as(memories), COEFFICIENTS: coefficients}, self._shape)
            second = rendered({MEMORIES: memories, COEFFICIENTS: of_coefficients.view_as(coefficients)}, self._shape)
            moved.append(first + second)
        return moved

    def step(self, gradient: Tensor, batches: Sequence[Tensor]) -> None:
        """A step of SGD on the gradient with respect to the images, which follow.

        Args:
            gradient: of the loss on real images `[M, C, H, W]`.
            batches: rows of the images of each mini-batch, whose coefficients are penalized.
        """
        config, tensors = self._config, self._state.method
        (flat,) = self.pull([gradient])
        sizes = [tensors[name].numel() for name in FACTORS]
        of_memories, of_coefficients = flat.split(sizes)
        if config.memories.penalty > 0.0:
            of_coefficients = of_coefficients + config.memories.penalty * norm_gradient(tensors[COEFFICIENTS], batches).flatten()
        whole = torch.cat([of_memories, of_coefficients])
        if config.memories.clip > 0.0:
            whole = whole * (config.memories.clip / torch.linalg.vector_norm(whole)).clamp_max(1.0)
        for name, own in zip(FACTORS, whole.split(sizes), strict=True):
            velocity = tensors[name + VELOCITY]
            velocity.mul_(config.momentum).add_(own.view_as(velocity))
            tensors[name].sub_(config.learning_rate * velocity)
        self._render()

    def _graph(self) -> tuple[list[Tensor], Tensor]:
        leaves = [self._state.method[name].detach().requires_grad_() for name in FACTORS]
        with torch.enable_grad():
            return leaves, rendered(dict(zip(FACTORS, leaves, strict=True)), self._shape)

    @torch.no_grad()
    def _render(self) -> None:
        self._state.images.copy_(rendered(self._state.method, self._shape))


def initial_memories(config: DistillConfig, images: int, shape: Sequence[int]) -> dict[str, Tensor]:
    """Memories and coefficients of so many images of a shape, each uniform within sqrt(6 / (rows + columns)) of its matrix."""
    drawn = {}
    for name, form in factor_shapes(config, images, shape).items():
        bound = math.sqrt(6.0 / (form[0] + math.prod(form[1:])))
        drawn[name] = torch.empty(form).uniform_(-bound, bound, generator=generator(config.seed, "initial_memories", name))
    return drawn


def norm_gradient(coefficients: Tensor, batches: Sequence[Tensor]) -> Tensor:
    """The gradient of the sum of the norms of the coefficients `[M, K]` of each mini-batch; none from a batch of zeros."""
    total = torch.zeros_like(coefficients)
    for rows in batches:
        own = coefficients[rows]
        total[rows] += own / torch.linalg.vector_norm(own).clamp_min(torch.finfo(own.dtype).tiny)
    return total


def factor_shapes(config: DistillConfig, images: int, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the memories, and of the coefficients of so many images."""
    count = config.memories.count
    return {MEMORIES: (count, *shrunk(shape, config.memories.shrink)), COEFFICIENTS: (images, count)}


def memory_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of what the method carries (see `bilp.costs.run_files.Carries`).

    Args:
        config: settings of the run.
        parameters: of the network, which count for nothing here, like
        values: these and its statistics, and
        iterations: that are done.
        images: shape of the synthetic images.
    """
    shapes = factor_shapes(config, images[0], images[1:])
    return {name + suffix: (torch.float32, shape) for name, shape in shapes.items() for suffix in ("", VELOCITY)}


def require_memories(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `tensors` are memories and coefficients, and their momentum, as the run has them."""
    require_tensors(tensors, memory_forms(config, 0, 0, 0, (pool.classes * config.ipc, *pool.dataset.shape)), where)


def require_images(pool: RealPool, config: DistillConfig) -> None:
    """Raise ConfigError for networks in which samples influence each other, and for images that start as real ones."""
    if config.network.norm == "batch":
        raise ConfigError(
            f"method {config.method} differentiates through the training of networks whose samples are independent, and batch norm mixes "
            "them: set distill.network.norm to instance, or another norm"
        )
    if config.init != "noise":
        raise ConfigError(
            f"method {config.method} begins with random memories and coefficients, of which no image is a real one: set distill.init to "
            "noise"
        )
