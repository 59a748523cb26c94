"""Stage experts: every expert is an artifact of its own; a buffer names those that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact, content_key, find, open_artifact, there_already
from bilp.artifacts.publication import TableFile, publish, publish_table
from bilp.artifacts.tables import EXPERTS
from bilp.artifacts.tensors import encode_tensors
from bilp.config import ExpertsConfig, NetworkConfig
from bilp.config.given import model_of
from bilp.data import Dataset, open_dataset
from bilp.errors import ConfigError, MissingArtifact
from bilp.experts.curriculum import samples_of, scored
from bilp.experts.expert import train_epochs
from bilp.experts.files import (
    BUFFER,
    EXPERT,
    VERSION,
    epoch_file,
    expert_key,
    expert_uri,
    experts_uri,
    parameter_shapes,
    training_key,
    training_settings,
)
from bilp.nets import build
from bilp.nets.arithmetic import arithmetic
from bilp.progress import Progress, silent
from bilp.pruning.selected import real_pool
from bilp.storage.objects import Uri, as_uri, join, optional_uri

TABLE = "experts.parquet"


@dataclass(frozen=True)
class Plan:
    """Experts on one dataset and one selection: where they lie and what identifies them."""

    dataset: Dataset
    selection: str | None
    """Key of the static selection, or None for the whole train split."""
    ids: Tensor
    """sample_ids that the experts learn, int64 `[n]`, by class."""
    parents: dict[str, str]
    """URIs of dataset and selection."""
    key: str
    """Key of the training set-up."""
    folder: str
    """Folder of its experts."""

    @classmethod
    def of(cls, dataset_uri: str, selection_uri: str | None, config: ExpertsConfig, network: NetworkConfig, root: str) -> Plan:
        """Open dataset and selection; IncompatibleArtifact if they do not belong together.

        Args:
            dataset_uri: the ingested data set.
            selection_uri: the static selection, or None for the whole train split.
            config: how experts are trained.
            network: their architecture.
            root: storage root.
        """
        dataset = open_dataset(dataset_uri)
        pool = real_pool(dataset, selection_uri)
        pool.require(1, "an expert")
        parents = {"dataset": dataset_uri}
        selection = None
        if selection_uri is not None:
            selection = open_artifact(selection_uri, "selection").manifest.key
            parents["selection"] = selection_uri
        key = training_key(dataset.fingerprint, selection, config, network)
        return cls(dataset, selection, torch.cat(pool.by_class), parents, key, experts_uri(root, dataset.fingerprint, key))


def train_expert(
    dataset_uri: Uri,
    selection_uri: Uri | None,
    config: ExpertsConfig | Mapping[str, Any],
    network: NetworkConfig | Mapping[str, Any],
    expert: int,
    root: Uri,
    device: str = "cpu",
    progress: Progress = silent,
) -> str:
    """Train expert number `expert` (from 0) on what the selection keeps and return its URI; one that is there is not repeated.

    Where a curriculum asks for scores that are not there, samples are scored first.
    Raises ConfigError for an expert beyond config.count, IncompatibleArtifact for a selection of another dataset, and
    Diverged if the training leaves the finite numbers.

    Args:
        dataset_uri: the ingested data set.
        selection_uri: the static selection, or None for the whole train split.
        config: how experts are trained.
        network: their architecture.
        expert: number of the expert, from 0.
        root: storage root.
        device: where to train.
        progress: told after every mini-batch.
    """
    dataset_uri = as_uri(dataset_uri)
    selection_uri = optional_uri(selection_uri)
    config = model_of(ExpertsConfig, config)
    network = model_of(NetworkConfig, network)
    root = as_uri(root)
    if not 0 <= expert < config.count:
        raise ConfigError(f"expert {expert} does not exist: experts.count = {config.count}, counted from 0")
    plan = Plan.of(dataset_uri, selection_uri, config, network, root)
    uri, key = expert_uri(plan.folder, expert), expert_key(plan.key, expert)
    if there_already(uri, EXPERT, key) is not None:
        return uri
    files: dict[str, bytes] = {}
    losses: list[float] = []
    scores = None if config.curriculum.criterion is None else scored(dataset_uri, config.curriculum, root, device, progress)
    samples = samples_of(plan.dataset, plan.ids, config.curriculum, scores)
    with arithmetic(config.gpu, device):
        for module, loss in train_epochs(plan.dataset, plan.ids, config, network, expert, device, progress, samples):
            if files:
                losses.append(loss)
            files[epoch_file(len(files))] = encode_tensors(dict(module.named_parameters()))
    facts = {"dataset": plan.dataset.fingerprint, "selection": plan.selection, "expert": expert, "samples": len(plan.ids), "losses": losses}
    settings = training_settings(config, network)
    parents = plan.parents if scores is None else {**plan.parents, "scores": scores}
    return publish(uri, EXPERT, key, files, config=settings, parents=parents, facts=facts, device=device).uri


def collect_experts(
    dataset_uri: Uri,
    selection_uri: Uri | None,
    config: ExpertsConfig | Mapping[str, Any],
    network: NetworkConfig | Mapping[str, Any],
    root: Uri,
) -> str:
    """Publish the buffer of experts 0 to config.count - 1 and return its URI.

    Its facts are what a distillation relies on: dataset, selection (key, or null for all real samples), network, count,
    epochs, names and shapes of the parameters. Its table holds the loss of every expert and epoch. Raises
    MissingArtifact naming the experts that have not been trained.

    Args:
        dataset_uri: the ingested data set.
        selection_uri: the static selection, or None for the whole train split.
        config: how experts are trained.
        network: their architecture.
        root: storage root.
    """
    dataset_uri = as_uri(dataset_uri)
    selection_uri = optional_uri(selection_uri)
    config = model_of(ExpertsConfig, config)
    network = model_of(NetworkConfig, network)
    root = as_uri(root)
    plan = Plan.of(dataset_uri, selection_uri, config, network, root)
    key = content_key(BUFFER, VERSION, training=plan.key, count=config.count)
    uri = join(plan.folder, "buffers", key)
    if there_already(uri, BUFFER, key, shown=True) is not None:
        return uri
    experts = _experts(plan, config.count)
    facts = {
        "dataset": plan.dataset.fingerprint,
        "selection": plan.selection,
        "training": plan.key,
        "network": network.model_dump(mode="json"),
        "count": config.count,
        "epochs": config.epochs,
        "samples": len(plan.ids),
        "parameters": parameter_shapes(build(network, plan.dataset.shape, plan.dataset.classes)),
    }
    origin = {"dataset": plan.dataset.fingerprint, "selection": plan.selection}
    file = TableFile(TABLE, pa.table(_columns(experts), schema=EXPERTS), EXPERTS, origin)
    parents = {**plan.parents, **{f"expert {number}": expert.uri for number, expert in enumerate(experts)}}
    settings = {**training_settings(config, network), "count": config.count}
    return publish_table(uri, BUFFER, key, file, config=settings, parents=parents, facts=facts)


def _experts(plan: Plan, count: int) -> list[Artifact]:
    """The artifacts of all experts, or MissingArtifact."""
    found = [find(expert_uri(plan.folder, number), EXPERT, expert_key(plan.key, number)) for number in range(count)]
    missing = [str(number) for number, artifact in enumerate(found) if artifact is None]
    if missing:
        raise MissingArtifact(
            f"experts {', '.join(missing)} of {count} have not been trained (expected below {plan.folder}): run train_expert for them first"
        )
    return [artifact for artifact in found if artifact is not None]


def _columns(experts: list[Artifact]) -> dict[str, list[float]]:
    rows = list(_rows(experts))
    return {name: [row[place] for row in rows] for place, name in enumerate(EXPERTS.names)}


def _rows(experts: list[Artifact]) -> Iterator[tuple[int, int, float]]:
    for number, expert in enumerate(experts):
        for epoch, loss in enumerate(expert.fact("losses")):
            yield number, epoch, loss
