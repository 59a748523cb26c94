"""Whether a source is ingested in parts, and the plan of it: found again, or made from its listing."""

from __future__ import annotations

from typing import Any

from bilp.artifacts.artifact import content_key, plain
from bilp.config import IngestConfig
from bilp.config.clip_settings import SAMPLINGS
from bilp.config.sources import SOURCES
from bilp.data.contents import Contents, Source, check
from bilp.data.decoding_rules import conversion_of
from bilp.data.ingest_plan import KIND, PLANS, VERSION, IngestPlan, find_plan, publish_plan, rows_of_part
from bilp.data.listing import plain as absolute
from bilp.data.names import told_apart
from bilp.storage import objects

WINDOWS = 2
"""Version of what several windows of a video are: one answer in a test. At first each was a test sample of its own."""
AFTERWARDS = frozenset(
    (
        *("whitening", "whitening_epsilon", "normalization", "test_fraction", "split_seed", "on_corrupt", "most_corrupt", "order"),
        *("hold_out", "duplicates", "long_tail", "label_noise", "duplicates_added", "corrections"),
    )
)
"""Settings of what is done with decoded images: parts do not depend on them, but for clips on a seed (see `afterwards`)."""


def contents_and_plan(config: IngestConfig, source: Source, home: str, where: str) -> tuple[Contents, IngestPlan | None]:
    """What a source holds, and the plan of its ingestion; None for one that is ingested in one go, because it is small, or because
    no other process could read it.

    A source of which a plan is there is not listed again. Raises DataError if it is no data set.

    Args:
        config: Names the source.
        source: The same, opened.
        home: Folder of the data set.
        where: Names the source in messages.
    """
    settings, key = identity(config, source)
    uri = objects.join(home, PLANS, key)
    found = find_plan(uri, key)
    if found is not None:
        return found.contents, found
    contents = _distinct(source.read())
    check(contents, where)
    rows = None if SOURCES[config.source].from_python else rows_of_part(source, contents, conversion_of(config))
    return contents, None if rows is None else publish_plan(uri, key, source.name, contents, rows, settings)


def told(config: IngestConfig) -> str:
    """The source for messages."""
    return f"{config.source} {config.uri}" if config.uri else config.source


def identity(config: IngestConfig, source: Source) -> tuple[dict[str, Any], str]:
    """What decides which items there are and how they are decoded, and the key of that."""
    whole = config.model_copy(update={"uri": absolute(config.uri)}) if config.uri else config
    left_out = afterwards(config)
    settings = {name: value for name, value in plain(whole).items() if name not in left_out}
    return settings, content_key(KIND, VERSION, config=settings, source=source.signature(), **windows_version(config))


def windows_version(config: IngestConfig) -> dict[str, int]:
    """What keys say besides where several windows of a video are taken: how these are understood, which was otherwise once."""
    return {"windows": WINDOWS} if config.clips > 1 else {}


def afterwards(config: IngestConfig) -> frozenset[str]:
    """The settings that parts of this source do not depend on: which frames are taken may be drawn, with the seed of the test split."""
    source = SOURCES[config.source]
    return AFTERWARDS - {"split_seed"} if source.video_files and SAMPLINGS[config.sampling].draws else AFTERWARDS


def _distinct(contents: Contents) -> Contents:
    """The same with the id of a class behind its name where several have that name."""
    if contents.class_ids is None:
        return contents
    names = told_apart(contents.class_names, contents.class_ids)
    return Contents(names, contents.items, contents.class_ids, contents.notes, contents.facts, contents.absent)
