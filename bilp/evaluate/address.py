"""Where the evaluation of a set will lie, before it is computed."""

from __future__ import annotations

from typing import Any

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.config import BaselineName, EvaluateConfig
from bilp.config.baselines import BASELINES
from bilp.data import Dataset
from bilp.evaluate.results import Publication
from bilp.evaluate.teacher import teacher_key


def of_synthetic(root: str, config: EvaluateConfig, arm: str, experiment: int, dataset: Dataset, synthetic: Artifact) -> Publication:
    """The evaluation of a synthetic set.

    Args:
        root: Where results lie.
        config: Settings; they say which step size is used (`with_learned_rate`).
        arm: Whose set it is.
        experiment: Which of its distillations, from 0.
        dataset: Real images that it is tested on.
        synthetic: The set.
    """
    subject = {"synthetic": synthetic.manifest.key}
    return Publication(root, config, config.epochs, arm, experiment, dataset.fingerprint, subject)


def of_baseline(root: str, config: EvaluateConfig, baseline: BaselineName, ipc: int, dataset: Dataset) -> Publication:
    """The evaluation of real images.

    Args:
        root: Where results lie.
        config: Settings of the evaluation.
        baseline: Which images, by name.
        ipc: How many per class; a whole baseline has all of them, whatever this is.
        dataset: The images.
    """
    subject: dict[str, Any] = {"real": baseline}
    entry = BASELINES[baseline]
    if not entry.whole:
        subject |= {"ipc": ipc}
    if entry.covers:
        subject |= {"teacher": teacher_key(dataset, config.teacher, config.seed)}
    if entry.whole:
        config = config.model_copy(update={"batch_norm_epochs": None})
    epochs = config.full_epochs if entry.whole else config.epochs
    return Publication(root, config, epochs, baseline, 0, dataset.fingerprint, subject)


def with_learned_rate(config: EvaluateConfig, synthetic: Artifact) -> EvaluateConfig:
    """`config` with the step size that was learned with the synthetic images, if one was and `config` does not refuse it."""
    learned = synthetic.stated(SyntheticFacts).learning_rate
    return config.model_copy(update={"learning_rate": learned}) if config.learned_rate and learned is not None else config
