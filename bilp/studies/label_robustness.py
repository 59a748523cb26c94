"""The label-robust score of DD-Ranking (Li et al. 2025) in a study, of the arms that it compares anyway.

Where networks learn the sets' own hard labels, the accuracies under hard labels and under the method's are one, so that the arms
themselves have all that the score is made of: a set, all real images (baseline full) and random ones (baseline random).
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from bilp.config import PipelineConfig
from bilp.config.baselines import ALL_REAL, RANDOM_REAL
from bilp.config.labels import HARD
from bilp.evaluate.robustness import label_robust_score
from bilp.studies.statistics import BySeed
from bilp.studies.study_plan import Plan, real_images

Found = Mapping[tuple[str, str, str], BySeed]
"""Accuracies by cell, arm and network."""


def label_robustness(plan: Plan, found: Found, cell: str, arm: str, network: str) -> float | None:
    """The score in [0, 1] of an arm's mean accuracy over the seeds that all three have; None for real images, and where something of it
    is not there: the two baselines, hard labels, a common seed.
    """
    if real_images(plan.study, arm) is not None:
        return None
    whole, random = (_arm_of(plan, baseline) for baseline in (ALL_REAL, RANDOM_REAL))
    if whole is None or random is None:
        return None
    three = [found.get((cell, each, network), {}) for each in (whole, arm, random)]
    seeds = set(three[0]).intersection(*three[1:])
    if not seeds or any(labels != HARD for labels in _labels(plan, cell, (whole, arm, random))):
        return None
    real, synthetic, chance = (fmean(fmean(by_seed[seed]) for seed in sorted(seeds)) for by_seed in three)
    return label_robust_score(real, synthetic, synthetic, chance)


def _arm_of(plan: Plan, baseline: str) -> str | None:
    """The first arm that is a baseline."""
    return next((arm for arm in plan.study.arms if real_images(plan.study, arm) == baseline), None)


def _labels(plan: Plan, cell: str, arms: tuple[str, ...]) -> list[str]:
    """What networks of these arms learn in a cell."""
    block = next(block for block in plan.blocks if block.cell.title == cell)
    configs: dict[str, PipelineConfig] = {
        arm: group.config for group in block.groups for arm in (*group.arms.values(), *group.baselines.values())
    }
    return [configs[arm].evaluate.labels for arm in arms]
