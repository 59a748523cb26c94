"""Vectors, and products with the Jacobian J = dpsi/dS and its transpose for any function, by autograd alone.

These are the definitions that `pullback` and `pushforward` compute faster; docs/notation.md names the symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bilp.matching.batched import batched_gradients
from bilp.nets.by_device import ByDevice
from bilp.nets.clips import frames_of

Vectors = tuple[Tensor, ...]
"""Blocks of one vector. Features: one block `[F]`. Gradients: one block `[rows, columns]` per weight matrix or kernel.
With a leading axis B: one vector per sample."""

# Images per tiled batch: a CPU is fastest while activations stay in its cache.
LANE_IMAGES = ByDevice(cpu=16, gpu=512, large=8192)


class Pullback(Protocol):
    """J^T of the Jacobian J = dpsi/dS of each of K classes, where S are the images that enter the network."""

    lanes: int
    """Most cotangents of each class that one call may take."""
    lane_bytes: int
    """Bytes that are kept for one cotangent of every class."""

    def __call__(self, cotangents: Vectors) -> Tensor:
        """Cotangents of every psi with leading axes k <= lanes and K, to gradients with respect to the images `[k, K, M, C, H, W]`."""


class GenericPullback:
    """J^T by PyTorch's batched differentiation of psi: for any network, and the reference of the fast ones."""

    def __init__(self, psi: Vectors, images: Tensor, lanes: int) -> None:
        """psi, with a leading axis of classes, is a function of `images` `[K * M, C, H, W]` with its graph."""
        self.lanes, self.lane_bytes = lanes, sum(block.numel() * block.element_size() for block in psi)
        self._psi, self._images = psi, images

    def __call__(self, cotangents: Vectors) -> Tensor:
        kept = [(value, c) for value, c in zip(self._psi, cotangents, strict=True) if value.requires_grad]
        if not kept:
            return by_class(self._images.new_zeros(len(cotangents[0]), *self._images.shape), len(self._psi[0]))
        (result,) = batched_gradients([value for value, _ in kept], [self._images], [c for _, c in kept])
        return by_class(result, len(self._psi[0]))


def generic_pullback(
    synthetic: Callable[[Tensor, Tensor], Vectors], images: Tensor, labels: Tensor, classes: int, count: int, byte_budget: int
) -> Pullback:
    """The pullback of any function from images and labels to vectors.

    Args:
        synthetic: psi as a differentiable function of the images `[M, C, H, W]` and labels `[M]` of one class.
        images: `[K * M, C, H, W]`, class by class.
        labels: int64 `[K * M]`.
        classes: K.
        count: Cotangents of every class to prepare for.
        byte_budget: Bytes that may be kept between calls; one cotangent of every class may need more.
    """
    points = images.detach().requires_grad_()
    with torch.enable_grad():
        psi_of = [synthetic(own, targets) for own, targets in zip(points.chunk(classes), labels.chunk(classes), strict=True)]
        psi = tuple(torch.stack(blocks) for blocks in zip(*psi_of, strict=True))
    single = GenericPullback(psi, points, 1)
    lanes = lanes_for(images, count, single.lane_bytes, byte_budget)
    return single if lanes == 1 else GenericPullback(psi, points, lanes)


def generic_pushforward(synthetic: Callable[[Tensor], Vectors], images: Tensor, tangents: Tensor) -> Vectors:
    """J_m r_m of any function from images `[M, C, H, W]` to vectors, also one that mixes images, for directions `[k, M, C, H, W]`.

    Blocks `[k, M, ...]`, detached.
    """
    points = images.detach().requires_grad_()
    with torch.enable_grad():
        psi = synthetic(points)
    batch = len(images)
    apart = torch.eye(batch, dtype=images.dtype, device=images.device).view(batch, batch, *[1] * (images.dim() - 1))
    # Row m of tangent * apart, [M, M, C, H, W], moves image m alone.
    products = JacobianProducts(psi, (points,))
    rows = [products((tangent * apart,)) for tangent in tangents]
    return tuple(torch.stack(blocks) for blocks in zip(*rows, strict=True))


class JacobianProducts:
    """Products of the Jacobian of `outputs` with directions of `inputs`, by differentiating twice.

    The product with J^T is linear in its cotangent v, and J r is the derivative of <J^T v, r> with respect to v.
    """

    def __init__(self, outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        """`outputs` are functions of `inputs` with their graph, which is kept and must be differentiable once more."""
        self._outputs = tuple(outputs)
        self._moving = [place for place, block in enumerate(outputs) if block.requires_grad]
        self._probes = [torch.zeros_like(outputs[place], requires_grad=True) for place in self._moving]
        self._pulled: tuple[Tensor, ...] = ()
        if self._moving:
            moving = [outputs[place] for place in self._moving]
            with torch.enable_grad():
                self._pulled = torch.autograd.grad(moving, inputs, self._probes, create_graph=True, materialize_grads=True)

    def __call__(self, tangents: Sequence[Tensor]) -> Vectors:
        """For k directions `[k, ...]` of every input, blocks `[k, ...]` in the order of the outputs, detached."""
        found = [block.new_zeros(len(tangents[0]), *block.shape) for block in self._outputs]
        kept = [(value, r) for value, r in zip(self._pulled, tangents, strict=bool(self._pulled)) if value.requires_grad]
        if kept:
            products = batched_gradients([value for value, _ in kept], self._probes, [r for _, r in kept])
            for place, block in zip(self._moving, products, strict=True):
                found[place] = block.detach()
        return tuple(found)


def lane_images(images: Tensor) -> int:
    """Images of all lanes of a tiled batch that suit the device on which `images` lie; a frame of a video counts as an image."""
    return LANE_IMAGES.on(images.device)


def lanes_for(images: Tensor, count: int, lane_bytes: int, byte_budget: int) -> int:
    """Lanes for `count` cotangents, in calls of nearly equal size: bounded by what suits the device and by memory."""
    preferred = lane_images(images) // (len(images) * frames_of(images))
    most = max(1, min(count, preferred, byte_budget // max(lane_bytes, 1)))
    calls = -(-count // most)
    return -(-count // calls)


def by_class(rows: Tensor, classes: int) -> Tensor:
    """`[k, K * M, ...]` as `[k, K, M, ...]`."""
    result: Tensor = rows.unflatten(1, (classes, -1))
    return result
