"""How alike pairs of images are to an extractor of features, and what trains it (Liu et al. 2022, section 3.3).

Pair i is what two hallucinators make of one base. Images are moved apart by the mean of (cos + 1) / 2 of their features; the extractor
learns to classify all of them, with features that are alike in a pair and, by the supervised contrastive loss (Khosla et al. 2020), in
a class.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.nets import Network

TEMPERATURE = 0.07


class Extractor(nn.Module):
    """A network that answers with logits `[B, classes]` and features `[B, F]`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Of images `[B, C, H, W]`."""
        features = self.network.embed(images)
        return self.network.classifier(features), features


def likeness(features: Tensor) -> Tensor:
    """The mean of (cos + 1) / 2 of pairs, a scalar from 0 to 1; the first of all pairs, then the second, `[2 B, F]`."""
    first, second = features.chunk(2)
    return (functional.cosine_similarity(first, second) + 1.0).mean() / 2.0


def supervised_contrast(features: Tensor, labels: Tensor) -> Tensor:
    """The supervised contrastive loss of features `[B, F]` with labels `[B]`, of which each occurs at least twice; a scalar."""
    unit = functional.normalize(features)
    others = ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    shares = (unit @ unit.T / TEMPERATURE).masked_fill(~others, -torch.inf).log_softmax(dim=1)
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)) & others
    return -(torch.where(same, shares, 0.0).sum(dim=1) / same.sum(dim=1)).mean()
