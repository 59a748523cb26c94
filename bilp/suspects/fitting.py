"""Trainings on a few hundred images: smaller batches, so that as many epochs are steps enough to learn something."""

from __future__ import annotations

from collections.abc import Mapping

from bilp.config import ScoreConfig

STEPS, SMALLEST = 40, 16
"""Steps of an epoch that are aimed at, and the smallest batch for that."""
PATH = "score.batch_size"


def fitted(config: ScoreConfig, origins: Mapping[str, str] | None, samples: int) -> ScoreConfig:
    """The settings of scoring for so many training images.

    A batch is a power of two that leaves STEPS steps in an epoch, at least SMALLEST images and at most what the settings say; a value
    that somebody or a rule chose (`origins`, as `PipelineConfig.origins`) stays.
    """
    if origins is None or PATH in origins:
        return config
    fitting = max(SMALLEST, 1 << max(samples // STEPS, 1).bit_length() - 1)
    return config if fitting >= config.batch_size else config.model_copy(update={"batch_size": fitting})
