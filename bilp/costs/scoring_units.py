"""The units of scoring of a plan: trials."""

from __future__ import annotations

from bilp.config import PipelineConfig, ScoreConfig
from bilp.config.arms import needs_experts, needs_scores, ranks_samples
from bilp.config.measures import MEASURES
from bilp.costs.speed import Speed
from bilp.costs.work import FORWARD, TRAINING, Unit, Work


def has_scores(config: PipelineConfig) -> bool:
    """Whether samples are scored at all."""
    return ranks_samples(config) and needs_scores(config.prune)


def scoring_units(config: PipelineConfig, speed: Speed) -> list[Unit]:
    """One unit for each trial, of static scoring and of the curriculum of experts; those of the same settings are the same."""
    units, samples = list[Unit](), speed.data.samples
    for score in scorings(config):
        trial = speed.unit("score", "trial", speed.network(score.network), score.gpu, scoring_works(score, samples), samples)
        units += [trial] * score.trials
    return units


def scorings(config: PipelineConfig) -> list[ScoreConfig]:
    """The settings of all scorings of a pipeline."""
    found = [config.score] if has_scores(config) else []
    curriculum = config.experts.curriculum
    if needs_experts(config) and curriculum.criterion is not None and curriculum.score not in found:
        found.append(curriculum.score)
    return found


def scoring_works(score: ScoreConfig, samples: int) -> list[Work]:
    """What a trial does."""
    measure = MEASURES[score.measure]
    trained = score.epochs * (round(score.subset_share * samples) if measure.subsets else samples)
    recorded = samples * (score.epochs if measure.per_epoch else 1)
    works = [Work("trained", trained, TRAINING, stored=True), Work("recorded", recorded, FORWARD, stored=True)]
    if score.gradient_norm == "all":
        works.append(Work("gradients", samples * (score.early_to - score.early_from + 1), TRAINING, stored=True))
    return works
