"""What every network of the zoo offers: logits, and the features that the last linear layer sees."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from bilp.nets.dropout import Dropout


class Network(nn.Module):
    """A body that ends in a flat feature vector, and a linear classifier on top of it.

    Samples are images `[B, C, H, W]`, or videos `[B, T, C, H, W]` for the networks that take these.
    """

    initial_weights: Literal["uniform", "fan_out"] = "uniform"
    """What `initialize` draws weights of convolutions from: PyTorch's default, or N(0, 2 / (k^2 out))."""

    def __init__(self, body: nn.Module, features: int, classes: int, dropout: Dropout | None = None) -> None:
        """`dropout` acts on the features, between body and classifier."""
        super().__init__()
        self.body = body
        self.classifier = nn.Linear(features, classes)
        self.dropout = dropout

    def embed(self, images: Tensor) -> Tensor:
        """Features before dropout and classifier: `[B, ...]` to `[B, F]`. Distribution matching compares these."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits: `[B, ...]` to `[B, classes]`."""
        features = self.embed(images)
        if self.dropout is not None:
            features = self.dropout(features)
        logits: Tensor = self.classifier(features)
        return logits


def parameter_count(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters())
