"""What experts, each after its last epoch, say of images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from bilp.config import NetworkConfig
from bilp.config.shapes import Shape
from bilp.experts.buffer import ExpertBuffer
from bilp.nets import build

AT_ONCE = 256
"""Images per forward pass, as in DATM's program. Networks with batch norm use the statistics of these images, as their trainings did, for
experts keep no running ones."""


class ExpertAnswers:
    """The experts of a buffer as classifiers."""

    def __init__(self, experts: ExpertBuffer, network: NetworkConfig, shape: Shape, classes: int, device: torch.device | str) -> None:
        """Nothing is read yet.

        Args:
            experts: the buffer.
            network: its architecture.
            shape: of a sample.
            classes: how many there are.
            device: where answers are computed.
        """
        self._experts, self._device = experts, torch.device(device)
        self._network = build(network, shape, classes).to(self._device).train()
        self._names = [name for name, _ in self._network.named_parameters()]

    def __len__(self) -> int:
        return self._experts.count

    def logits(self, expert: int, images: Tensor) -> Tensor:
        """An expert's logits `[n, classes]`, float32 on the device, of normalized images `[n, C, H, W]`.

        Raises as `ExpertBuffer.parameters`.
        """
        parameters = self._experts.parameters(expert, self._experts.epochs, self._device)
        named = dict(zip(self._names, parameters, strict=True))
        with torch.no_grad():
            parts = [functional_call(self._network, named, (part.to(self._device),)) for part in images.split(AT_ONCE)]
        return torch.cat(parts)
