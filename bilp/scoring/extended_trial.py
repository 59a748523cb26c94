"""One trial of a data set that grew: rows of samples that were there are taken over, the others are evaluated by the kept networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.artifacts.artifact import Artifact, content_key, find, open_artifact, there_already
from bilp.artifacts.facts import NetworksFacts, PredictionsFacts, TrialFacts
from bilp.artifacts.publication import TableFile, publish, publish_table
from bilp.artifacts.tables import TRAJECTORY
from bilp.artifacts.tensors import load_network
from bilp.config import ScoreConfig
from bilp.data import Dataset, open_dataset
from bilp.errors import IncompatibleArtifact
from bilp.nets import build
from bilp.nets.arithmetic import place
from bilp.progress import Progress
from bilp.scoring.criteria import Trajectory
from bilp.scoring.kept_networks import epoch_file
from bilp.scoring.loss_curves import Statistics, empty_record
from bilp.scoring.prediction_record import PER_EPOCH, Predictions, prediction_record
from bilp.scoring.predictions import KIND as PREDICTIONS
from bilp.scoring.predictions import beside, prediction_counts, prediction_files, read_predictions
from bilp.scoring.sample_stats import GradientNorm, evaluate_samples
from bilp.scoring.short_training import batches
from bilp.scoring.trial_record import TRIAL, TRIAL_FILE, VERSION, read_trajectory, training_settings, trajectory_rows
from bilp.scoring.versions import Growth
from bilp.storage.objects import join


@dataclass(frozen=True)
class Grown:
    """A later version of a data set that was scored, and with what it is scored."""

    dataset: Dataset
    learned: Dataset
    """What the networks were trained on: its constants normalize, and its order of classes is that of their outputs."""
    growth: Growth
    """Which samples the version before had."""
    config: ScoreConfig
    """How trials were trained, and what they record."""
    folder: str
    """Where the trials of the later version lie."""
    extension: Mapping[str, Any]
    """What manifests tell of it (`ExtensionFacts`)."""


def trial_of(folder: str, number: int) -> str:
    """The URI of a trial of an extended scoring in its folder."""
    return join(folder, "trials", f"{number:04d}")


def extended_trial(grown: Grown, trial: Artifact, networks: Artifact, device: str, progress: Progress) -> Artifact:
    """The trial of the later version that follows from one of the version before and its networks; published unless it is there."""
    number = trial.stated(TrialFacts).trial
    uri = trial_of(grown.folder, number)
    key = content_key("score_trial", VERSION, training=grown.extension["training"], trial=number)
    there = there_already(uri, TRIAL, key)
    if there is not None:
        return there
    config, dataset = grown.config, grown.dataset
    old = read_trajectory(trial, config.epochs, grown.growth.before, config.gradient_norm != "off")
    new = evaluated(grown, networks, device, progress)
    record = joined(old, new, grown.growth)
    _publish_predictions(grown, trial, networks, new, device)
    labels = dataset.train.labels.numpy()
    origin = {"dataset": dataset.fingerprint, "trial": number}
    publish_table(
        uri,
        TRIAL,
        key,
        TableFile(TRIAL_FILE, trajectory_rows(labels, number, record), TRAJECTORY, origin),
        config=training_settings(config),
        parents={"dataset": dataset.uri, "networks": networks.uri},
        facts={
            **origin,
            "measure": config.measure,
            "samples": record.samples,
            "epochs": record.epochs,
            "final_loss": float(record.losses[-1].mean()),
            "final_accuracy": float(record.correct[-1].mean()),
            "extended": dict(grown.extension),
        },
        device=device,
    )
    return open_artifact(uri, TRIAL)


def joined(old: Trajectory, new: Trajectory, growth: Growth) -> Trajectory:
    """The record of the later version: columns of `old` where its samples were there before, those of `new` for those that were added."""

    pairs = [(getattr(old, field.name), getattr(new, field.name)) for field in fields(Trajectory)]
    values: list[Any] = [None if before is None else _joined(before, after, growth, 1) for before, after in pairs]
    return Trajectory(*values)


def _joined(before: NDArray[Any], after: NDArray[Any], growth: Growth, axis: int) -> NDArray[Any]:
    """Values of the later version, whose samples lie along `axis`: those of `before` where they were there, else those of `after`."""
    before, after = np.moveaxis(before, axis, 0), np.moveaxis(after, axis, 0)
    values = np.empty((len(growth.earlier), *before.shape[1:]), dtype=before.dtype)
    values[growth.taken] = before[growth.earlier[growth.taken]]
    values[growth.added] = after
    return np.moveaxis(values, 0, axis)


def evaluated(grown: Grown, networks: Artifact, device: str, progress: Progress) -> Trajectory:
    """What the networks of a trial say of the samples that were added, as `train_trial` records it: arrays `[epochs, n]`.

    Raises IncompatibleArtifact if there are other epochs than the settings say.
    """
    config, dataset, learned = grown.config, grown.dataset, grown.learned
    facts = networks.stated(NetworksFacts)
    if facts.epochs != config.epochs:
        raise IncompatibleArtifact(f"{networks.uri} holds {facts.epochs} epochs, not {config.epochs}: keep the networks of this scoring")
    ids = torch.from_numpy(grown.growth.added)
    own = {name: label for label, name in enumerate(learned.class_names)}
    labels = torch.tensor([own[name] for name in dataset.class_names])[dataset.train.labels[ids]].to(device)
    network = build(config.network, learned.shape, learned.classes).eval()
    place(network, config.gpu, device)
    record = empty_record(config, len(ids))
    statistics = Statistics(record)
    parts = batches(ids, config.batch_size)
    columns = torch.tensor([own[name] for name in dataset.class_names], device=device)
    with prediction_record(config.epochs, dataset.train.labels[ids], dataset.classes) as predictions:
        for epoch in range(config.epochs):
            load_network(network, networks.read(epoch_file(epoch + 1)), networks.place(epoch_file(epoch + 1)))
            kind: GradientNorm = config.gradient_norm if config.early_from <= epoch + 1 <= config.early_to else "off"
            for step, batch in enumerate(parts):
                rows = slice(step * config.batch_size, step * config.batch_size + len(batch))
                images = learned.train.normalized(dataset.train.images(batch), device)
                seen = evaluate_samples(network, images, labels[rows], kind)
                statistics.add(seen)
                predictions.add(seen.logits[:, columns])
                note = f"epoch {epoch + 1}/{config.epochs} of the kept networks"
                progress(len(parts) * epoch + step + 1, len(parts) * config.epochs, note)
            statistics.end(epoch)
            predictions.end(epoch)
        return replace(record, predictions=predictions.finish())


def _publish_predictions(grown: Grown, trial: Artifact, networks: Artifact, new: Trajectory, device: str) -> None:
    """Publish the predictions of the later version beside its trial; nothing, if those of the version before were not recorded."""
    number, dataset = trial.stated(TrialFacts).trial, grown.dataset
    before = find(beside(trial.uri), PREDICTIONS)
    if before is None or new.predictions is None:
        return
    earlier = open_dataset(trial.parents["dataset"])
    now = {name: label for label, name in enumerate(dataset.class_names)}
    renamed = np.array([now[name] for name in earlier.class_names], dtype=np.int32)
    predictions = joined_predictions(read_predictions(before, earlier.classes), new.predictions, grown.growth, renamed)
    uri = beside(trial_of(grown.folder, number))
    key = content_key(PREDICTIONS, VERSION, training=grown.extension["training"], trial=number)
    origin = {"dataset": dataset.fingerprint, "trial": number}
    publish(
        uri,
        PREDICTIONS,
        key,
        prediction_files(predictions, {"key": key, **origin}),
        config=training_settings(grown.config),
        parents={"dataset": dataset.uri, "networks": networks.uri},
        facts={**origin, **prediction_counts(predictions), "equals_trial": before.stated(PredictionsFacts).equals_trial},
        device=device,
    )


def joined_predictions(old: Predictions, new: Predictions, growth: Growth, renamed: NDArray[np.int32]) -> Predictions:
    """As `joined`; `renamed` `[C]` are the labels that classes of the version before have in the later one."""
    old = replace(old, predicted=renamed[old.predicted], classes=renamed[old.classes])

    names = [field.name for field in fields(Predictions)]
    return Predictions(*(_joined(getattr(old, name), getattr(new, name), growth, int(name in PER_EPOCH)) for name in names))
