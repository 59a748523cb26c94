"""Feature alignment (CAFE; Wang et al. 2022): mean feature maps of a class, layer by layer, and their use as a classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.config import AlignmentConfig
from bilp.matching.features import ActivationMatching
from bilp.matching.jacobian import Vectors
from bilp.matching.per_sample import micro_batches
from bilp.nets import Network

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.SiLU)
# The flat features repeat the numbers of the last pooled map, and the paper counts both.
LAST_COUNTS = 2
PAPERS_ALIGNMENT = AlignmentConfig()


class AlignmentMatching(ActivationMatching):
    """phi = one block `[F_l]` per layer; D = sum over layers of weight x squared Euclidean distance of the means.

    Layers are the outputs of the body's activations, before pooling, and the features before the classifier. In the
    ConvNet of three blocks these are f1, f2, f3 and f4 = f5 of the paper; a residual block counts as one layer.
    """

    name = "alignment"

    def __init__(self, config: AlignmentConfig = PAPERS_ALIGNMENT) -> None:
        """`config` holds the weights of the layers; the paper's by default."""
        self._config = config

    def weights(self, layers: int) -> list[float]:
        """The weight of every block; the last one is that of the pooled map and of the flat features together."""
        shallow, deep = self._config.shallow_weight, self._config.deep_weight
        return [shallow] * (layers - 2) + [deep] * min(layers - 1, 1) + [LAST_COUNTS * deep]

    def vector(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        """Feature maps `[B, F_l]`; the last ones are the features, whose mean over synthetic images is the class's center."""
        return feature_maps(network, images)

    def real_mean(self, network: Network, images: Tensor, labels: Tensor) -> Vectors:
        return self.mean_and_embeddings(network, images, labels)[0]

    @torch.no_grad()
    def mean_and_embeddings(self, network: Network, images: Tensor, labels: Tensor) -> tuple[Vectors, Tensor]:
        """`real_mean`, and the features before the classifier of every image, `[B, F]`, from the same pass; detached."""
        self.check(network, images, labels)
        sums: list[Tensor] = []
        embeddings = []
        for rows in micro_batches(images):
            maps = feature_maps(network, images[rows])
            embeddings.append(maps[-1])
            parts = [block.sum(dim=0) for block in maps]
            sums = parts if not sums else [total.add_(part) for total, part in zip(sums, parts, strict=True)]
        return tuple(total / len(images) for total in sums), torch.cat(embeddings)

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        terms = [w * (a - b).square().sum() for w, a, b in zip(self.weights(len(mu)), mu, psi, strict=True)]
        return torch.stack(terms).sum()

    def distances(self, mu: Vectors, psi: Vectors) -> Tensor:
        """`distance` of each of K classes, `[K]`, from blocks `[K, F_l]`."""
        terms = [w * (a - b).square().sum(dim=1) for w, a, b in zip(self.weights(len(mu)), mu, psi, strict=True)]
        return torch.stack(terms).sum(dim=0)

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        return tuple(2.0 * w * (b - a) for w, a, b in zip(self.weights(len(mu)), mu, psi, strict=True))

    def directional(self, mu: Vectors, psi: Vectors, along: Vectors) -> Vectors:
        return tuple(-2.0 * w * d for w, d in zip(self.weights(len(mu)), along, strict=True))


def feature_maps(network: Network, images: Tensor) -> Vectors:
    """Flat maps `[B, F_l]` of images `[B, C, H, W]` after every activation of the body, and the features `[B, F]`."""
    maps, last = [], images
    for module in network.body.children():
        last = module(last)
        if isinstance(module, ACTIVATIONS) or next(module.children(), None) is not None:
            maps.append(last.flatten(1))
    return (*maps, last)


def discrimination(embeddings: Tensor, labels: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of real features classified by synthetic centers, and its gradient with respect to the centers.

    Features `[n, F]` get the logits `features @ centers.T` for centers `[classes, F]`. Returns the sum over samples
    (CAFE, discrimination loss) and its derivative `[classes, F]` in closed form, both detached.
    """
    logits = embeddings @ centers.T
    wrong = logits.softmax(dim=1) - functional.one_hot(labels, len(centers))
    return functional.cross_entropy(logits, labels, reduction="sum").detach(), (wrong.T @ embeddings).detach()
