"""Stage evaluate: what a synthetic set, or a baseline, teaches networks about the real test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, get_args

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.config import Baseline, EvaluateConfig
from bilp.config.given import model_of
from bilp.data import Dataset, open_dataset
from bilp.distill.synthetic_set import read_set
from bilp.errors import ConfigError, IncompatibleArtifact
from bilp.evaluate import address
from bilp.evaluate.baselines import check_subset, covering_subset, random_subset
from bilp.evaluate.teacher import load_teacher, train_teacher
from bilp.evaluate.train_all import Plan, check_networks, train_all
from bilp.evaluate.training import ImageSet
from bilp.images.decode_stored import decoded
from bilp.nets import Network
from bilp.progress import Progress, silent
from bilp.storage.objects import Uri, as_uri


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

    The set is decoded first, as its manifest says. `arm` and `experiment` (0, 1, ...) say in the table whose set it is.
    Progress counts epochs over all trainings.
    Raises IncompatibleArtifact if the set was made for other classes, another shape another normalization or whitening,
    DamagedArtifact if its tensors are not what they should be, ConfigError for networks that the images do not fit,
    and Diverged for a training that leaves the finite numbers.
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
    teacher = _teacher(dataset_uri, dataset, config, root, device) if config.labels == "soft" else None
    plan = Plan(config, config.epochs, f"{arm}, experiment {experiment}", device, progress, publication.parts_of, teacher)
    return publication.publish(train_all(plan, dataset, lambda _: data), {"dataset": dataset_uri, "synthetic": synthetic_uri}, device)


def evaluate_baseline(
    dataset_uri: Uri,
    baseline: Baseline,
    ipc: int,
    config: EvaluateConfig | Mapping[str, Any],
    root: Uri,
    device: str = "cpu",
    progress: Progress = silent,
) -> str:
    """The same protocol on real images; the evaluation's URI. Arm is the baseline's name, experiment is 0.

    "full" is the whole train split for `config.full_epochs`, whatever `ipc` is. The others are `ipc` images per class for
    `config.epochs`: "random" another random subset for each seed, "herding" and "k_center" a choice that covers the class
    in the features of `config.teacher`. Raises ConfigError if a class has fewer images, and as `evaluate_synthetic`.
    """
    dataset_uri, config, root = as_uri(dataset_uri), model_of(EvaluateConfig, config), as_uri(root)
    names = get_args(Baseline)
    if baseline not in names:
        raise ConfigError(f"unknown baseline {baseline!r}: use {', '.join(names[:-1])} or {names[-1]}")
    dataset = open_dataset(dataset_uri)
    if baseline != "full":
        check_subset(dataset, ipc, baseline)
    covering = baseline in address.COVERING
    publication = address.of_baseline(root, config, baseline, ipc, dataset)
    if publication.exists():
        return publication.uri
    check_networks(config, dataset.shape, dataset.classes)
    teacher = _teacher(dataset_uri, dataset, config, root, device) if covering or config.labels == "soft" else None
    set_for = _real_set(baseline, dataset, ipc, config.seed, teacher, device)
    labelling = teacher if config.labels == "soft" else None
    plan = Plan(publication.config, publication.epochs, baseline, device, progress, publication.parts_of, labelling)
    return publication.publish(train_all(plan, dataset, set_for), {"dataset": dataset_uri}, device)


def _real_set(baseline: Baseline, dataset: Dataset, ipc: int, seed: int, teacher: Network | None, device: str) -> Callable[[int], ImageSet]:
    """The images of a baseline for the training of a number."""

    if baseline == "full":
        everything = cache(partial(ImageSet.of_split, dataset.train, dataset.shape, device))
        return lambda number: everything()
    if teacher is not None and baseline != "random":
        choose = covering_subset(baseline, dataset, ipc, seed, teacher, device)
    else:
        choose = partial(random_subset, dataset.train, ipc, seed)

    def subset(number: int) -> ImageSet:
        chosen = choose(number)
        return ImageSet.of_tensors(dataset.train.batch(chosen, device), dataset.train.labels[chosen], device)

    return subset


def _teacher(dataset_uri: str, dataset: Dataset, config: EvaluateConfig, root: str, device: str) -> Network:
    """The teacher, trained now if it is not there."""
    uri = train_teacher(dataset_uri, config.teacher, config.seed, root, device)
    return load_teacher(uri, dataset, config.teacher, device)
