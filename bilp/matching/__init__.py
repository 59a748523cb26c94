"""Matching: what a distillation method compares between real and synthetic images of a class."""

from __future__ import annotations

from bilp.config import METHODS, AlignmentConfig, CharacteristicConfig, Frozen, IdcConfig, MethodName
from bilp.config.methods.inversion import ClassStatisticsConfig, InversionConfig
from bilp.matching.alignment import AlignmentMatching
from bilp.matching.base import Matching
from bilp.matching.characteristic import CharacteristicMatching
from bilp.matching.features import FeatureMatching
from bilp.matching.gradients import GradientMatching
from bilp.matching.head_gradient import HeadMatching
from bilp.matching.jacobian import Pullback, Vectors
from bilp.matching.kernels import KernelMatching
from bilp.matching.layer_statistics import StatisticsMatching
from bilp.matching.trajectory import TrajectoryMatching
from bilp.registry import resolve

__all__ = ["FeatureMatching", "GradientMatching", "KernelMatching", "Matching", "Pullback", "Vectors", "matching_for"]


def matching_for(method: MethodName, **settings: Frozen) -> Matching:
    """The matching that a method's entry names. Augmentation and decoding are applied to the images before.

    Args:
        method: Its name.
        settings: Its own settings by field of `distill`, such as `idc`; their defaults where they are left out.

    Raises ConfigError for a name that no method has.
    """
    entry = METHODS.known(method)
    own = {field: settings.pop(field) if field in settings else model() for field, model in entry.settings.items()}
    matching: Matching = resolve(entry.matching)(method, **own, **settings)
    return matching


def features(name: str, **settings: Frozen) -> Matching:
    """Embeddings."""
    return FeatureMatching()


def regressed_features(name: str, **settings: Frozen) -> Matching:
    """The gradient of a sample's loss in a regression on features of the synthetic images.

    `bilp.distill.step.regression_effects` forms it; what asks for vectors of real samples gets their embeddings.
    """
    return FeatureMatching()


def gradients(name: str) -> Matching:
    """The gradient with respect to all weights."""
    return GradientMatching(name)


def kernels(name: str, idc: IdcConfig, **settings: Frozen) -> Matching:
    """The gradient with respect to the convolution kernels, in the metric of the settings."""
    return KernelMatching(name, idc.metric)


def trajectories(name: str, **settings: Frozen) -> Matching:
    """Not separable: it refuses every question about a real sample."""
    return TrajectoryMatching(name)


def alignment(name: str, alignment: AlignmentConfig) -> Matching:
    """Feature maps, each layer with the weight that the settings give it."""
    return AlignmentMatching(alignment)


def characteristic(name: str, characteristic: CharacteristicConfig) -> Matching:
    """Mean characteristic functions of features."""
    return CharacteristicMatching(characteristic)


def heads(name: str, **settings: Frozen) -> Matching:
    """The gradient of the network's linear classifier."""
    return HeadMatching(name)


def statistics_of_all(name: str, inversion: InversionConfig, **settings: Frozen) -> Matching:
    """Means and variances of what enters the batch norm of a teacher."""
    return StatisticsMatching(name, inversion)


def statistics_of_class(name: str, inversion: InversionConfig, class_statistics: ClassStatisticsConfig) -> Matching:
    """Means and mean squares, of each channel, of what enters the batch norm of a teacher."""
    return StatisticsMatching(name, inversion)
