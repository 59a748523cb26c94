"""Matching: what a distillation method compares between real and synthetic images of a class."""

from __future__ import annotations

from bilp.config import TRAJECTORY_METHODS, AlignmentConfig, MethodName
from bilp.config.decode import KernelMetric
from bilp.matching.alignment import PAPERS_ALIGNMENT, AlignmentMatching
from bilp.matching.base import Matching
from bilp.matching.features import FeatureMatching
from bilp.matching.gradients import GradientMatching
from bilp.matching.jacobian import Pullback, Vectors
from bilp.matching.kernels import KernelMatching
from bilp.matching.trajectory import TrajectoryMatching

__all__ = ["FeatureMatching", "GradientMatching", "KernelMatching", "Matching", "Pullback", "Vectors", "matching_for"]


def matching_for(method: MethodName, alignment: AlignmentConfig = PAPERS_ALIGNMENT, metric: KernelMetric = "mse") -> Matching:
    """Features for dm and idm, the gradient by all weights for dc and dsa, that by the kernels for idc and dream.

    `alignment` weighs the layers of cafe, `metric` is the distance of idc and dream; augmentation and decoding are applied
    to the images before. Trajectory matching is not separable: what this returns for mtt and tesla refuses every question
    about a real sample.
    """
    if method == "cafe":
        return AlignmentMatching(alignment)
    if method in TRAJECTORY_METHODS:
        return TrajectoryMatching(method)
    if method in ("idc", "dream"):
        return KernelMatching(method, metric)
    return FeatureMatching() if method in ("dm", "idm") else GradientMatching(method)
