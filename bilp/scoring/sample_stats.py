"""Per-sample statistics of a network: everything that criteria are computed from, out of one forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bilp.errors import DataError
from bilp.matching.per_sample import micro_batch_size, per_sample_gradients
from bilp.nets import Network, parameter_count
from bilp.training.replayed import Replayed

GradientNorm = Literal["off", "last_layer", "all"]
# Per-sample gradients that are held at once.
GRADIENT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class SampleStats:
    """Statistics `[B]` of B samples under a network as it is.

    losses: cross-entropy. correct: whether the label has the largest logit. el2n: ||softmax - one-hot||_2 (Paul et al.
    2021). margins: logit of the label minus the largest other one (Pleiss et al. 2020). gradient_norms: norm of the
    sample's loss gradient (GraNd, Paul et al. 2021), if it was asked for. logits `[B, C]`: what all of these are computed from.
    """

    losses: Tensor
    correct: Tensor
    el2n: Tensor
    margins: Tensor
    gradient_norms: Tensor | None
    logits: Tensor


@torch.no_grad()
def evaluate_samples(network: Network, images: Tensor, labels: Tensor, gradient_norm: GradientNorm = "off") -> SampleStats:
    """Statistics of images `[B, C, H, W]` with labels `[B]` under a network in eval mode.

    The gradient of the last layer is (softmax - one-hot) times (features, 1), so its norm follows from the same pass.
    That of "all" costs a backward pass and takes every weight of two or more dimensions; biases and the scales of
    normalizations take no part. Raises DataError for a network with a single class, of which nothing can be learned.
    """
    features = network.embed(images)
    logits = network.classifier(features).float()
    if logits.shape[1] < 2:
        raise DataError("scores compare a class with the others, but there is only one: add another class")
    own = labels.unsqueeze(1)
    others = logits.softmax(dim=1).scatter(1, own, 0.0)
    missing = others.sum(dim=1)  # 1 - p of the label, without the cancellation
    el2n = (others.square().sum(dim=1) + missing.square()).sqrt()
    margins = logits.gather(1, own).squeeze(1) - logits.scatter(1, own, -torch.inf).amax(dim=1)
    norms = None
    if gradient_norm == "last_layer":
        norms = el2n * (features.float().square().sum(dim=1) + 1.0).sqrt()
    elif gradient_norm == "all":
        norms = weight_gradient_norms(network, images, labels)
    return SampleStats(cross_entropy(logits, labels, reduction="none"), logits.argmax(1) == labels, el2n, margins, norms, logits)


class SampleEvaluation:
    """`evaluate_samples` under one network, whose parameters change in place; a GPU replays it as a graph, unless "all" is asked for."""

    def __init__(self, network: Network, gradient_norm: GradientNorm, device: torch.device | str) -> None:
        """`network` lies on `device`, and is in eval mode whenever it is asked."""
        self._network, self._kind = network, gradient_norm
        self._replayed = Replayed(self._evaluated, "cpu" if gradient_norm == "all" else device)

    def __call__(self, images: Tensor, labels: Tensor) -> SampleStats:
        """The statistics, which the next call may overwrite."""
        losses, correct, el2n, margins, logits, *norms = self._replayed(images, labels)
        return SampleStats(losses, correct, el2n, margins, norms[0] if norms else None, logits)

    def _evaluated(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        seen = evaluate_samples(self._network, images, labels, self._kind)
        norms = () if seen.gradient_norms is None else (seen.gradient_norms,)
        return (seen.losses, seen.correct, seen.el2n, seen.margins, seen.logits, *norms)


def weight_gradient_norms(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Norms `[B]` of each sample's cross-entropy gradient with respect to all weights of two or more dimensions."""
    affordable = max(1, GRADIENT_BYTES // (4 * parameter_count(network)))
    size = min(micro_batch_size(images), affordable)
    parts = []
    for rows in torch.arange(len(images)).split(size):
        blocks = per_sample_gradients(network, images[rows], labels[rows])
        parts.append(torch.stack([torch.linalg.vector_norm(block.flatten(1), dim=1) for block in blocks]))
    norms: Tensor = torch.linalg.vector_norm(torch.cat(parts, dim=1), dim=0)
    return norms
