"""An encoder that a user supplies by a file of weights: loaded, and refused where the images of a data set do not fit it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bilp.data.store import Dataset
from bilp.nets.supplied_encoder import SuppliedEncoder, supplied_encoder, takes_images
from bilp.storage.uris import as_uri
from bilp.teachers.weights_file import read_weights


@dataclass(frozen=True)
class EncoderFile:
    """A network of torchvision and its weights, as settings name them."""

    name: str
    weights: str
    """Path or URI."""
    side: int
    """Height and width of what the network sees; 0 leaves images as they are."""
    setting: str
    """The setting that gave the name, for errors; that of the side lies beside it."""

    def load(self, dataset: Dataset) -> SuppliedEncoder:
        """The encoder, in evaluation mode and without gradients of its weights.

        Raises ConfigError for a name that torchvision does not have, DataError for a file that holds no weights or those of another
        network, and MissingArtifact if there is none.
        """
        tensors, normalization = read_weights(as_uri(self.weights)), (dataset.mean, dataset.std)
        told = (normalization, dataset.shape, dataset.classes, self.side, self.setting)
        return supplied_encoder(self.name, tensors, self.weights, *told)

    def require_fit(self, encoder: SuppliedEncoder, dataset: Dataset) -> None:
        """Raise ConfigError if images of this side do not pass the encoder."""
        with takes_images(self.name, dataset.shape, self.side, self.setting), torch.no_grad():
            encoder.embed(torch.zeros(2, *dataset.shape))
