"""InfoBatch (Qin et al. 2024, arXiv 2303.04947): passes that leave out easy images at random, with the same gradient on average.

Each pass leaves out an image whose loss was below the mean when it was last met with probability p; those of them that it meets count
1 / (1 - p) times, so that every image counts once on average. The first pass, before any loss is known, and
the last eighth of the passes have all images (delta = 0.875), which takes out what the weights add in variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.training.batch_augment import Streams
from bilp.training.mini_batches import mini_batches
from bilp.training.train import ImageSet, has_batch_norm
from bilp.training.training_schedule import Schedule

PRUNED_PASSES = 0.875
"""Share of the passes, the first ones, that leave images out."""


class LossPruning:
    """Losses `[N]` of the images of a training when they were last met, and what follows for the next pass."""

    def __init__(self, images: int, share: float, passes: int, stream: torch.Generator) -> None:
        """No loss is known.

        Args:
            images: N.
            share: p, in [0, 1).
            passes: of the training.
            stream: draws who is left out, on the CPU.
        """
        self._losses, self._share, self._stream = torch.full((images,), math.nan), share, stream
        self._pruned = math.ceil(PRUNED_PASSES * passes)

    def drawn(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Which images a pass (0, 1, ...) meets, bool `[N]`, and how often each of them counts, float32 `[N]`."""
        everything = torch.ones(len(self._losses))
        if epoch >= self._pruned or bool(self._losses.isnan().any()):
            return everything.bool(), everything
        easy = self._losses < self._losses.mean()
        met = ~(easy & (torch.rand(len(self._losses), generator=self._stream) < self._share))
        return met, torch.where(easy, 1.0 / (1.0 - self._share), 1.0)

    def note(self, images: Tensor, losses: Tensor) -> None:
        """The losses `[B]` of images, both on the CPU."""
        self._losses[images] = losses


def train_on_hard(network: nn.Module, data: ImageSet, schedule: Schedule, streams: Streams, pruning: LossPruning) -> Iterator[int]:
    """`bilp.training.train.train` with hard labels and without CutMix, on what `pruning` leaves of each pass.

    A step is on the mean of the weighted losses of a mini-batch. Yields the number of each finished epoch.

    Args:
        network: changed in place.
        data: what it is trained on.
        schedule: passes, mini-batches, step sizes and augmentation.
        streams: random numbers of this training.
        pruning: of these images and passes.
    """
    least = 2 if has_batch_norm(network) and len(data) > 1 else 1
    parameters, optimizer = list(network.parameters()), None
    for epoch in range(schedule.passes):
        network.train()
        optimizer = schedule.optimizer_for(epoch, parameters, optimizer)
        met, weights = pruning.drawn(epoch)
        order = torch.randperm(len(data), generator=streams.order)
        for batch in mini_batches(order[met[order]][None], schedule, data.side, [streams], data.labels.device, least):
            there, ids = batch.there[0], batch.indices[0]
            images = batch.treated(data.images(data.indices(ids, there))[None])[0]
            losses = functional.cross_entropy(network(images), data.labels[there], reduction="none")
            optimizer.zero_grad(set_to_none=True)
            (losses * weights[ids].to(losses)).mean().backward()
            optimizer.step()
            pruning.note(ids, losses.detach().float().cpu())
        yield epoch
