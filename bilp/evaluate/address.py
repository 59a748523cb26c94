"""Where the evaluation of a set will lie, before it is computed."""

from __future__ import annotations

import math
from typing import Any

from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.facts import SelectionFacts, SyntheticFacts
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.config import BaselineName, EvaluateConfig
from bilp.config.baselines import BASELINES, BaselineEntry
from bilp.config.decode import DecodeConfig
from bilp.config.evaluated_set import EvaluatedSet
from bilp.config.labels import LABELS
from bilp.data import Dataset
from bilp.errors import ConfigError
from bilp.evaluate.results import Publication
from bilp.evaluate.teacher import teacher_key
from bilp.pruning.prune import KIND as SELECTION


def of_synthetic(root: str, config: EvaluateConfig, arm: str, experiment: int, dataset: Dataset, synthetic: Artifact) -> Publication:
    """The evaluation of a synthetic set.

    Args:
        root: Where results lie.
        config: Settings; they say which step size and temperature are used (`as_learned`).
        arm: Whose set it is.
        experiment: Which of its distillations, from 0.
        dataset: Real images that it is tested on.
        synthetic: The set.
    """
    subject = {"synthetic": synthetic.manifest.key}
    return Publication(root, config, config.epochs, arm, experiment, dataset.fingerprint, subject)


def selection_of(entry: BaselineEntry, selection_uri: str | None, dataset: Dataset) -> Artifact | None:
    """The selection that a baseline takes its images from; None for one that takes them from all.

    Raises ConfigError if there has to be one, and IncompatibleArtifact if it was made for another data set.
    """
    if not entry.selected:
        return None
    if selection_uri is None:
        raise ConfigError(f"baseline {entry.name} takes what static pruning keeps: give the URI of a selection")
    return open_artifact(selection_uri, SELECTION, expect={"dataset": dataset.fingerprint})


def of_baseline(
    root: str, config: EvaluateConfig, baseline: BaselineName, ipc: int, dataset: Dataset, selection: Artifact | None = None
) -> Publication:
    """The evaluation of real images, which store no soft labels.

    Args:
        root: Where results lie.
        config: Settings of the evaluation.
        baseline: Which images, by name.
        ipc: How many per class; a whole baseline has all of them, whatever this is.
        dataset: The images.
        selection: What static pruning keeps of them, for a baseline that takes images from it (`selection_of`).
    """
    subject: dict[str, Any] = {"real": baseline}
    config = config.of_real()
    entry = BASELINES[baseline]
    if not entry.whole:
        subject |= {"ipc": ipc}
    if entry.covers:
        subject |= {"teacher": teacher_key(dataset, config.teacher, config.seed)}
    if entry.whole:
        config = config.model_copy(update={"batch_norm_epochs": None})
    epochs = config.full_epochs if entry.whole else config.epochs
    if selection is not None:
        subject |= {"selection": selection.manifest.key}
        if entry.whole:
            epochs = epochs_of_as_many_steps(config, len(dataset.train), selection.stated(SelectionFacts).kept)
    return Publication(root, config, epochs, baseline, 0, dataset.fingerprint, subject)


def of_set(root: str, config: EvaluateConfig, subject: EvaluatedSet, dataset: Dataset) -> tuple[Publication, int]:
    """The evaluation of a set, and how many images each of its networks is trained on. Raises as `selection_of`."""
    if subject.baseline is None:
        synthetic = open_artifact(str(subject.synthetic_uri), SYNTHETIC)
        facts = synthetic.stated(SyntheticFacts)
        images = dataset.classes * DecodeConfig.model_validate(facts.decode or {}).count(facts.ipc)
        config = as_learned(config, synthetic)
        return of_synthetic(root, config, subject.arm, subject.experiment, dataset, synthetic), images
    entry = BASELINES[subject.baseline]
    selection = selection_of(entry, subject.selection_uri, dataset)
    kept = len(dataset.train) if selection is None else selection.stated(SelectionFacts).kept
    images = kept if entry.whole else dataset.classes * subject.ipc
    return of_baseline(root, config, subject.baseline, subject.ipc, dataset, selection), images


def epochs_of_as_many_steps(config: EvaluateConfig, all_images: int, images: int) -> int:
    """Epochs on `images` that make as many steps as `full_epochs` on all images do, rounded; at least 1."""
    per_epoch = [math.ceil(count / config.batch_size) for count in (all_images, images)]
    return max(1, round(config.full_epochs * per_epoch[0] / per_epoch[1]))


def as_learned(config: EvaluateConfig, synthetic: Artifact) -> EvaluateConfig:
    """`config` with the step size that was learned with the synthetic images, if one was and `config` does not refuse it, and with the
    temperature of the soft labels that were learned with them, if these are asked for.

    A step size was learned for whole networks, so that linear probes have their own.
    """
    facts, changed = synthetic.stated(SyntheticFacts), dict[str, Any]()
    if config.learned_rate and facts.learning_rate is not None and not config.linear_probe:
        changed["learning_rate"] = facts.learning_rate
    if LABELS[config.labels].learned and facts.soft_labels is not None:
        changed["temperature"] = facts.soft_labels.temperature
    return config.model_copy(update=changed) if changed else config
