"""What Adam steps where a method does not step stored images by SGD: their pixels, or the levels of a pyramid that they are made of.

In a pyramid (Cazenavette et al. 2025, section 3.2) an image is sigmoid(2 M sum of levels), levels of 1x1, 2x2, 4x4 ... pixels up to
its own side, each enlarged bilinearly; M mixes three channels as natural colors are correlated. It begins with one level. When a
level comes in as the L-th, the others are multiplied by (L - 1) / L, it is N(0, 1) / L, and Adam starts anew.

In `state.method`: `level.K` `[M, C, h, w]` of a pyramid, and of every level, or of the pixels as `level.0`, Adam's `mean.K` and `square.K`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.step.state import DistillState
from bilp.errors import DamagedArtifact
from bilp.images.enlarging import enlarging
from bilp.seeds import generator

COLORS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))
"""How red, green and blue follow from three channels that are not correlated; used divided by the length of its longest column."""
STEEPNESS = 2.0


class Levels:
    """The levels of a state's images, which it moves together with these."""

    def __init__(self, config: DistillConfig, state: DistillState, mean: Sequence[float], std: Sequence[float]) -> None:
        """Go on where `state` stands.

        Args:
            config: settings of distillation.
            state: its images and `method` change.
            mean: per channel, of the normalization of pixels in [0, 1].
            std: likewise.
        """
        self._config, self._state, self._pyramid = config, state, config.linear.pyramid
        shape = state.images.shape
        self._flat = (math.prod(shape[:-3]), *shape[-3:])  # frames of clips are images here
        self._mean, self._std = (torch.tensor(values, device=state.images.device).view(-1, 1, 1) for values in (mean, std))
        self._enlarging = self._matrices() if self._pyramid else ()
        self._colors = color_matrix(state.images.device) if self._flat[1] == len(COLORS) else None
        if not self._pyramid:
            self._begin_adam(1)

    def grow(self, iteration: int) -> None:
        """Let in the level whose turn it is at the beginning of this iteration, if any; the images follow."""
        every = self._config.linear.grow_every
        sides = level_sides(self._flat[-2:])
        if not self._pyramid or iteration % every or (place := iteration // every) >= len(sides):
            return
        tensors, count = self._state.method, place + 1
        for k in range(place):
            tensors[f"level.{k}"] *= place / count
        stream = generator(self._config.seed, "pyramid", place)
        fresh = torch.randn(*self._flat[:2], *sides[place], generator=stream) / count
        tensors[f"level.{place}"] = fresh.to(self._state.images.device)
        self._begin_adam(count, anew=True)
        with torch.no_grad():
            self._state.images.copy_(self._rendered(self._parts()))

    def step(self, gradient: Tensor, iteration: int) -> None:
        """A step of Adam on the gradient with respect to the images, in their shape, which follow."""
        leaves = [part.detach().requires_grad_() for part in self._parts()]
        if self._pyramid:
            with torch.enable_grad():
                rendered = self._rendered(leaves)
            gradients = torch.autograd.grad(rendered, leaves, gradient)
        else:
            gradients = (gradient,)
        optimizer = torch.optim.Adam(leaves, lr=self._config.learning_rate)
        for k, (leaf, own) in enumerate(zip(leaves, gradients, strict=True)):
            leaf.grad = own
            moments = {"exp_avg": self._state.method[f"mean.{k}"], "exp_avg_sq": self._state.method[f"square.{k}"]}
            optimizer.state[leaf] = {"step": torch.tensor(float(self._steps_since(iteration))), **moments}
        optimizer.step()
        if self._pyramid:
            with torch.no_grad():
                self._state.images.copy_(self._rendered(self._parts()))

    def _parts(self) -> list[Tensor]:
        """The tensors that are stepped, which share memory with the state."""
        if not self._pyramid:
            return [self._state.images]
        return [self._state.method[f"level.{k}"] for k in range(sum(name.startswith("level.") for name in self._state.method))]

    def _rendered(self, levels: Sequence[Tensor]) -> Tensor:
        """The normalized images that levels make."""
        total = torch.stack([tall @ level @ wide for level, (tall, wide) in zip(levels, self._enlarging, strict=False)]).sum(dim=0)
        if self._colors is not None:
            total = torch.einsum("ij,njhw->nihw", self._colors, total)
        pixels = torch.sigmoid(STEEPNESS * total)
        return ((pixels - self._mean) / self._std).view(self._state.images.shape)

    def _matrices(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """For each level what enlarges its columns, and its rows."""
        (height, width), device = self._flat[-2:], self._state.images.device
        pairs = ((enlarging(tall, height), enlarging(wide, width).T) for tall, wide in level_sides((height, width)))
        return tuple((tall.to(device), wide.to(device)) for tall, wide in pairs)

    def _begin_adam(self, count: int, anew: bool = False) -> None:
        """Moments of 0 for the first `count` tensors, if they have none yet or are to begin anew."""
        tensors = self._state.method
        for k, part in enumerate(self._parts()[:count]):
            for name in (f"mean.{k}", f"square.{k}"):
                if anew or name not in tensors:
                    tensors[name] = torch.zeros_like(part)

    def _steps_since(self, iteration: int) -> int:
        """Steps of Adam before this iteration, since it began anew."""
        if not self._pyramid:
            return iteration
        every = self._config.linear.grow_every
        return iteration - every * min(iteration // every, len(level_sides(self._flat[-2:])) - 1)


def level_sides(size: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width of every level of images of height and width `size`."""
    height, width = size
    count = math.ceil(math.log2(max(height, width))) + 1
    return [(min(2**k, height), min(2**k, width)) for k in range(count)]


def color_matrix(device: torch.device | str = "cpu") -> Tensor:
    """M `[3, 3]`."""
    matrix = torch.tensor(COLORS, device=device)
    result: Tensor = matrix / torch.linalg.vector_norm(matrix, dim=0).max()
    return result


def require_levels(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `tensors` are levels, and moments of Adam, as the run has them."""
    *frames, channels, height, width = pool.dataset.shape
    count = pool.classes * config.ipc * math.prod(frames)
    forms: dict[str, Form] = {}
    if config.linear.pyramid:
        sides = level_sides((height, width))
        held = sum(name.startswith("level.") for name in tensors)
        if not 1 <= held <= len(sides):
            raise DamagedArtifact(f"{where} holds {held} levels of images that have 1 to {len(sides)}: run the round again")
        for k, side in enumerate(sides[:held]):
            forms |= {f"{name}.{k}": (torch.float32, (count, channels, *side)) for name in ("level", "mean", "square")}
    else:
        whole = (pool.classes * config.ipc, *pool.dataset.shape)
        forms = {f"{name}.0": (torch.float32, whole) for name in ("mean", "square")}
    require_tensors(tensors, forms, where)
    if not all(bool((value >= 0).all()) for name, value in tensors.items() if name.startswith("square.")):
        raise DamagedArtifact(f"{where} holds squares that are negative: run the round again")
