"""Linear probes: a linear classifier is trained on features of an encoder that stays as it is, and nothing else is.

This is how encoders, and sets that were distilled for them, are compared (Cazenavette et al. 2025, arXiv 2511.16674, section 4): images
are augmented, pass the encoder, and the classifier learns from what comes out. Test images are not augmented, so that their features
are computed once for all trainings under an encoder.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from bilp.artifacts.artifact import content_key
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.config.encoder import EncoderConfig
from bilp.data import Dataset
from bilp.nets import Network, label
from bilp.teachers.encoder_file import EncoderFile
from bilp.training.train import ImageSet, images_at_once

DEVIATION = 0.01
"""Standard deviation of a classifier's first weights, in the program of Cazenavette et al. (models/linear_classifier.py)."""
REMEMBERED = 2
"""Encoders whose features of test images a process keeps."""


class LinearProbe(Network):
    """A linear classifier on the features of a frozen encoder, without dropout; norm layers of the encoder keep their statistics."""

    def __init__(self, encoder: Network, classes: int) -> None:
        """`encoder` shares its body, which is frozen by that; its classifier is not used."""
        super().__init__(encoder.body, encoder.classifier.in_features, classes)
        self.body.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """As of every network, but the encoder stays in eval mode."""
        super().train(mode)
        self.body.eval()
        return self

    def draw(self, generator: torch.Generator) -> None:
        """A new classifier: weights N(0, 0.01^2), biases 0."""
        drawn = torch.randn(self.classifier.weight.shape, generator=generator)
        with torch.no_grad():
            self.classifier.weight.copy_(DEVIATION * drawn)
            self.classifier.bias.zero_()

    def embed(self, images: Tensor) -> Tensor:
        """Features, without a graph: nothing before the classifier learns."""
        with torch.no_grad():
            return super().embed(images)


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder in eval mode on its device, and what identifies it."""

    network: Network
    identity: str


Encoders = Callable[[NetworkConfig], Encoder]
"""From a network of the settings to the encoder that it stands for."""


def title(config: EvaluateConfig, network: NetworkConfig) -> str:
    """What tables call a network of an evaluation: of a linear probe its encoder."""
    if not config.linear_probe:
        return label(network)
    return f"{config.encoder.name or label(network)} linear probe"


def load_encoder(config: EncoderConfig, dataset: Dataset, device: str = "cpu") -> Encoder:
    """The encoder that a user supplies.

    Raises ConfigError for a name that torchvision does not have or for images that the network does not take, DataError for a file that
    holds no weights or those of another network, and MissingArtifact if there is none.
    """
    assert config.name is not None
    assert config.weights is not None
    file = EncoderFile(config.name, config.weights, config.side, "evaluate.encoder.name")
    network = file.load(dataset)
    file.require_fit(network, dataset)
    return Encoder(network.to(device), f"{config.name} {config.side} {config.checksum}")


_features: OrderedDict[str, ImageSet] = OrderedDict()


def test_features(encoder: Encoder, test: ImageSet, config: EvaluateConfig, dataset: Dataset) -> ImageSet:
    """The test split as the classifier sees it, computed once for an encoder in this process.

    Args:
        encoder: On the device of the labels of `test`.
        test: Test images as networks see them.
        config: Which says how they are shown and how a GPU computes.
        dataset: Whose test split it is.
    """
    shown = {"enlarged": config.test_enlarged, "standardize": config.standardize, "gpu": config.gpu, "revision": config.gpu_revision}
    where = str(test.labels.device)
    key = content_key("test_features", 1, dataset=dataset.fingerprint, encoder=encoder.identity, shown=shown, device=where)
    if key not in _features:
        with torch.no_grad():
            parts = [encoder.network.embed(test.images(batch)).float() for batch in test.passes(images_at_once(test))]
        _features[key] = ImageSet.of_tensors(torch.cat(parts)[:, :, None, None], test.labels, where)
    _features.move_to_end(key)
    while len(_features) > REMEMBERED:
        _features.popitem(last=False)
    return replace(_features[key], windows=test.windows)


class OnFeatures(nn.Module):
    """The classifier of a probe, which features `[B, F, 1, 1]` are shown to as images are to a network."""

    def __init__(self, classifier: nn.Linear) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[B, classes]`."""
        logits: Tensor = self.classifier(features.flatten(1))
        return logits
