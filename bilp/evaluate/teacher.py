"""The teacher: one network trained on real data, an artifact of its own.

One that learned all samples is shared by every evaluation of a dataset: it gives soft labels (`evaluate.labels`) and the features by which
herding and k-center choose real images. Methods that ask a teacher's opinion, or invert it, have one that learned the samples which take
part, or that one too (`distill.teacher_samples`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bilp.artifacts.artifact import content_key, open_artifact, there_already
from bilp.artifacts.publication import publish
from bilp.artifacts.tensors import encode_tensors
from bilp.config import TeacherConfig
from bilp.config.given import model_of
from bilp.data import Dataset, open_dataset
from bilp.errors import Diverged
from bilp.evaluate.infobatch import LossPruning, train_on_hard
from bilp.nets import Network, build, initialize, label
from bilp.nets.arithmetic import arithmetic, place
from bilp.progress import Progress, silent
from bilp.pruning.selected import real_pool
from bilp.seeds import generator
from bilp.storage.objects import Uri, as_uri, join, optional_uri
from bilp.teachers.stored_teacher import FILE as FILE
from bilp.teachers.stored_teacher import KIND as KIND
from bilp.teachers.stored_teacher import load_teacher as load_teacher
from bilp.teachers.supplied import load_supplied, named_teacher, require_named, told
from bilp.training.batch_augment import STREAMS, Streams
from bilp.training.train import ImageSet, accuracy, train
from bilp.training.training_schedule import Schedule

VERSION = 1


def teacher_key(dataset: Dataset, config: TeacherConfig, seed: int, selection: str | None = None) -> str:
    """Content key of the teacher; of one that was trained elsewhere, what is in its file counts, and nothing of a training.

    Args:
        dataset: Whose training images it learns.
        config: Its network and training.
        seed: Of its parameters and of the order of the images.
        selection: Key of what it learns, or None for all.
    """
    require_named(config)
    if config.checksum is not None:
        version = VERSION + config.network.revision
        return content_key(KIND, version, dataset=dataset.fingerprint, network=config.network, supplied=config.checksum)
    pruned = {} if selection is None else {"selection": selection}
    return content_key(KIND, VERSION + config.network.revision, dataset=dataset.fingerprint, teacher=config, seed=seed, **pruned)


def teacher_uri(root: str, dataset: Dataset, config: TeacherConfig, seed: int, selection_uri: str | None = None) -> str:
    """Where the teacher lies; arguments as `teacher_key`, but for where the selection lies."""
    selection = None if selection_uri is None else open_artifact(selection_uri, "selection").manifest.key
    return join(root, "teachers", teacher_key(dataset, config, seed, selection))


def train_teacher(
    dataset_uri: Uri,
    config: TeacherConfig | Mapping[str, Any],
    seed: int,
    root: Uri,
    device: str = "cpu",
    progress: Progress = silent,
    selection_uri: Uri | None = None,
) -> str:
    """Train the teacher, or read it from its file, or find it; its URI. The manifest's facts tell its accuracy on the test split.

    Raises DataError for a file that is no such network, MissingArtifact if there is none to read, ConfigError for a network that the
    images do not fit, IncompatibleArtifact for a selection of another dataset, and Diverged if its training leaves the finite numbers.

    Args:
        dataset_uri: Real images.
        config: Its network and training.
        seed: Of its parameters and of the order of the images.
        root: Where results lie.
        device: Where it is trained.
        progress: Counts its epochs.
        selection_uri: The static selection, which is what it learns; None for the whole train split. One from a file has learned before.
    """
    dataset_uri, config, root = as_uri(dataset_uri), model_of(TeacherConfig, config), as_uri(root)
    dataset, config = open_dataset(dataset_uri), named_teacher(config)
    selection_uri = None if config.supplied else optional_uri(selection_uri)
    uri = teacher_uri(root, dataset, config, seed, selection_uri)
    key = uri.rpartition("/")[2]
    if there_already(uri, KIND, key) is not None:
        return uri
    network = build(config.network, dataset.shape, dataset.classes)
    place(network, config.gpu, device)
    try:
        with arithmetic(config.gpu, device):
            if config.checksum is None:
                _trained(network, dataset, selection_uri, config, seed, device, progress)
            else:
                load_supplied(network, config)
            reached = accuracy(network, ImageSet.of_split(dataset.test, dataset.shape, device))
    except Diverged as error:
        if config.checksum is not None:
            raise Diverged(f"the teacher of {config.file}: {error}; its parameters are of no use") from None
        raise Diverged(f"training of the teacher {label(config.network)}: {error}; lower evaluate.teacher.learning_rate") from None
    facts = {
        "dataset": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "shape": list(dataset.shape),
        "network": label(config.network),
        "accuracy": reached,
    }
    files = {FILE: encode_tensors(network.state_dict())}
    parents = {"dataset": dataset_uri}
    if selection_uri is not None:
        parents["selection"] = selection_uri
        facts["selection"] = open_artifact(selection_uri, "selection").manifest.key
    return publish(uri, KIND, key, files, config=told(config, seed), parents=parents, facts=facts, device=device).uri


def _trained(
    network: Network, dataset: Dataset, selection_uri: str | None, config: TeacherConfig, seed: int, device: str, progress: Progress
) -> None:
    """Train the network in place. Raises Diverged.

    Args:
        network: On the device.
        dataset: Whose training images it learns.
        selection_uri: Which of them; None for all.
        config: How it is trained.
        seed: Of its parameters and of the order of the images.
        device: Where it is trained.
        progress: Counts its epochs.
    """
    initialize(network, generator(seed, "teacher", "network"))
    schedule = Schedule.of_teacher(config)
    streams = Streams(*(generator(seed, "teacher", what) for what in STREAMS))
    ids = None if selection_uri is None else torch.cat(real_pool(dataset, selection_uri).by_class)
    data = ImageSet.of_split(dataset.train, dataset.shape, device, ids)
    if config.infobatch:
        pruning = LossPruning(len(data), config.infobatch, schedule.passes, generator(seed, "teacher", "infobatch"))
        passes = train_on_hard(network, data, schedule, streams, pruning)
    else:
        passes = train(network, data, schedule, streams)
    for epoch in passes:
        progress(epoch + 1, schedule.passes, f"teacher: {label(config.network)}")


def features(network: Network, dataset: Dataset, indices: torch.Tensor, device: str = "cpu", batch: int = 256) -> torch.Tensor:
    """Features `[n, F]` of training images, from the layer before the classifier, on the CPU.

    Args:
        network: In eval mode.
        dataset: Whose training images are meant.
        indices: `[n]`, which of them.
        device: Where the network is.
        batch: Images per forward pass; the features do not depend on it.
    """
    with torch.no_grad():
        parts = [network.embed(dataset.train.batch(part, device)) for part in indices.split(batch)]
    return torch.cat(parts).cpu()
