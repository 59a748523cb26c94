"""Settings of the methods whose stored images stand for several ones: decoding, IDC, DREAM and IDM."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bilp.config.base import Count, Fraction, Frozen, Positive, Rate

KernelMetric = Literal["mse", "l1"]


class DecodeConfig(Frozen):
    """Decoding: how one stored image becomes the images that networks see (multi-formation)."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"factor"})

    factor: Annotated[int, Field(ge=1, le=8)] = 1
    """Stored images are cut into factor x factor parts, each of which is enlarged to a whole image; 1 uses them as they are."""
    kind: Literal["single", "multi", "bound", "bound_idc"] = "single"
    """Parts of this factor alone, of all factors from 1 up, or of the largest factors with which a class stays within bound;
    bound_idc shares bound out as IDC's program does, which leaves some of it unused."""
    bound: Positive = 128
    """Decoded images per class: budget of the kinds bound, and most in one image step of idc and dream (a random choice beyond)."""

    def count(self, stored: int) -> int:
        """Decoded images of a class with `stored` images."""
        if self.kind == "single":
            return stored * self.factor**2
        if self.kind == "multi":
            return stored * sum(factor**2 for factor in range(1, self.factor + 1))
        return sum(number * factor**2 for factor, number in self.shares(stored))

    def shares(self, stored: int) -> list[tuple[int, int]]:
        """Kinds bound: pairs (factor, how many of a class's images it decodes), the first images with the largest factor.

        As many as leave at least one decoded image to each of the others; with more than `bound` images all have factor 1.
        IDC's program divides what is left by factor^2 (condense.py:148), although an image that is decoded is no longer one of
        those others; beyond `bound` images it decodes more than `bound`, which is not followed.
        """
        left, room, result = stored, self.bound, []
        spared = 1 if self.kind == "bound" else 0
        for factor in range(self.factor, 0, -1):
            fitting = left if factor == 1 else min(left, max(0, room - left) // (factor**2 - spared))
            left, room = left - fitting, room - fitting * factor**2
            if fitting:
                result.append((factor, fitting))
        return result


class PretrainedConfig(Frozen):
    """IDC and DREAM: networks that are trained on real images once, before the first iteration, and that all iterations share."""

    networks: Count = 0
    """How many; every iteration starts from a copy of one, drawn at random. 0 gives each iteration a new random network."""
    epochs: Positive = 5
    """Epochs of their training on all real images that take part."""
    learning_rate: Rate = 0.1
    """Step size of its SGD, whose momentum is idc.network_momentum."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Weight decay of its SGD."""
    batch_size: Positive = 128
    """Its mini-batch."""


class IdcConfig(Frozen):
    """IDC and DREAM: gradients of convolution kernels, with networks that are trained on real images between image steps."""

    later: ClassVar[frozenset[str]] = frozenset({"pretrained"})
    by_rule: ClassVar[frozenset[str]] = frozenset({"metric", "train_samples", "cutmix"})

    metric: KernelMetric = "mse"
    """Distance of two gradients: sum of squared differences, or of absolute ones."""
    train_samples: Count = 2000
    """Real images of the network's training pass after each image step; 0 never trains it."""
    early_epochs: Count = 0
    """Epochs on all real images before the first image step of a network."""
    network_momentum: Fraction = 0.9
    """Momentum of the network's SGD."""
    network_weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of the network's SGD."""
    cutmix: Fraction = 0.5
    """Share of the network's mini-batches that are mixed by cutting and pasting; cutout is left out of their augmentation then."""
    pretrained: PretrainedConfig = PretrainedConfig()
    """Networks that are trained beforehand and shared by all iterations."""


class DreamConfig(Frozen):
    """DREAM: the real batch of a class is the sample nearest to each center of its clusters."""

    later: ClassVar[frozenset[str]] = frozenset({"clustered", "nearest"})

    interval: Positive = 10
    """Image steps for which the representatives of the clusters are used before the class is clustered anew."""
    most_steps: Positive = 20
    """Steps of k-means at most; it stops when no sample changes its cluster."""
    clustered: Literal["normalized", "pixels"] = "normalized"
    """Whose features are clustered: images as the network is trained on them, or their pixels in [0, 1]. DREAM's program took
    the latter by a slip, so that recipes of its published cells do too."""
    nearest: Literal["own", "all"] = "own"
    """What stands for a cluster: the nearest of its own samples, or of all samples of the class, as in DREAM's program, where a
    neighbor's sample may stand for a cluster, and one sample for two."""


class IdmConfig(Frozen):
    """IDM: distribution matching under a pool of networks that are trained on real images, with a classification term."""

    later: ClassVar[frozenset[str]] = frozenset({"accuracy_window"})
    by_rule: ClassVar[frozenset[str]] = frozenset({"new_every", "train_steps", "classification"})

    networks: Positive = 3
    """Networks in the pool at the beginning; the first iteration adds one more."""
    new_every: Positive = 30
    """A fresh network enters the pool every so many iterations, the first included."""
    most_networks: Positive = 100
    """Networks in the pool at most, the oldest leaves first; each is part of every checkpoint."""
    trained: Count = 2
    """Networks of the pool that are trained after each image step."""
    train_steps: Positive = 10
    """Steps of each such training, on real mini-batches of batch_train."""
    network_momentum: Fraction = 0.9
    """Momentum of the network's SGD; each network of the pool keeps its own from one training to the next."""
    network_weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of the network's SGD."""
    classification: Annotated[float, Field(ge=0.0)] = 0.5
    """Weight of the cross-entropy of the synthetic images, times the network's training accuracy in percent."""
    accuracy_window: Count = 0
    """Iterations after which that accuracy is counted anew, for all networks at once, so that the term is 0 until a network is
    trained again; 0 never does. IDM's program resets it at each of its evaluations, every 100 iterations (500 at ipc 50)."""

    @model_validator(mode="after")
    def _pool_fits(self) -> Self:
        if self.networks > self.most_networks:
            raise ValueError(f"networks = {self.networks} exceeds most_networks = {self.most_networks}: lower networks")
        return self
