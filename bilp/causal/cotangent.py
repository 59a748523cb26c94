"""The causal effect of every sample of a batch, exactly, without leaving samples out one by one.

With q = dD/dpsi in closed form and J = dpsi/dS, the meta-gradient is J^T q(mu). Removing sample i turns the mean mu
into mu - d_i with d_i = (phi_i - mu) / (B - 1), so

    ITE_i = J^T [ q(mu) - q(mu - d_i) ]

needs one vector-Jacobian product per sample, through the synthetic images only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bilp.matching import Matching, Pullback, Vectors
from bilp.matching.per_sample import micro_batch_size
from bilp.nets import Network

# A sample this close to the mean, relative to the mean's length and in units of the floating point resolution, equals
# it: what is left is rounding noise, and its effect is zero.
NOISE = 256.0


def exact_effects(
    matching: Matching,
    network: Network,
    real: tuple[Tensor, Tensor],
    synthetic: tuple[Tensor, Tensor],
    augment: Callable[[Tensor], Tensor],
    byte_budget: int,
) -> Iterator[Tensor]:
    """ITE of consecutive real samples in chunks `[k, M, C, H, W]`, all B in order.

    `real` and `synthetic` are (images, labels); the derivative is with respect to the synthetic images before
    `augment`. Per-sample vectors are held for as many samples as `byte_budget` allows, at least one.
    """
    stored = synthetic[0].detach().requires_grad_()
    with torch.enable_grad():
        entering = augment(stored)
        psi = tuple(block.detach() for block in matching.synthetic(network, entering.detach(), synthetic[1]))
    values = sum(block.numel() for block in psi)
    count = len(real[0])
    # With fewer values in a vector than samples, the Jacobian itself is cheaper than a product for every sample.
    dense = values < count and values * stored.numel() * stored.element_size() <= byte_budget
    pull = matching.pullback(network, entering.detach(), synthetic[1], values if dense else count, byte_budget)
    if dense:
        pull = DensePullback(pull, psi)
    mean, chunks = _mean_and_chunks(matching, network, real, psi, pull.lanes, byte_budget)
    for phi in chunks:
        for start in range(0, len(phi[0]), pull.lanes):
            part = tuple(block[start : start + pull.lanes] for block in phi)
            effects = pull(cotangent_differences(matching, mean, part, psi, count))
            yield effects if entering is stored else _through(entering, stored, effects)


def cotangent_differences(matching: Matching, mean: Vectors, phi: Vectors, psi: Vectors, count: int) -> Vectors:
    """q(mean) - q(mean - d_i) for the samples with vectors phi_i (leading axis), out of a batch of `count`."""
    apart = tuple(block - centre for block, centre in zip(phi, mean, strict=True))
    differs = _beyond_noise(apart, mean)
    # In place from here on: at hundreds of megabytes, every fresh tensor costs more than the arithmetic on it.
    without = tuple(block.mul_(1.0 / (1 - count)).add_(centre) for block, centre in zip(apart, mean, strict=True))
    rest = matching.cotangent(without, psi)
    whole = matching.cotangent(mean, psi)
    result = tuple(torch.sub(q, q_rest, out=q_rest) for q, q_rest in zip(whole, rest, strict=True))
    if not bool(differs.all()):
        for block in result:
            block[~differs] = 0.0
    return result


class DensePullback:
    """A pullback through the whole Jacobian, for vectors with fewer values than there are samples."""

    def __init__(self, pull: Pullback, psi: Vectors) -> None:
        """Costs one product with `pull` per value of psi; afterwards any number of cotangents is one matrix product."""
        self.lanes = pull.lanes
        units = torch.eye(sum(block.numel() for block in psi), dtype=psi[0].dtype, device=psi[0].device)
        self._rows = torch.cat([pull(_as_blocks(part, psi)) for part in units.split(pull.lanes)])

    def __call__(self, cotangents: Vectors) -> Tensor:
        """See Pullback."""
        flat = torch.cat([block.flatten(1) for block in cotangents], dim=1)
        return (flat @ self._rows.flatten(1)).view(-1, *self._rows.shape[1:])


def _as_blocks(flat: Tensor, psi: Vectors) -> Vectors:
    parts = flat.split([block.numel() for block in psi], dim=1)
    return tuple(part.reshape(-1, *block.shape) for part, block in zip(parts, psi, strict=True))


def _mean_and_chunks(
    matching: Matching, network: Network, real: tuple[Tensor, Tensor], psi: Vectors, lanes: int, byte_budget: int
) -> tuple[Vectors, Iterator[Vectors]]:
    """The mean vector, and the per-sample vectors in chunks; from one pass if all of them fit the budget."""
    images, labels = real
    bytes_each = sum(block.numel() * block.element_size() for block in psi)
    affordable = max(1, byte_budget // max(bytes_each, 1))
    size = _chunk_size(micro_batch_size(images), lanes, affordable)
    chunks = (matching.real(network, *pair) for pair in zip(images.split(size), labels.split(size), strict=True))
    if affordable < len(images):
        return matching.real_mean(network, images, labels), chunks
    held = list(chunks)
    sums = [torch.stack([phi[place].sum(dim=0) for phi in held]).sum(dim=0) for place in range(len(psi))]
    return tuple(total / len(images) for total in sums), iter(held)


def _chunk_size(suitable: int, lanes: int, affordable: int) -> int:
    """Samples per chunk: about `suitable`, and a multiple of `lanes`, so that only the last call has idle ones."""
    size = min(max(suitable, lanes), affordable)
    return size - size % lanes if size > lanes else size


def _beyond_noise(apart: Vectors, mean: Vectors) -> Tensor:
    """Whether each sample differs from the mean by more than rounding, bool `[k]`, from differences with leading axis k."""
    lengths = torch.stack([torch.linalg.vector_norm(block.flatten(1), dim=1) for block in apart])
    whole = torch.stack([torch.linalg.vector_norm(block) for block in mean])
    resolution = NOISE * torch.finfo(whole.dtype).eps
    differs: Tensor = torch.linalg.vector_norm(lengths, dim=0) > resolution * torch.linalg.vector_norm(whole)
    return differs


def _through(entering: Tensor, stored: Tensor, effects: Tensor) -> Tensor:
    """Effects `[k, M, C, H, W]` on the images that enter the network, to those on the stored images."""
    (result,) = torch.autograd.grad(entering, stored, effects, retain_graph=True, is_grads_batched=True, materialize_grads=True)
    return result
