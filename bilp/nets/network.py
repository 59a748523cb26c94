"""What every network of the zoo offers: logits, and the features that the last linear layer sees."""

from __future__ import annotations

from torch import Tensor, nn


class Network(nn.Module):
    """A body that ends in a flat feature vector, and a linear classifier on top of it."""

    def __init__(self, body: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.classifier = nn.Linear(features, classes)

    def embed(self, images: Tensor) -> Tensor:
        """Features before the classifier: `[B, C, H, W]` to `[B, F]`. Distribution matching compares these."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits: `[B, C, H, W]` to `[B, classes]`."""
        logits: Tensor = self.classifier(self.embed(images))
        return logits


def parameter_count(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters())
