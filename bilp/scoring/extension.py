"""Stage extend: scores of a data set that grew, from those of an earlier version of it. Only what is new is evaluated.

The networks of the earlier trials, kept after every epoch, say of each new sample what they would have recorded of it, by the same
function; rows of samples that were there before are taken over, and those of samples that left are left out. From these records a
summary is made as from any others. Networks see new images as they saw their own: normalized by the constants of the data set that
they learned. Where too much has changed (`bilp.scoring.drift`) nothing is extended, and the reasons are published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa

from bilp.artifacts.artifact import Artifact, content_key, find, manifest_kind, open_artifact, there_already
from bilp.artifacts.facts import GrowthFacts, SummaryFacts
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import SUMMARY, declare
from bilp.config import ScoreConfig
from bilp.config.criteria import EARLY_LOSS
from bilp.config.given import model_of
from bilp.data import Dataset, open_dataset
from bilp.data.store import KIND as DATASET
from bilp.errors import ConfigError, MissingArtifact
from bilp.nets.arithmetic import arithmetic
from bilp.progress import Progress, silent
from bilp.scoring import drift
from bilp.scoring.extended_trial import Grown, extended_trial, trial_of
from bilp.scoring.kept_networks import open_networks
from bilp.scoring.summary import FILE, identity, open_summary, records, summarized_criteria, summary_key, summary_table
from bilp.scoring.summary import KIND as SCORES
from bilp.scoring.summary import VERSION as SUMMARY_VERSION
from bilp.scoring.summary import facts as summary_facts
from bilp.scoring.trial_record import TRIAL, as_scored, score_uri, scores_uri, training_settings
from bilp.scoring.versions import Growth, growth
from bilp.storage.objects import Uri, as_uri, join

VERSION = 1
KIND = "score_growth"
GROWTH_FILE = "growth.parquet"
EVERYTHING = "all classes"

GROWN = declare(
    pa.schema(
        {
            "class_name": pa.string(),
            "before": pa.int64(),
            "taken": pa.int64(),
            "added": pa.int64(),
            "distance": pa.float64(),
            "tolerated": pa.float64(),
            "drifted": pa.bool_(),
        }
    ),
    Rules(
        ranges={**dict.fromkeys(("before", "taken", "added"), (0, 2**53)), "distance": (0.0, 1.0), "tolerated": (0.0, np.inf)},
        infinite=frozenset({"tolerated"}),
    ),
)
"""How each class grew, and how far scores of its new samples lie from those of the others; the last row is of all classes together."""


@dataclass(frozen=True)
class Plan:
    """Scores of a data set, and a later version of it."""

    config: ScoreConfig
    root: str
    dataset: Dataset
    base: Artifact
    """The summary that is extended."""
    earlier: Dataset

    @cached_property
    def trials(self) -> list[Artifact]:
        """The trials of the summary."""
        count = self.base.stated(SummaryFacts).trials
        return [open_artifact(self.base.parents[f"trial {number}"], TRIAL, {"trial": number}) for number in range(count)]

    @cached_property
    def networks(self) -> list[Artifact]:
        """The networks of each trial. Raises MissingArtifact where they were not kept."""
        return [open_networks(trial) for trial in self.trials]

    @cached_property
    def learned(self) -> Dataset:
        """The data set that the networks learned."""
        return open_dataset(self.networks[0].parents["dataset"])

    @cached_property
    def growth(self) -> Growth:
        """Which samples are new."""
        return growth(self.earlier, self.dataset)

    @cached_property
    def grown(self) -> Grown:
        """What a trial of the later version is made with."""
        return Grown(self.dataset, self.learned, self.growth, self.config, self.folder, self.facts)

    @property
    def key(self) -> str:
        """Key that stands for the extended scoring."""
        return extension_key(self.dataset.fingerprint, self.base.manifest.key)

    @property
    def folder(self) -> str:
        """Where its trials and summaries lie."""
        return scores_uri(self.root, self.dataset.fingerprint, self.key)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What every artifact of the extension tells about it."""
        return {
            "version": self.base.stated(SummaryFacts).version + 1,
            "onto": self.base.manifest.key,
            "training": self.key,
            "learned": self.learned.fingerprint,
            "taken": len(self.growth.taken),
            "added": len(self.growth.added),
            "removed": self.growth.removed,
            "unseen": int((growth(self.learned, self.dataset).earlier < 0).sum()),
        }


def extend_scores(
    dataset_uri: Uri, config: ScoreConfig | Mapping[str, Any], root: Uri, device: str = "cpu", progress: Progress = silent
) -> Artifact:
    """Score what is new in a data set since the version that `config.extend` names, unless too much has changed; what was found.

    `extended_summary` tells where the scores lie.

    Args:
        dataset_uri: The later version, as ingest published it.
        config: How the earlier version was scored; `extend` is its summary, or the data set itself.
        root: The storage's root.
        device: Where networks are evaluated.
        progress: Told the batches.

    Raises MissingArtifact if there are no such scores or their networks were not kept, and ConfigError for those of other settings.
    """
    config, root = model_of(ScoreConfig, config), as_uri(root)
    plan = _plan(open_dataset(as_uri(dataset_uri)), config, root)
    there = there_already(join(plan.folder, "growth"), KIND, plan.key, shown=True)
    if there is None:
        there = _judged(plan, device, progress)
    if extended_summary(there, config) is not None:
        _summarize(plan, device, progress)
    return there


def extend_trial(
    dataset_uri: Uri, config: ScoreConfig | Mapping[str, Any], trial: int, root: Uri, device: str = "cpu", progress: Progress = silent
) -> str:
    """One trial of the later version, for `extend_scores`, which takes those that are there; its URI.

    Args:
        dataset_uri: The later version, as ingest published it.
        config: How the earlier version was scored, and its summary.
        trial: Number of the trial, from 0.
        root: The storage's root.
        device: Where networks are evaluated.
        progress: Told the batches.

    Raises as `extend_scores`.
    """
    config, root = model_of(ScoreConfig, config), as_uri(root)
    plan = _plan(open_dataset(as_uri(dataset_uri)), config, root)
    with arithmetic(config.gpu, device):
        return extended_trial(plan.grown, plan.trials[trial], plan.networks[trial], device, progress).uri


def extended_trial_uri(dataset_uri: Uri, config: ScoreConfig, trial: int, root: Uri) -> str:
    """Where that trial lies. Raises as `extend_scores`."""
    return trial_of(_plan(open_dataset(as_uri(dataset_uri)), config, as_uri(root)).folder, trial)


def trials_to_extend(dataset_uri: Uri, config: ScoreConfig, root: Uri) -> int:
    """How many trials `extend_scores` would evaluate what is new by; 0 where it has been judged, or where no look at scores is needed to
    know that everything is scored again. Raises as `extend_scores`."""
    plan = _plan(open_dataset(as_uri(dataset_uri)), config, as_uri(root))
    judged = find(join(plan.folder, "growth"), KIND, plan.key) is not None
    return 0 if judged or _changed(plan) else len(plan.trials)


def extended_summary(growth: Artifact, config: ScoreConfig) -> str | None:
    """The URI of the summary of extended scores, or None if everything has to be scored again."""
    facts = growth.stated(GrowthFacts)
    return None if facts.reasons else join(training_folder(growth.uri), "summary", _summary_key(facts.dataset, config, facts.training))


def _summary_key(fingerprint: str, config: ScoreConfig, training: str) -> str:
    return content_key("summarise", SUMMARY_VERSION, **identity(fingerprint, config, training))


def training_folder(growth_uri: str) -> str:
    """Where the trials and summaries of the extended scoring lie."""
    return growth_uri.rstrip("/").rsplit("/", 1)[0]


def extension_key(fingerprint: str, onto: str) -> str:
    """Key of the scores of a data set that extend those of the summary with key `onto`."""
    return content_key("extend", VERSION, dataset=fingerprint, onto=onto)


def growth_uri(fingerprint: str, onto: str, root: str) -> str:
    """Where it is told what such an extension found."""
    return join(scores_uri(root, fingerprint, extension_key(fingerprint, onto)), "growth")


def open_growth(uri: str) -> Artifact:
    """What was published about an extension. Raises MissingArtifact or DamagedArtifact."""
    return open_artifact(uri, KIND)


def base_summary(config: ScoreConfig, root: str) -> Artifact:
    """The summary that `config.extend` names. Raises as `extend_scores`."""
    uri = as_uri(str(config.extend))
    if manifest_kind(uri) == DATASET:
        fingerprint = open_dataset(uri).fingerprint
        place = join(score_uri(root, fingerprint, config), "summary", summary_key(fingerprint, config))
        if find(place, SCORES) is None:
            raise MissingArtifact(f"{uri} has not been scored by these settings: score it with --score.keep_networks, or name a summary")
        uri = place
    summary = open_summary(uri)
    found, wanted = settings_of(summary), as_scored(config)
    differing = [name for name in ScoreConfig.model_fields if getattr(found, name) != getattr(wanted, name)]
    shaping = {*training_settings(config), "trials"}
    if any(name in shaping for name in differing):
        listed = ", ".join(f"score.{name}" for name in differing if name in shaping)
        raise ConfigError(f"score.extend: {uri} was made with other settings ({listed}): give the same ones, or score anew")
    return summary


def settings_of(summary: Artifact) -> ScoreConfig:
    """How the trials of a summary were trained, and what of them it averages."""
    return model_of(ScoreConfig, {name: value for name, value in summary.manifest.config.items() if name in ScoreConfig.model_fields})


def _plan(dataset: Dataset, config: ScoreConfig, root: str) -> Plan:
    summary = base_summary(config, root)
    if summary.stated(SummaryFacts).dataset == dataset.fingerprint:
        raise ConfigError(f"score.extend: {summary.uri} is of this very data set: leave out score.extend")
    plan = Plan(config, root, dataset, summary, open_dataset(summary.parents["dataset"]))
    _ = plan.networks  # whether they are there is said before anything is computed
    return plan


def _judged(plan: Plan, device: str, progress: Progress) -> Artifact:
    """What grew and whether scores can be extended, published."""
    reasons = _changed(plan)
    table = _counted(plan)
    if not reasons:
        found = _drift(plan, device, progress)
        table = table.set_column(4, "distance", pa.array(found.distance)).set_column(5, "tolerated", pa.array(found.tolerated))
        table = table.set_column(6, "drifted", pa.array(found.drifted))
        names = [*plan.dataset.class_names, EVERYTHING]
        reasons = [
            f"scores of new images of {names[row]} lie {found.distance[row]:.2f} from those of the others, "
            f"{found.tolerated[row]:.2f} is tolerated"
            for row in np.flatnonzero(found.drifted)
        ]
    file = TableFile(GROWTH_FILE, table.cast(GROWN), GROWN, {"dataset": plan.dataset.fingerprint})
    facts = {**plan.facts, "dataset": plan.dataset.fingerprint, "samples": len(plan.dataset.train), "reasons": reasons}
    uri = join(plan.folder, "growth")
    publish_table(uri, KIND, plan.key, file, config=settings_of(plan.base), parents={"dataset": plan.dataset.uri}, facts=facts)
    return open_growth(uri)


def _changed(plan: Plan) -> list[str]:
    """Reasons to score everything again that need no look at scores."""
    before, now = plan.learned, plan.dataset
    if set(before.class_names) != set(now.class_names):
        return [f"the classes are others: {len(now.class_names)} instead of {len(before.class_names)}, or with other names"]
    if before.shape != now.shape:
        return [f"the images are others: {list(now.shape)} instead of {list(before.shape)}"]
    reasons = []
    unseen = plan.facts["unseen"] / len(now.train)
    if unseen > drift.MOST_UNSEEN:
        reasons.append(f"the kept networks learned {1 - unseen:.0%} of the images only; {1 - drift.MOST_UNSEEN:.0%} is the least")
    gone = growth(before, now).removed / len(before.train)
    if gone > drift.MOST_GONE:
        reasons.append(f"{gone:.0%} of the images that the kept networks learned have left; {drift.MOST_GONE:.0%} is the most")
    return reasons


def _counted(plan: Plan) -> pa.Table:
    """The table of classes without any comparison of scores."""
    classes = plan.dataset.classes
    labels, added = plan.dataset.train.labels.numpy(), plan.growth.added
    before = np.bincount(plan.earlier.train.labels.numpy(), minlength=plan.earlier.classes).tolist()
    named = dict(zip(plan.earlier.class_names, before, strict=True))
    counts = {
        "before": np.array([named.get(name, 0) for name in plan.dataset.class_names]),
        "taken": np.bincount(labels[plan.growth.taken], minlength=classes),
        "added": np.bincount(labels[added], minlength=classes),
    }
    return pa.table(
        {
            "class_name": [*plan.dataset.class_names, EVERYTHING],
            **{name: np.append(values, values.sum()).astype(np.int64) for name, values in counts.items()},
            "distance": np.zeros(classes + 1),
            "tolerated": np.full(classes + 1, np.inf),
            "drifted": np.zeros(classes + 1, dtype=np.bool_),
        },
        schema=GROWN,
    )


def _trials(plan: Plan, device: str, progress: Progress) -> list[Artifact]:
    """The trials of the later version, those that are there already untouched."""
    count = len(plan.trials)
    with arithmetic(plan.config.gpu, device):
        return [
            extended_trial(plan.grown, trial, networks, device, partial(_one_of, progress, number, count))
            for number, (trial, networks) in enumerate(zip(plan.trials, plan.networks, strict=True))
        ]


def _one_of(progress: Progress, number: int, count: int, done: int, total: int, note: str = "") -> None:
    """Progress of one of several trials as that of all."""
    progress(number * total + done, count * total, f"trial {number} {note}")


def _drift(plan: Plan, device: str, progress: Progress) -> drift.Drift:
    """Early losses of new samples against those of the samples that the networks learned."""
    labels = plan.dataset.train.labels.numpy()
    trials, config = _trials(plan, device, progress), settings_of(plan.base)
    losses = summary_table(labels, records(trials, config, len(labels)), config)[EARLY_LOSS].to_numpy().astype(np.float64)
    learned = growth(plan.learned, plan.dataset)
    old, new = learned.taken, plan.growth.added
    return drift.drift(losses[old], labels[old], losses[new], labels[new], plan.dataset.classes)


def _summarize(plan: Plan, device: str, progress: Progress) -> None:
    """Publish the summary of the extended trials, unless it is there."""
    fingerprint, config = plan.dataset.fingerprint, plan.config
    key = _summary_key(fingerprint, config, plan.key)
    uri = join(plan.folder, "summary", key)
    if there_already(uri, SCORES, key, shown=True) is not None:
        return
    trials = _trials(plan, device, progress)
    labels = plan.dataset.train.labels.numpy()
    table = summary_table(labels, records(trials, config, len(labels)), config)
    publish_table(
        uri,
        SCORES,
        key,
        TableFile(FILE, table, SUMMARY, {"dataset": fingerprint}),
        config=as_scored(config),
        parents={
            "dataset": plan.dataset.uri,
            "growth": join(plan.folder, "growth"),
            **{f"trial {number}": trial.uri for number, trial in enumerate(trials)},
        },
        facts={**summary_facts(fingerprint, len(labels), config, summarized_criteria(config)), "extended": plan.facts},
    )
