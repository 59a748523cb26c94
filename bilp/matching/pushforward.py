"""Many products of the Jacobian of psi(S) with directions in the space of the images, through the synthetic batch alone.

psi is a mean over images, so the product with a direction falls into one part per image, psi changing because this image
does. A pushforward hands out these parts: [J_1 r_1, ..., J_M r_M] for a direction r = (r_1, ..., r_M), at the cost of
their sum (docs/notation.md). As in `pullback`, the batch is tiled once per direction, and the derivative of a gradient is
assembled from what reaches the inputs and output gradients of the layers (see `layer_rules`).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from bilp.matching.jacobian import Vectors, generic_pushforward
from bilp.matching.per_sample import announce_generic_path, micro_batch_size
from bilp.matching.recording import NoRule, calls_of, output_gradients, record
from bilp.nets import Network

# What a pass with tangents holds of an image, in what one for the gradients of samples does: two of everything, and both derivatives.
TANGENTS = 4


def feature_pushforward(network: Network, images: Tensor, tangents: Tensor) -> Vectors:
    """The pushforward of the mean embedding at `[M, C, H, W]` for directions `[k, M, C, H, W]`: one block `[k, M, F]`, detached."""
    count, batch = tangents.shape[:2]
    found = []
    try:
        for points, direction in _tiles(images, tangents):
            with torch.no_grad(), forward_mode():
                found.append(_both(network.embed(forward_ad.make_dual(points, direction)))[1] / batch)
    except NotImplementedError as reason:
        announce_generic_path(str(reason))
        return generic_pushforward(lambda x: (network.embed(x).mean(dim=0),), images, tangents)
    return (torch.cat(found).view(count, batch, -1),)


def gradient_pushforward(
    network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter], tangents: Tensor
) -> Vectors | None:
    """The same for the gradient of the mean cross-entropy; None, with a notice in the log, for a network without rules.

    Args:
        network: Its samples must not influence each other.
        images: `[M, C, H, W]`.
        labels: int64 `[M]`.
        parameters: Those whose gradients are psi, one block each.
        tangents: Directions `[k, M, C, H, W]`.

    Returns:
        Blocks `[k, M, rows, columns]`, detached.
    """
    for create_graph in (False, True):  # some derivatives know forward mode only in the form that can be differentiated again
        try:
            return _gradient_passes(network, images, labels, parameters, tangents, create_graph)
        except (NoRule, NotImplementedError) as error:
            reason = str(error)
            if isinstance(error, NoRule):
                break
    announce_generic_path(reason)
    return None


def _gradient_passes(
    network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter], tangents: Tensor, create_graph: bool
) -> Vectors:
    count, batch = tangents.shape[:2]
    repeated = labels.repeat(count)
    found, done = [], 0
    for points, direction in _tiles(images, tangents):
        targets = repeated[done : done + len(points)]
        found.append(_gradient_tangents(network, points, targets, parameters, direction, create_graph))
        done += len(points)
    return tuple(torch.cat(blocks).div_(batch).view(count, batch, *blocks[0].shape[1:]) for blocks in zip(*found, strict=True))


def _gradient_tangents(
    network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter], direction: Tensor, create_graph: bool
) -> Vectors:
    """d/dt of every image's own gradient at image + t * direction, blocks `[n, rows, columns]` for `[n, C, H, W]`."""
    sums: dict[int, Tensor] = {}
    with forward_mode():
        points = forward_ad.make_dual(images.requires_grad_(), direction)
        loss, calls = record(network, points, labels, twice=True)
        for call, gradient in calls_of(output_gradients(loss, calls, create_graph=create_graph), parameters):
            values = call.layer.outer_derivative(*_both(call.node), *_both(gradient))
            for parameter, value in zip(call.layer.parameters, values, strict=True):
                known = sums.get(id(parameter))
                sums[id(parameter)] = value if known is None else known + value
    zeros = [parameter.new_zeros(1).expand(len(images), len(parameter), parameter[0].numel()) for parameter in parameters]
    return tuple(sums.get(id(parameter), zero) for parameter, zero in zip(parameters, zeros, strict=True))


def forward_mode() -> AbstractContextManager[None]:
    """Inside, tensors may carry tangents."""
    _load_forward_mode()
    level: AbstractContextManager[None] = forward_ad.dual_level()
    return level


@functools.cache
def _load_forward_mode() -> None:
    """PyTorch loads the rules of forward mode on first use, by an interface that it has itself deprecated."""
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):  # the latter in PyTorch 2.11
            warnings.simplefilter("ignore", category)
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


def _tiles(images: Tensor, tangents: Tensor) -> list[tuple[Tensor, Tensor]]:
    """All pairs of an image and its direction, in passes of a size that suits the device."""
    count = len(tangents)
    size = micro_batch_size(images, TANGENTS)
    points = images.detach().repeat(count, *[1] * (images.dim() - 1))
    return list(zip(points.split(size), tangents.detach().flatten(0, 1).split(size), strict=True))


def _both(dual: Tensor) -> tuple[Tensor, Tensor]:
    """Value and tangent."""
    value, tangent = forward_ad.unpack_dual(dual)
    return value.detach(), torch.zeros_like(value) if tangent is None else tangent.detach()
