"""Versions of a source that a storage knows, and which of them were scored."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.arrivals.arrivals_page import page_uri
from bilp.artifacts.artifact import Artifact, find, manifest_kind, open_artifact
from bilp.config import IngestConfig, ScoreConfig
from bilp.data import open_dataset
from bilp.data.ingestion import dataset_of
from bilp.data.source_record import KIND as RECORD
from bilp.errors import MissingArtifact
from bilp.scoring.extension import KIND as GROWTH
from bilp.scoring.extension import extended_summary, open_growth, settings_of
from bilp.scoring.kept_networks import open_networks
from bilp.scoring.summary import KIND as SUMMARY
from bilp.scoring.summary import summary_key
from bilp.scoring.trial_record import TRIAL, score_uri, training_settings
from bilp.storage import objects
from bilp.storage.objects import join


@dataclass(frozen=True)
class Known:
    """What a storage knows of a version of a source."""

    page: str | None
    """The page about it, if it was reported."""
    scores: str | None
    """The summary of its scores, if it was scored."""
    before: str | None
    """The summary of the version before, if there is one that was scored."""
    extendable: str | None
    """The same, if networks were kept."""


def known_versions(dataset_uri: str, record_uri: str, ingest: IngestConfig, config: ScoreConfig, root: str) -> Known:
    """What is known of a version and of the one before.

    Args:
        dataset_uri: The version.
        record_uri: The record of its source.
        ingest: How the source is read.
        config: How it is scored.
        root: Storage root.
    """
    scores = scored_as(open_dataset(dataset_uri).fingerprint, config, root)
    page = None if scores is None else page_uri(scores, root)
    reported = page if page is not None and objects.exists(page) else None
    before = None
    for record in earlier_records(record_uri) if reported is None else ():
        before = scored_as(open_dataset(dataset_of(record.uri, ingest)).fingerprint, config, root)
        if before is not None:
            break
    extendable = before if before is not None and can_be_extended(before) else None
    usable = scores if scores is not None and can_be_extended(scores) else None
    return Known(reported, usable, before, extendable)


def earlier_records(record_uri: str) -> list[Artifact]:
    """Records of the same source, read by the same settings, that lead to other data sets; the newest first."""
    record = open_artifact(record_uri, RECORD)
    home, own = record.uri.rsplit("/", 1)
    found = [open_artifact(join(home, name), RECORD) for name in objects.children(home) if name != own and manifest_kind(join(home, name))]
    same = [
        each
        for each in found
        if each.manifest.config == record.manifest.config
        and each.fact("fingerprint") != record.fact("fingerprint")
        and each.manifest.created_at <= record.manifest.created_at
    ]
    return sorted(same, key=lambda each: (each.manifest.created_at, each.uri), reverse=True)


def scored_as(fingerprint: str, config: ScoreConfig, root: str) -> str | None:
    """The summary of a data set that was scored by these settings, or that such scores were extended to; None if there is none."""
    own = join(score_uri(root, fingerprint, config), "summary", summary_key(fingerprint, config))
    if find(own, SUMMARY) is not None:
        return own
    folder = join(root, "scores", fingerprint)
    for name in objects.children(folder):
        uri = join(folder, name, "growth")
        if manifest_kind(uri) != GROWTH:
            continue
        growth = open_growth(uri)
        if _shaping(settings_of(growth)) == _shaping(config):
            summary = extended_summary(growth, config)
            if summary is not None and find(summary, SUMMARY) is not None:
                return summary
    return None


def can_be_extended(summary_uri: str) -> bool:
    """Whether the networks of a summary's trials were kept."""
    summary = open_artifact(summary_uri, SUMMARY)
    try:
        for role, uri in summary.parents.items():
            if role.startswith("trial "):
                open_networks(open_artifact(uri, TRIAL))
    except MissingArtifact:
        return False
    return True


def _shaping(config: ScoreConfig) -> dict[str, object]:
    return {**training_settings(config), "trials": config.trials}
