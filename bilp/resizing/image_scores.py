"""Scores of decoded synthetic images, of which the lowest stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.config.resize import ResizeConfig
from bilp.config.shapes import Shape
from bilp.errors import Diverged
from bilp.nets import build, initialize
from bilp.nets.arithmetic import arithmetic, place
from bilp.progress import Progress, silent
from bilp.scoring.sample_stats import evaluate_samples
from bilp.seeds import generator
from bilp.training.batch_augment import STREAMS, Streams
from bilp.training.train import ImageSet, images_at_once, train
from bilp.training.training_schedule import Schedule

STREAM = "resize"


@dataclass(frozen=True)
class Decoded:
    """Images `[N, C, H, W]` or clips `[N, T, C, H, W]` that networks are trained on, the shape of one, their labels `[N]`, and how many
    classes there are."""

    images: Tensor
    labels: Tensor
    shape: Shape
    classes: int


Scorer = Callable[[Decoded, ResizeConfig, str, Progress], Tensor]
"""Scores `[N]`, float64, of decoded images; given also the device and who is told the progress."""


def error_norms(decoded: Decoded, config: ResizeConfig, device: str = "cpu", progress: Progress = silent) -> Tensor:
    """The error norm (EL2N) `[N]` of each image, added up over the best epochs of a training on all of them (rule 1 of YOCO).

    The best are those after which most images are classified correctly, of equal ones the earliest. The authors' program looks at
    the augmented mini-batches on the way; here every image is looked at as it is, after each epoch. Raises Diverged if the training leaves
    the finite numbers.

    Args:
        decoded: the images of a set.
        config: of the training.
        device: where the network is trained.
        progress: told the epochs.
    """
    norms, correct = course(decoded, config, device, progress)
    best = torch.argsort(correct, descending=True, stable=True)[: config.best_epochs]
    return norms[best.sort().values].sum(dim=0)


def course(decoded: Decoded, config: ResizeConfig, device: str = "cpu", progress: Progress = silent) -> tuple[Tensor, Tensor]:
    """The error norm of every image after each epoch `[epochs, N]`, float64, and how many images are classified correctly then `[epochs]`.

    Arguments and errors as of `error_norms`.
    """
    data = ImageSet.of_tensors(decoded.images, decoded.labels, device)
    network = build(config.network, decoded.shape, decoded.classes)
    initialize(network, generator(config.seed, STREAM, "network"))
    place(network, config.gpu, device)
    streams = Streams(*(generator(config.seed, STREAM, what) for what in STREAMS))
    norms, correct = [], []
    with arithmetic(config.gpu, device):
        for epoch in train(network, data, _schedule(config), streams):
            network.eval()
            parts = data.passes(images_at_once(data))
            seen = [evaluate_samples(network, data.images(part), data.labels[part.to(device)]) for part in parts]
            norms.append(torch.cat([each.el2n for each in seen]).double().cpu())
            correct.append(sum(int(each.correct.sum()) for each in seen))
            if not norms[-1].isfinite().all():
                raise Diverged(
                    f"resizing: the training diverged in epoch {epoch + 1} with learning_rate {config.learning_rate:g}: "
                    "lower evaluate.learning_rate, which it takes"
                )
            progress(epoch + 1, config.epochs, f"epoch {epoch + 1}/{config.epochs} accuracy on the set {correct[-1] / len(data):.3f}")
    return torch.stack(norms), torch.tensor(correct)


def random_numbers(decoded: Decoded, config: ResizeConfig, device: str = "cpu", progress: Progress = silent) -> Tensor:
    """Numbers `[N]` in [0, 1) from a stream of the seed, whatever the images are."""
    return torch.rand(len(decoded.labels), dtype=torch.float64, generator=generator(config.seed, STREAM, "random"))


def _schedule(config: ResizeConfig) -> Schedule:
    return Schedule(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        augment=config.augment,
        augment_always=config.augment_always,
        augment_each=config.augment_each,
        augment_after=config.augment_after,
        cutmix=config.cutmix,
        decay="none",
    )
