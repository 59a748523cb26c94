"""The top of the page: its title, what came out in a sentence, and when, which run, with which dials."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.artifacts.artifact import Artifact
from bilp.config import METHODS, PipelineConfig
from bilp.config.arms import pruning_note
from bilp.config.on_purpose import changes_on_purpose
from bilp.report.comparison import Training
from bilp.report.settings import DIALS, shown
from bilp.report.verdict import Amounts, verdict
from bilp.report.wording import count, dataset_title

TOLD_ALREADY = ("dataset", "method", "ipc")


def made(config: PipelineConfig, artifacts: Sequence[Artifact], key: str) -> str:
    """'28 November 2026, 04:12 UTC; run 3f2a91c0d4e5b6a7; keep 0.7, beta 0.2': the time is that of the last result.

    Dials at their defaults are left out, as are those that the title tells. A page without a key names no run.
    """
    fields = type(config).model_fields
    changed = [name for name in DIALS if name not in TOLD_ALREADY and getattr(config, name) != fields[name].default]
    dials = ", ".join(f"{name} {shown(getattr(config, name))}" for name in changed)
    last = max(artifact.manifest.created_at for artifact in artifacts)
    return "; ".join(part for part in (f"{last[:10]} {last[11:16]} UTC", f"run {key}" if key else "", dials) if part)


def title(name: str, config: PipelineConfig) -> str:
    """'Handwritten digits with 20 % symmetric label noise, DM, 1 image per class'; `name` is that of the data set."""
    changed = changes_on_purpose(config.ingest.model_dump(mode="json", include={"label_noise", "long_tail", "duplicates_added"}))
    called = f"{dataset_title(name)} with {changed}" if changed else dataset_title(name)
    return f"{called}, {METHODS[config.method].title}, {count(config.ipc, 'image')} per class"


def sentence(rows: Sequence[Training], amounts: Amounts, config: PipelineConfig) -> str:
    """What came out, and whether pruning could have a part in it."""
    return f"{verdict(rows, amounts)} {pruning_note(config)}".strip()
