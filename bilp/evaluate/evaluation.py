"""Stage evaluate: what a synthetic set, or a baseline, teaches networks about the real test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.config import BaselineName, EvaluateConfig
from bilp.config.baselines import BASELINES, BaselineEntry
from bilp.config.given import model_of
from bilp.data import Dataset, open_dataset
from bilp.distill.synthetic_set import read_set
from bilp.errors import ConfigError, IncompatibleArtifact
from bilp.evaluate import address
from bilp.evaluate.baselines import Choice, Chooser, check_subset
from bilp.evaluate.teacher import load_teacher, train_teacher
from bilp.evaluate.train_all import Plan, check_networks, train_all
from bilp.evaluate.training import ImageSet
from bilp.images.decode_stored import decoded
from bilp.nets import Network
from bilp.progress import Progress, silent
from bilp.pruning.prune import kept_samples
from bilp.registry import resolve
from bilp.storage.objects import Uri, as_uri, optional_uri


def evaluate_synthetic(
    dataset_uri: Uri,
    synthetic_uri: Uri,
    arm: str,
    experiment: int,
    config: EvaluateConfig | Mapping[str, Any],
    root: Uri,
    device: str = "cpu",
    progress: Progress = silent,
) -> str:
    """Train every network with every seed on a synthetic set, test it on the real test split; the evaluation's URI.

    The set is decoded first, as its manifest says.
    Raises IncompatibleArtifact if the set was made for other classes, another shape another normalization or whitening,
    DamagedArtifact if its tensors are not what they should be, ConfigError for networks that the images do not fit,
    and Diverged for a training that leaves the finite numbers.

    Args:
        dataset_uri: Real images; the test split is that of the accuracies.
        synthetic_uri: The set.
        arm: Whose set it is, as the table says.
        experiment: Which of its distillations, from 0, as the table says.
        config: Settings of the evaluation.
        root: Where results lie.
        device: Where networks are trained.
        progress: Counts epochs over all trainings.
    """
    dataset_uri = as_uri(dataset_uri)
    synthetic_uri = as_uri(synthetic_uri)
    config = model_of(EvaluateConfig, config)
    root = as_uri(root)
    dataset = open_dataset(dataset_uri)
    if dataset.whitening_facts is None and "whitening" in open_artifact(synthetic_uri, SYNTHETIC).manifest.facts:
        raise IncompatibleArtifact(f"{synthetic_uri} holds whitened images, {dataset_uri} does not: evaluate it on the whitened data set")
    expected: dict[str, Any] = {
        "class_names": list(dataset.class_names),
        "shape": list(dataset.shape),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
    }
    if dataset.whitening_facts is not None:
        expected["whitening"] = dataset.whitening_facts
    artifact = open_artifact(synthetic_uri, SYNTHETIC, expect=expected)
    config = address.with_learned_rate(config, artifact)
    publication = address.of_synthetic(root, config, arm, experiment, dataset, artifact)
    if publication.exists():
        return publication.uri
    images, labels = decoded(*read_set(artifact), artifact.manifest.facts, synthetic_uri)
    data = ImageSet.of_tensors(images, labels, device)
    teacher = _teacher(dataset_uri, dataset, config, root, device) if config.taught else None
    plan = Plan(config, config.epochs, f"{arm}, experiment {experiment}", device, progress, publication.parts_of, teacher)
    return publication.publish(train_all(plan, dataset, lambda _: data), {"dataset": dataset_uri, "synthetic": synthetic_uri}, device)


def evaluate_baseline(
    dataset_uri: Uri,
    baseline: BaselineName,
    ipc: int,
    config: EvaluateConfig | Mapping[str, Any],
    root: Uri,
    device: str = "cpu",
    progress: Progress = silent,
    selection_uri: Uri | None = None,
) -> str:
    """The same protocol on real images; the evaluation's URI. Arm is the baseline's name, experiment is 0.

    A whole baseline is the train split for `config.full_epochs`, whatever `ipc` is, or what the selection keeps for as many steps.
    The others are `ipc` images per class for
    `config.epochs`, chosen at random anew for each seed, or so that they cover the class in the features of `config.teacher`
    (see `bilp.config.baselines`). Raises ConfigError if a class has fewer images or a selection is needed and not given, and as
    `evaluate_synthetic`.

    Args:
        dataset_uri: Real images.
        baseline: Which of them, by name.
        ipc: Images per class.
        config: Settings of the evaluation, and of the teacher.
        root: Where results lie.
        device: Where networks are trained.
        progress: Counts epochs over all trainings.
        selection_uri: What static pruning keeps, for baselines that take images from it.
    """
    dataset_uri, config, root = as_uri(dataset_uri), model_of(EvaluateConfig, config), as_uri(root)
    if baseline not in BASELINES:
        *names, last = BASELINES.choosable()
        raise ConfigError(f"unknown baseline {baseline!r}: use {', '.join(names)} or {last}")
    entry = BASELINES[baseline]
    dataset = open_dataset(dataset_uri)
    selection = address.selection_of(entry, optional_uri(selection_uri), dataset)
    publication = address.of_baseline(root, config, baseline, ipc, dataset, selection)
    selected = None if selection is None else kept_samples(selection, dataset.train.labels)
    if not entry.whole:
        check_subset(Choice(dataset, ipc, config.seed, selected=selected), baseline)
    if publication.exists():
        return publication.uri
    check_networks(config, dataset.shape, dataset.classes)
    teacher = _teacher(dataset_uri, dataset, config, root, device) if entry.covers or config.taught else None
    set_for = _real_set(entry, Choice(dataset, ipc, config.seed, teacher, device, selected, config.gpu))
    labelling = teacher if config.taught else None
    plan = Plan(publication.config, publication.epochs, baseline, device, progress, publication.parts_of, labelling)
    parents = {"dataset": dataset_uri, **({} if selection is None else {"selection": selection.uri})}
    return publication.publish(train_all(plan, dataset, set_for), parents, device)


def _real_set(entry: BaselineEntry, of: Choice) -> Callable[[int], ImageSet]:
    """The images of a baseline for the training of a number."""
    train = of.dataset.train
    if entry.chooser is None:
        everything = cache(partial(ImageSet.of_split, train, of.dataset.shape, of.device, of.selected))
        return lambda number: everything()
    chooser: Chooser = resolve(entry.chooser)
    choose = chooser(of)

    def subset(number: int) -> ImageSet:
        chosen = choose(number)
        return ImageSet.of_tensors(train.batch(chosen, of.device), train.labels[chosen], of.device)

    return subset


def _teacher(dataset_uri: str, dataset: Dataset, config: EvaluateConfig, root: str, device: str) -> Network:
    """The teacher, trained now if it is not there."""
    uri = train_teacher(dataset_uri, config.teacher, config.seed, root, device)
    return load_teacher(uri, dataset, config.teacher, device)
