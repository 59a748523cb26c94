"""Matching: what a distillation method compares between real and synthetic images of a class."""

from __future__ import annotations

from bilp.config import TRAJECTORY_METHODS, MethodName
from bilp.matching.features import FeatureMatching
from bilp.matching.gradients import GradientMatching
from bilp.matching.protocol import Matching, Pullback, Vectors
from bilp.matching.trajectory import TrajectoryMatching

__all__ = ["FeatureMatching", "GradientMatching", "Matching", "Pullback", "Vectors", "matching_for"]


def matching_for(method: MethodName) -> Matching:
    """Feature matching for dm, gradient matching for dc and dsa (whose augmentation is applied to the images before).

    Trajectory matching is not separable: what it returns for mtt and tesla refuses every question about a real sample.
    """
    if method in TRAJECTORY_METHODS:
        return TrajectoryMatching(method)
    return FeatureMatching() if method == "dm" else GradientMatching(method)
