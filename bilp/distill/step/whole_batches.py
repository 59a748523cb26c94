"""The real side of an image step as a GPU wants it: the samples of as many classes as fit in one pass through the network.

What a pass costs there is the number of operations, not of samples, until there are thousands of these. On a CPU passes that
stay in its cache are faster (`real`), and its results are the reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.distill.step.batch import Batch
from bilp.distill.step.setting import Setting
from bilp.distill.step.synthetic import augment_classes, image_bytes, mean_bytes
from bilp.matching import Vectors
from bilp.nets.by_device import ByDevice

# What a pass over real samples may hold: activations and their derivatives.
REAL_PASS_BYTES = ByDevice(cpu=512 * 2**20, gpu=2 * 2**30, large=12 * 2**30)


def batches_per_pass(setting: Setting, size: int) -> int:
    """Batches of `size` samples that share a pass; depends on sizes and the kind of device alone."""
    return max(1, REAL_PASS_BYTES.on(setting.device) // (max(1, size) * image_bytes(setting) + mean_bytes(setting)))


def whole_means(setting: Setting, batches: Sequence[Batch]) -> list[Vectors]:
    """mu of every batch, detached, from one pass over all of them; of a batch with weights, the weighted mean.

    A batch that is shorter than others is filled up with its first sample at weight 0.
    """
    size = max(len(batch.ids) for batch in batches)
    ids = torch.cat([_filled(batch.ids, size) for batch in batches])
    images = augment_classes(setting.pool.images(ids, setting.device), [batch.params for batch in batches])
    labels = _labels([batch.class_index for batch in batches], size, setting.device)
    means = setting.matching.means_by_class(setting.real_network, images, labels, len(batches), _shares(batches, size))
    return [tuple(block[place] for block in means) for place in range(len(batches))]


def _filled(ids: Tensor, size: int) -> Tensor:
    return ids if len(ids) == size else torch.cat([ids, ids[:1].expand(size - len(ids))])


def _shares(batches: Sequence[Batch], size: int) -> Tensor | None:
    """How much of its class's mean a sample is, `[K * size]`; None if all are equal parts."""
    shares = [batch.shares for batch in batches]
    if all(own is None and len(batch.ids) == size for own, batch in zip(shares, batches, strict=True)):
        return None
    result = torch.zeros(len(batches), size, dtype=torch.float64)
    for row, own, batch in zip(result, shares, batches, strict=True):
        row[: len(batch.ids)] = 1.0 / len(batch.ids) if own is None else own
    return result.flatten()


def _labels(classes: Sequence[int], size: int, device: torch.device) -> Tensor:
    """`size` times the label of each class, int64; of consecutive classes made on the device, without a copy."""
    if list(classes) == list(range(classes[0], classes[0] + len(classes))):
        labels = torch.arange(classes[0], classes[0] + len(classes), device=device)
    else:
        labels = torch.tensor(classes).to(device)
    return labels.unsqueeze(1).expand(-1, size).reshape(-1)
