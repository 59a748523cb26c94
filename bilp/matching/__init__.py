"""Matching: what a distillation method compares between real and synthetic images of a class."""

from __future__ import annotations

from bilp.config import TRAJECTORY_METHODS, AlignmentConfig, MethodName
from bilp.matching.alignment import PAPERS_ALIGNMENT, AlignmentMatching
from bilp.matching.features import FeatureMatching
from bilp.matching.gradients import GradientMatching
from bilp.matching.protocol import Matching, Pullback, Vectors
from bilp.matching.trajectory import TrajectoryMatching

__all__ = ["FeatureMatching", "GradientMatching", "Matching", "Pullback", "Vectors", "matching_for"]


def matching_for(method: MethodName, alignment: AlignmentConfig = PAPERS_ALIGNMENT) -> Matching:
    """Feature matching for dm, gradient matching for dc and dsa (whose augmentation is applied to the images before).

    `alignment` weighs the layers of cafe. Trajectory matching is not separable: what this returns for mtt and tesla
    refuses every question about a real sample.
    """
    if method == "cafe":
        return AlignmentMatching(alignment)
    if method in TRAJECTORY_METHODS:
        return TrajectoryMatching(method)
    return FeatureMatching() if method == "dm" else GradientMatching(method)
