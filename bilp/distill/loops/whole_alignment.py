"""CAFE's gradient with all classes in one pass, for devices that are asked for every operation; `cafe.image_gradient` is its definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bilp.distill.step.batch import Batch
from bilp.distill.step.setting import Setting
from bilp.distill.step.synthetic import augment_classes, classes_per_pass, image_bytes
from bilp.images import augment
from bilp.matching.alignment import AlignmentMatching, feature_maps
from bilp.matching.jacobian import Vectors

REAL_BYTES = 16 * 2**30
"""What the maps of the real samples of a pass may hold; one class is the least."""


def whole_gradient(
    setting: Setting, matching: AlignmentMatching, images: Tensor, batches: Sequence[Batch], real_bytes: int = REAL_BYTES
) -> tuple[Tensor, Tensor]:
    """Gradient `[M, C, H, W]` of the sum over classes of their losses with respect to the images, and the losses `[classes]`.

    Args:
        setting: what stays fixed.
        matching: what is compared, and with which weights.
        images: all synthetic images `[M, C, H, W]`, class by class.
        batches: the real samples of every class, in their order.
        real_bytes: what the maps of a pass over real samples may hold.
    """
    network, ipc = setting.network, setting.config.ipc
    each = classes_per_pass(setting)
    groups = list(zip(_grouped(batches, each), images.detach().split(each * ipc), strict=True))
    with torch.no_grad():
        shown = [network.embed(augment_classes(own, [batch.params for batch in group])) for group, own in groups]
        centers = torch.cat(shown).unflatten(0, (len(batches), ipc)).mean(dim=1)
    means, told, centers_grad = _real_side(setting, matching, batches, centers, real_bytes)
    weight, found, losses, first = setting.config.alignment.discrimination, [], [], 0
    for group, own in groups:
        here = slice(first, first := first + len(group))
        points = own.detach().requires_grad_()
        with torch.enable_grad():
            maps = feature_maps(network, augment_classes(points, [batch.params for batch in group]))
            psi = tuple(block.unflatten(0, (len(group), ipc)).mean(dim=1) for block in maps)
            aligned = matching.distances(tuple(block[here] for block in means), psi)
            total = aligned.sum() + weight * (centers_grad[here] * psi[-1]).sum()
        found.append(torch.autograd.grad(total, points)[0])
        losses.append(aligned.detach())
    return torch.cat(found), torch.cat(losses) + weight * told


@torch.no_grad()
def _real_side(
    setting: Setting, matching: AlignmentMatching, batches: Sequence[Batch], centers: Tensor, real_bytes: int
) -> tuple[Vectors, Tensor, Tensor]:
    """Mean maps of every class (blocks `[classes, F_l]`), its discrimination loss `[classes]`, and that loss's gradient.

    Args:
        setting: what stays fixed.
        matching: what checks the network.
        batches: the real samples of every class.
        centers: `[classes, F]`, with respect to which the gradient is taken.
        real_bytes: what the maps of a pass may hold.
    """
    each = max(1, real_bytes // (image_bytes(setting) * max(len(batch.ids) for batch in batches)))
    means: list[Vectors] = []
    losses, centers_grad = [], torch.zeros_like(centers)
    for group in _grouped(batches, each):
        sizes = [len(batch.ids) for batch in group]
        raw = setting.pool.images(torch.cat([batch.ids for batch in group]), setting.device)
        images = augment.apply_each(raw, [batch.params for batch in group], sizes)
        labels = torch.tensor([batch.class_index for batch in group]).repeat_interleave(torch.tensor(sizes)).to(setting.device)
        matching.check(setting.network, images, labels)
        maps = feature_maps(setting.network, images)
        means.append(tuple(_by_class(block, sizes) for block in maps))
        logits = maps[-1] @ centers.T
        centers_grad += (logits.softmax(dim=1) - functional.one_hot(labels, len(centers))).T @ maps[-1]
        losses.append(_by_class(functional.cross_entropy(logits, labels, reduction="none"), sizes, torch.sum))
    return tuple(torch.cat(blocks) for blocks in zip(*means, strict=True)), torch.cat(losses), centers_grad


def _grouped(batches: Sequence[Batch], each: int) -> list[Sequence[Batch]]:
    return [batches[first : first + each] for first in range(0, len(batches), each)]


def _by_class(values: Tensor, sizes: Sequence[int], reduce: Callable[..., Tensor] = torch.mean) -> Tensor:
    """Means, or sums, over the samples of every class, `[n_1 + ... + n_K, ...]` to `[K, ...]`."""
    if len(set(sizes)) == 1:
        return reduce(values.unflatten(0, (len(sizes), sizes[0])), dim=1)
    return torch.stack([reduce(part, dim=0) for part in values.split(list(sizes))])
