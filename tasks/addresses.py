"""Where the units of work (`flows.units.table`) publish: the URI of each one's artifact, from its arguments, before it has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import ROUND, SYNTHETIC, synthetic_uri
from bilp.config import BaselineName, EvaluateConfig, ExpertsConfig, NetworkConfig, ScoreConfig
from bilp.config.baselines import BASELINES
from bilp.config.evaluated_set import Block, EvaluatedSet

if TYPE_CHECKING:
    from bilp.data import Dataset


def trial(dataset_uri: str, config: ScoreConfig, trial: int, root: str) -> str:
    """Of a training trial; of its networks, which are published after it, if these are kept."""
    from bilp.scoring.kept_networks import networks_uri
    from bilp.scoring.trial_record import trial_uri

    uri = trial_uri(root, _dataset(dataset_uri).fingerprint, config, trial)
    return networks_uri(uri) if config.keep_networks else uri


def ingest_part(plan_uri: str, number: int) -> str:
    """Of a part of an ingestion."""
    from bilp.data.ingest_part import part_uri

    return part_uri(plan_uri, number)


def extended_trial(dataset_uri: str, config: ScoreConfig, trial: int, root: str) -> str:
    """Of a training trial that is extended to a later version of its data set."""
    from bilp.scoring.extension import extended_trial_uri

    return extended_trial_uri(dataset_uri, config, trial, root)


def predictions(dataset_uri: str, config: ScoreConfig, trial: int, root: str) -> str:
    """Of what the network of a training trial predicts."""
    from bilp.scoring.predictions import predictions_uri

    return predictions_uri(root, _dataset(dataset_uri).fingerprint, config, trial)


def expert(dataset_uri: str, selection_uri: str | None, config: ExpertsConfig, network: NetworkConfig, expert: int, root: str) -> str:
    """Of an expert trajectory."""
    from bilp.experts.files import expert_uri
    from bilp.experts.train_experts import Plan

    return expert_uri(Plan.of(dataset_uri, selection_uri, config, network, root).folder, expert)


def pretrained(run_uri: str, number: int) -> str:
    """Of a network that a run trains beforehand."""
    from bilp.distill.inputs import pretraining_of
    from bilp.distill.run import open_run

    return pretraining_of(run_uri, open_run(run_uri)).uri(number)


def synthetic_set(run_uri: str) -> str:
    """Of the synthetic set of a run."""
    return synthetic_uri(run_uri)


def last_round(run_uri: str, shard: int) -> str:
    """Of the last round of a shard."""
    from bilp.distill.part import open_part

    part = open_part(run_uri, shard)
    return part.place(ROUND, part.run.distill.rounds)


def teacher(dataset_uri: str, config: EvaluateConfig, root: str, selection_uri: str | None = None) -> str:
    """Of the network that gives soft labels and features."""
    from bilp.evaluate.teacher import teacher_uri

    return teacher_uri(root, _dataset(dataset_uri), config.teacher, config.seed, selection_uri)


def evaluated_baseline(
    dataset_uri: str, baseline: BaselineName, ipc: int, config: EvaluateConfig, root: str, selection_uri: str | None = None
) -> str:
    """Of the evaluation of a baseline."""
    from bilp.evaluate import address

    dataset = _dataset(dataset_uri)
    return address.of_baseline(root, config, baseline, ipc, dataset, address.selection_of(BASELINES[baseline], selection_uri, dataset)).uri


def evaluated_set(dataset_uri: str, synthetic_uri: str, arm: str, experiment: int, config: EvaluateConfig, root: str) -> str:
    """Of the evaluation of a synthetic set."""
    from bilp.evaluate import address

    synthetic = open_artifact(synthetic_uri, SYNTHETIC)
    config = address.as_learned(config, synthetic)
    return address.of_synthetic(root, config, arm, experiment, _dataset(dataset_uri), synthetic).uri


def evaluated_network(dataset_uri: str, subject: EvaluatedSet, block: Block, config: EvaluateConfig, root: str) -> str:
    """Of a block of an evaluation, which is no artifact but the trainings that the evaluation is made of."""
    from bilp.evaluate import address, training_blocks

    publication, _ = address.of_set(root, config, subject, _dataset(dataset_uri))
    network = publication.config.networks[block.network]
    return training_blocks.place(publication.parts_of(network).folder_of(network), block.first, block.last)


def _dataset(dataset_uri: str) -> Dataset:
    from bilp.data import open_dataset

    return open_dataset(dataset_uri)
