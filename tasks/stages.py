"""The tasks, in the order of the pipeline; each calls one function of bilp and returns the URI of what that published.

Those that any worker can carry out are rows of `flows.units.table`; what is written here of their parameters is what Prefect's form shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bilp.artifacts.artifact import published_at
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import synthetic_uri
from bilp.config import (
    BaselineName,
    DistillConfig,
    EvaluateConfig,
    ExpertsConfig,
    IngestConfig,
    NetworkConfig,
    PipelineConfig,
    PruneConfig,
    ReselectConfig,
    ScoreConfig,
)
from bilp.config.base import Count, Positive
from bilp.config.evaluated_set import Block, EvaluatedSet
from bilp.config.import_options import ImportOptions
from bilp.storage.objects import exists, join
from tasks import report_links, result_words, steps, terminal
from tasks.execution import device
from tasks.parameters import DatasetUri, Label, RunUri
from tasks.progress_bars import progress
from tasks.run_display import tell
from tasks.run_lines import tell_round
from tasks.task import stage
from tasks.ui_artifacts import show_accuracy, show_dropped, show_kept, show_link, show_source, show_synthetic


@stage("ingest {config.source}", steps.whole("ingest", "ingest {config.source}"), result_words.images)
def read_source(config: IngestConfig, root: str) -> str:
    """Turn a source into a dataset; the URI of the record of the source. What there is to know of it is said each time."""
    from bilp.data.ingestion import read_source
    from bilp.data.source_record import open_record

    uri = read_source(config, root, progress())
    for line in open_record(uri).lines():
        terminal.say(f"          {line}")
    show_source(uri)
    return uri


@stage("plan {config.source}", steps.beside("ingest", "ingest {config.source}", "listing"))
def plan_source(config: IngestConfig, root: str) -> str:
    """Divide a large source into parts; the plan's URI, empty for a source that is ingested in one go."""
    from bilp.data.ingestion import plan_source

    return plan_source(config, root) or ""


@stage("ingest part {number}", steps.one_of("ingest", "ingest {config.source}", "part", "number", lambda given: given["parts"]))
def ingest_part(config: IngestConfig, plan_uri: str, number: Count, parts: Positive, root: str) -> str:
    """Decode one part of a large source.

    Args:
        config: Where the real images come from.
        plan_uri: The plan of its ingestion.
        number: Number of the part, from 0.
        parts: How many there are.
    """
    from bilp.data.ingest_part import ingest_part

    return ingest_part(config, plan_uri, number, progress())


@stage("whiten {config.source}", steps.whole("ingest", "whiten {config.source}"))
def whiten(config: IngestConfig, record_uri: str) -> str:
    """Fit the whitening of the dataset that a record leads to; the URI of the whitened one."""
    from bilp.data.ingestion import dataset_of

    return dataset_of(record_uri, config, progress())


def dataset_of(config: IngestConfig, record_uri: str) -> str:
    """The URI of the dataset that a record leads to, whitened by a task of its own if the configuration says so."""
    from bilp.data.source_record import open_record

    return whiten(config, record_uri) if config.whitening != "none" else open_record(record_uri).dataset_uri


@stage("score trial {trial}", steps.one_of("score", "score", "trial", "trial", lambda given: given["config"].trials))
def score_trial(dataset_uri: DatasetUri, config: ScoreConfig, trial: Count, root: str) -> str:
    """One training trial that records every sample's loss.

    Args:
        config: What is trained and recorded.
        trial: Number of the trial, from 0; each has its own random stream.
    """
    from bilp.scoring.trial import score_trial

    return score_trial(dataset_uri, config, trial, root, device(), progress())


@stage(
    "record predictions of trial {trial}",
    steps.one_of("score", "score", "trial", "trial", lambda given: given["config"].trials),
)
def record_predictions(dataset_uri: DatasetUri, config: ScoreConfig, trial: Count, root: str) -> str:
    """What the network of a training trial predicts for every sample; a trial that was scored without it is trained once more.

    Args:
        config: What is trained and recorded.
        trial: Number of the trial, from 0.
    """
    from bilp.scoring.trial import record_predictions

    return record_predictions(dataset_uri, config, trial, root, device(), progress())


@stage("summarize {config.trials} trials", steps.beside("score", "score", "summarizing", closes=True))
def summarize(dataset_uri: str, config: ScoreConfig, root: str) -> str:
    """One row of criteria per sample, from all trials; the summary's URI."""
    from bilp.scoring.summary import summarize

    return summarize(dataset_uri, config, root)


@stage("prune by {config.criterion}", steps.whole("prune", "prune"), result_words.kept)
def prune(dataset_uri: str, scores_uri: str | None, config: PruneConfig, root: str) -> str:
    """Decide which samples of each class stay; the selection's URI."""
    from bilp.pruning.prune import prune

    uri = prune(dataset_uri, scores_uri, config, root, device(), progress())
    show_kept(uri)
    return uri


@stage("choose {label}", steps.whole("prune", "choose {label}"), result_words.kept)
def choose_samples(
    samples: str, label: str, dataset_uri: str, record_uri: str | None, selection_uri: str | None, seed: int, root: str
) -> str:
    """The real samples of an arm that takes others than static pruning keeps; the selection's URI.

    Args:
        samples: Their name in `bilp.config.arm_entries.SAMPLES`.
        label: What displays call them.
        dataset_uri: The real images.
        record_uri: The record of their source, where it is known.
        selection_uri: What static pruning keeps.
        seed: Of a random draw.
        root: Where results lie.
    """
    from bilp.pruning.chosen import Available, choose

    uri = choose(samples, Available(dataset_uri, record_uri, selection_uri, seed, root))
    assert uri is not None, "all samples need no task"
    return uri


@stage("expert {expert} of {label}", steps.one_of("experts", "experts of {label}", "expert", "expert", lambda given: given["config"].count))
def train_expert(
    dataset_uri: DatasetUri,
    selection_uri: str | None,
    config: ExpertsConfig,
    network: NetworkConfig,
    expert: Count,
    root: str,
    label: Label = "all samples",
) -> str:
    """One expert trajectory, for methods that imitate training.

    Args:
        selection_uri: Samples that it learns; if empty, all.
        config: How it is trained.
        network: What is trained.
        expert: Number of the expert, from 0; each has its own random streams.
    """
    from bilp.experts.train_experts import train_expert

    return train_expert(dataset_uri, selection_uri, config, network, expert, root, device(), progress())


@stage("collect {config.count} experts of {label}", steps.beside("experts", "experts of {label}", "collecting", closes=True))
def collect_experts(
    dataset_uri: str, selection_uri: str | None, config: ExpertsConfig, network: NetworkConfig, root: str, label: str
) -> str:
    """Name the experts that belong together; the buffer's URI."""
    from bilp.experts.train_experts import collect_experts

    return collect_experts(dataset_uri, selection_uri, config, network, root)


@stage("register {label}", steps.whole("distill", "register {label}", quiet=True))
def start_run(
    dataset_uri: str,
    selection_uri: str | None,
    config: DistillConfig,
    reselect: ReselectConfig,
    root: str,
    label: str = "run",
    experts_uri: str | None = None,
    teacher_uri: str | None = None,
    ranking_uri: str | None = None,
) -> str:
    """Register a run, or find the one that is registered; its URI."""
    from bilp.distill import start_run

    return start_run(dataset_uri, selection_uri, config, reselect, root, experts_uri, teacher_uri, ranking_uri)


@stage("pretrained network {number} of {label}", steps.beside("distill", "distill {label}", "pretraining"))
def pretrain_network(run_uri: RunUri, number: Count, label: Label = "run") -> str:
    """One of the networks that a distillation by idc or dream trains beforehand.

    Args:
        number: Number of the network, from 0; each has its own random streams.
    """
    from bilp.distill import pretrain_network

    return pretrain_network(run_uri, number, device(), progress())


def untrained(run_uri: str) -> list[int]:
    """Numbers of the pretrained networks that a run still lacks."""
    from bilp.distill import pretraining

    return pretraining.untrained(run_uri)


@stage("reselect {label} round {round_number}/{rounds}", steps.beside("distill", "distill {label}", "measuring effects"))
def reselect_round(run_uri: str, round_number: int, rounds: int, label: str = "run", shard: int | None = None) -> str:
    """Measure causal effects and decide which samples sit this round out; the URI of what was measured."""
    from bilp.distill import reselect_round

    return reselect_round(run_uri, round_number, device(), progress(), shard)


@stage("distill {label} round {round_number}/{rounds}", steps.distill_round)
def distill_round(run_uri: str, round_number: int, rounds: int, label: str = "run", shard: int | None = None) -> str:
    """Advance the synthetic images by one round; the URI of its checkpoint."""
    from bilp.distill import distill_round

    uri = distill_round(run_uri, round_number, device(), progress(), shard)
    tell(tell_round, uri, round_number, rounds)
    return uri


@stage("merge {label} round {round_number}/{rounds}", steps.beside("distill", "distill {label}", "merging shards"))
def merge_round(run_uri: str, round_number: int, rounds: int, label: str = "run") -> str:
    """Join what the shards of a run published in a round; the URI of the whole round."""
    from bilp.distill import merge_round

    return merge_round(run_uri, round_number)


def is_complete(run_uri: str) -> bool:
    """Whether every round of a run, and its synthetic set, are there already: then no round needs a task of its own."""
    return exists(join(synthetic_uri(run_uri), MANIFEST)) and has_all_rounds(run_uri)


def has_all_rounds(run_uri: str, shard: int | None = None) -> bool:
    """Whether every round of a run, or of one of its shards, is there. Raises DamagedArtifact if one is not whole."""
    from bilp.distill import round_files

    return round_files.is_complete(run_uri, shard)


@stage("finish {label}", steps.beside("distill", "distill {label}", "finishing", closes=True))
def finish_run(run_uri: str, label: str = "run") -> str:
    """Publish the synthetic set of a run that went through all its rounds; its URI."""
    from bilp.distill import finish_run

    uri = finish_run(run_uri)
    show_synthetic(uri)
    show_dropped(run_uri)
    return uri


@stage("train teacher{learned}", steps.whole("evaluate", "train teacher"))
def train_teacher(dataset_uri: DatasetUri, config: EvaluateConfig, root: str, selection_uri: str | None = None, learned: Label = "") -> str:
    """The network that gives soft labels, features by which real images are chosen, and its opinion of crops of them.

    Args:
        config: Its settings are those under teacher.
        selection_uri: Samples that it learns; if empty, all.
        learned: What displays say of these.
    """
    from bilp.evaluate import train_teacher

    return train_teacher(dataset_uri, config.teacher, config.seed, root, device(), progress(), selection_uri)


@stage("evaluate {arm} {experiment}", steps.evaluated_set, result_words.accuracy)
def evaluate_synthetic(dataset_uri: DatasetUri, synthetic_uri: str, arm: str, experiment: Count, config: EvaluateConfig, root: str) -> str:
    """A pool of networks trained on a synthetic set and tested on real images.

    Args:
        synthetic_uri: The synthetic set of a run.
        arm: The arm of the comparison that it belongs to.
        experiment: Number of the distillation within the arm, from 0.
        config: Networks, their training, seeds.
    """
    from bilp.evaluate import evaluate_synthetic

    return evaluate_synthetic(dataset_uri, synthetic_uri, arm, experiment, config, root, device(), progress())


@stage("evaluate baseline {baseline}", steps.evaluated_baseline, result_words.accuracy)
def evaluate_baseline(
    dataset_uri: DatasetUri,
    baseline: BaselineName,
    ipc: Positive,
    config: EvaluateConfig,
    root: str,
    selection_uri: str | None = None,
) -> str:
    """The same on real images: all of them, or random subsets.

    Args:
        baseline: All images, or how they are chosen.
        ipc: Images per class of a choice.
        config: Networks, their training, seeds.
        selection_uri: What static pruning keeps, for baselines that take images from it.
    """
    from bilp.evaluate import evaluate_baseline

    return evaluate_baseline(dataset_uri, baseline, ipc, config, root, device(), progress(), selection_uri)


@stage("train {subject.title}, network {block.network}, seeds {block.first} to {block.last}", steps.evaluated_block)
def evaluate_network(dataset_uri: DatasetUri, subject: EvaluatedSet, block: Block, config: EvaluateConfig, root: str) -> str:
    """Some of the trainings of an evaluation, whose table is published by whoever finds them all.

    Args:
        subject: The synthetic set or the real images that networks are trained on.
        block: Which network, with which seeds.
        config: Networks, their training, seeds: of the whole evaluation.
    """
    from bilp.evaluate import evaluate_network

    return evaluate_network(dataset_uri, subject, block, config, root, device(), progress())


@stage("robustness scores", steps.whole("evaluate", "robustness scores"))
def robustness(evaluation_uris: dict[str, list[str]], root: str) -> str:
    """The scores of DD-Ranking from evaluations by variant; the table's URI."""
    from bilp.evaluate.robustness import VARIANTS, robustness

    return robustness({variant: evaluation_uris[variant] for variant in VARIANTS}, root)


@stage("report", steps.whole("report", "report"))
def report(
    config: PipelineConfig,
    dataset_uri: str,
    scores_uri: str | None,
    selection_uri: str | None,
    runs: Mapping[str, Sequence[str]],
    evaluation_uris: Sequence[str],
    root: str,
    robustness_uri: str | None = None,
    record_uri: str | None = None,
    suspects_uri: str | None = None,
    search_uri: str | None = None,
) -> str:
    """Write the page; the URI of report.html. `runs` holds run URIs by arm, `record_uri` leads to the record of the source, and
    `search_uri` to a search that found settings."""
    from bilp.evaluate import summary
    from bilp.report import report

    began = datetime.now(UTC)
    shown = [*evaluation_uris, *([robustness_uri] if robustness_uri else [])]
    uris = (dataset_uri, scores_uri, selection_uri, runs, shown, root)
    uri = report(config, *uris, record_uri=record_uri, suspects_uri=suspects_uri, search_uri=search_uri)
    created = published_at(uri.rpartition("/")[0])
    if created is not None and datetime.fromisoformat(created) >= began.replace(microsecond=0):
        report_links.refresh_index(root)
    show_accuracy(summary(evaluation_uris))
    show_link(uri)
    return uri


@stage("compare with {recipe}")
def compare_with_published(recipe: str, config: PipelineConfig, evaluation_uris: Sequence[str], root: str) -> str:
    """Publish the distance to a published value and every deviation from its protocol; the artifact's URI."""
    from bilp.evaluate import reproduction

    return reproduction.publish_reproduction(recipe, config, evaluation_uris, device(), root)


@stage("import {options.file}")
def import_set(dataset_uri: str, options: ImportOptions, root: str) -> str:
    """Convert a published set for a dataset; the URI of the synthetic set."""
    from bilp.exchange import import_set

    uri = import_set(dataset_uri, options, root)
    show_synthetic(uri)
    return uri
