"""Settings of a frozen encoder that a user supplies for evaluation."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Frozen, Location


class EncoderConfig(Frozen):
    """A network of torchvision with weights from a file, on whose features linear_probe trains in place of those of networks."""

    name: str | None = None
    """The network, such as resnet50; empty takes each of networks, trained on all real images as teacher says."""
    weights: Location | None = None
    """Its weights, path or URI: safetensors, or a state of torch.save, of which nothing is executed."""
    checksum: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of that file, by which results are known; computed when the file is read."""
    side: Count = 224
    """Height and width to which images are resized in front of it; 0 leaves them as they are."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.name is None) != (self.weights is None):
            raise ValueError("encoder.name and encoder.weights belong together: set both or neither")
        if self.checksum is not None and self.weights is None:
            raise ValueError("encoder.checksum is that of encoder.weights: set both encoder.name and encoder.weights, too")
        return self
