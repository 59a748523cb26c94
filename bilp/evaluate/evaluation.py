"""Stage evaluate: what a synthetic set, or a baseline, teaches networks about the real test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.config import BaselineName, EvaluateConfig, NetworkConfig
from bilp.config.baselines import BASELINES, BaselineEntry
from bilp.config.evaluated_set import Block, EvaluatedSet
from bilp.config.given import model_of
from bilp.data import Dataset, open_dataset
from bilp.distill.synthetic_set import read_set
from bilp.errors import ConfigError, IncompatibleArtifact
from bilp.evaluate import address, training_blocks
from bilp.evaluate.baselines import Choice, Chooser, check_subset
from bilp.evaluate.linear_probe import Encoder, Encoders, load_encoder
from bilp.evaluate.results import Publication
from bilp.evaluate.stored_labels import labels_beside, require_stored
from bilp.evaluate.teacher import load_teacher, train_teacher
from bilp.evaluate.train_all import Plan, check_networks, train_all
from bilp.images.decode_stored import decoded
from bilp.nets import Network
from bilp.progress import Progress, silent
from bilp.pruning.prune import kept_samples
from bilp.registry import resolve
from bilp.storage.objects import Uri, as_uri, optional_uri
from bilp.training.train import ImageSet


@dataclass(frozen=True)
class Work:
    """The evaluation of one set, ready to be carried out as a whole or in blocks."""

    publication: Publication
    dataset: Dataset
    parents: Mapping[str, str]
    device: str
    images: Callable[[], Callable[[int], ImageSet]]
    """Gives, after what may be the training of a teacher, the images of the training of a number."""
    plan: Callable[[], Plan]
    """Likewise."""

    def publish(self) -> str:
        """Train what is not there yet and publish the table; the evaluation's URI."""
        if self.publication.exists():
            return self.publication.uri
        check_networks(self.publication.config, self.dataset.shape, self.dataset.classes)
        trainings = train_all(self.plan(), self.dataset, self.images())
        return self.publication.publish(trainings, self.parents, self.device)

    def block(self, block: Block) -> str:
        """Train a block and keep it for whoever publishes the table; the block's URI (`bilp.evaluate.training_blocks`).

        Raises ConfigError, besides what a training raises, if there is no such network or seed.
        """
        config = self.publication.config
        if block.network >= len(config.networks) or block.last >= config.seeds:
            asked = f"network {block.network}, seeds {block.first} to {block.last}"
            raise ConfigError(f"there is no block of {asked} in an evaluation of {len(config.networks)} networks with {config.seeds} seeds")
        network = config.networks[block.network]
        uri = training_blocks.place(self.publication.parts_of(network).folder_of(network), block.first, block.last)
        if not training_blocks.is_there(uri):
            check_networks(config, self.dataset.shape, self.dataset.classes)
            train_all(self.plan(), self.dataset, self.images(), block)
        return uri


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
    subject = EvaluatedSet(synthetic_uri=as_uri(synthetic_uri), arm=arm, experiment=experiment)
    return _synthetic_work(as_uri(dataset_uri), subject, model_of(EvaluateConfig, config), as_uri(root), device, progress).publish()


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
    if baseline not in BASELINES:
        *names, last = BASELINES.choosable()
        raise ConfigError(f"unknown baseline {baseline!r}: use {', '.join(names)} or {last}")
    subject = _Baseline(BASELINES[baseline], ipc, optional_uri(selection_uri))
    return _baseline_work(as_uri(dataset_uri), subject, model_of(EvaluateConfig, config), as_uri(root), device, progress).publish()


def evaluate_network(
    dataset_uri: Uri,
    subject: EvaluatedSet,
    block: Block,
    config: EvaluateConfig,
    root: Uri,
    device: str = "cpu",
    progress: Progress = silent,
) -> str:
    """Train a block of an evaluation, so that several processes share it; the block's URI.

    `evaluate_synthetic` or `evaluate_baseline` with the same settings on the same kind of device finds the trainings and publishes the
    bytes that it would have published without. Raises as they do, and ConfigError if there is no such block.

    Args:
        dataset_uri: Real images.
        subject: What networks are trained on.
        block: Which network, with which seeds.
        config: Settings of the whole evaluation.
        root: Where results lie.
        device: Where networks are trained.
        progress: Counts epochs over all trainings of the block.
    """
    return _work(as_uri(dataset_uri), subject, config, as_uri(root), device, progress).block(block)


def _work(dataset_uri: str, subject: EvaluatedSet, config: EvaluateConfig, root: str, device: str, progress: Progress) -> Work:
    if subject.baseline is None:
        return _synthetic_work(dataset_uri, subject, config, root, device, progress)
    real = _Baseline(BASELINES[subject.baseline], subject.ipc, subject.selection_uri)
    return _baseline_work(dataset_uri, real, config, root, device, progress)


def _synthetic_work(dataset_uri: str, subject: EvaluatedSet, config: EvaluateConfig, root: str, device: str, progress: Progress) -> Work:
    """The evaluation of a synthetic set. Raises as `evaluate_synthetic`."""
    dataset, synthetic_uri = open_dataset(dataset_uri), str(subject.synthetic_uri)
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
    require_stored(config, artifact)
    config = address.as_learned(config, artifact)
    publication = address.of_synthetic(root, config, subject.arm, subject.experiment, dataset, artifact)

    def images() -> Callable[[int], ImageSet]:
        data = ImageSet.of_tensors(*decoded(*read_set(artifact), artifact.manifest.facts, synthetic_uri), device)
        told = labels_beside(config, artifact, len(data))
        if told is not None:
            data = replace(data, told=told.to(device))
        return lambda number: data

    def plan() -> Plan:
        teacher = _teacher(dataset_uri, dataset, config, root, device) if config.taught else None
        who = f"{subject.arm}, experiment {subject.experiment}"
        encoders = _encoders(dataset_uri, dataset, config, root, device)
        return Plan(config, config.epochs, who, device, progress, publication.parts_of, teacher, encoders)

    return Work(publication, dataset, {"dataset": dataset_uri, "synthetic": synthetic_uri}, device, images, plan)


@dataclass(frozen=True)
class _Baseline:
    entry: BaselineEntry
    ipc: int
    selection_uri: str | None


def _baseline_work(dataset_uri: str, real: _Baseline, config: EvaluateConfig, root: str, device: str, progress: Progress) -> Work:
    """The evaluation of real images. Raises as `evaluate_baseline`."""
    entry, ipc, baseline = real.entry, real.ipc, real.entry.name
    dataset, config = open_dataset(dataset_uri), config.of_real()
    selection = address.selection_of(entry, real.selection_uri, dataset)
    publication = address.of_baseline(root, config, baseline, ipc, dataset, selection)
    selected = None if selection is None else kept_samples(selection, dataset.train.labels)
    if not entry.whole:
        check_subset(Choice(dataset, ipc, config.seed, selected=selected), baseline)
    teacher = cache(partial(_teacher, dataset_uri, dataset, config, root, device))

    def images() -> Callable[[int], ImageSet]:
        looking = teacher() if entry.covers else None
        return _real_set(entry, Choice(dataset, ipc, config.seed, looking, device, selected, config.gpu))

    def plan() -> Plan:
        labelling = teacher() if config.taught else None
        encoders = _encoders(dataset_uri, dataset, config, root, device)
        return Plan(publication.config, publication.epochs, baseline, device, progress, publication.parts_of, labelling, encoders)

    parents = {"dataset": dataset_uri, **({} if selection is None else {"selection": selection.uri})}
    return Work(publication, dataset, parents, device, images, plan)


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


def _encoders(dataset_uri: str, dataset: Dataset, config: EvaluateConfig, root: str, device: str) -> Encoders | None:
    """The frozen encoders of linear probes, each read or trained once: that of the user, or networks that learned all real images."""
    if not config.linear_probe:
        return None

    def encoder(network: NetworkConfig) -> Encoder:
        if config.encoder.name is not None:
            return load_encoder(config.encoder, dataset, device)
        own = config.teacher
        if network != own.network:
            own = own.model_copy(update={"network": network, "file": None, "checksum": None})
        uri = train_teacher(dataset_uri, own, config.seed, root, device)
        return Encoder(load_teacher(uri, dataset, own, device), uri.rpartition("/")[2])

    return cache(encoder)
