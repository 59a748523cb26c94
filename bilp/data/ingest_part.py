"""A part of an ingestion: consecutive items of a plan, decoded and published.

datasets/<name>/parts/<key>/<number>/   the key is that of the plan

Files: train-00000.arrow or test-00000.arrow with the pixels, part.parquet (PART_INDEX), and ledger.json with the skipped files.
Without a decodable item there are no pixels. Facts: split, first (place of the first item in its split), items, skipped, shape of the
images, rows of each file of pixels, histogram [C, 256] of pixel values, largest value of 16-bit gray images.

A part depends on its plan alone, so whoever decodes it publishes the same: one process after the other, several workers, or another
one after a worker was killed. What is published is not decoded again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bilp.artifacts import parquet, tables
from bilp.artifacts.artifact import Artifact, content_key, find, there_already
from bilp.artifacts.publication import publish
from bilp.artifacts.table_rules import Rules
from bilp.config import IngestConfig
from bilp.data.contents import Contents, Skipped, Source
from bilp.data.convert import Converter, refuse
from bilp.data.damage import Damage, when_decoded
from bilp.data.decoding_rules import conversion_of
from bilp.data.ingest_plan import IngestPlan, Part, open_plan
from bilp.data.measure import image_digests, value_counts
from bilp.data.planning import told
from bilp.data.shards import Stored
from bilp.data.sources import open_source
from bilp.errors import DamagedArtifact
from bilp.progress import Progress, silent
from bilp.storage import objects, strict_json
from bilp.storage.scratch import scratch_folder
from bilp.storage.verification import again
from bilp.text.sample_words import speaking_of

KIND = "ingest_part"
PARTS = "parts"
"""Folder of the parts beside the plans."""
FILE, LEDGER = "part.parquet", "ledger.json"
VERSION = 1
"""Of what a part holds beside its pixels."""
THREADS = 16
"""Parts that are looked at together: on S3 each look waits for an answer."""
PART_INDEX = tables.declare(
    pa.schema([("place", pa.int64()), ("label", pa.int32()), ("origin", pa.string()), ("sha256", pa.string())]),
    Rules(ranges={"place": (0, 2**62), "label": (0, 2**31)}, ascending=("place",), texts={"sha256": "^[0-9a-f]{64}$"}),
)
"""One row for each decoded image: its place in the split of the source, class, where it came from, digest of its pixels."""


def part_uri(plan_uri: str, number: int) -> str:
    """Where a part of a plan is published."""
    home, _, key = plan_uri.rstrip("/").rsplit("/", 2)
    return objects.join(home, PARTS, key, f"{number:05d}")


def part_key(plan: IngestPlan, number: int) -> str:
    """Content key of a part."""
    return content_key(KIND, VERSION, plan=plan.artifact.manifest.key, part=number)


def ingest_part(config: IngestConfig, plan_uri: str, number: int, progress: Progress = silent) -> str:
    """Decode a part of a plan unless it is published; its URI.

    Raises DataError for images that do not go together, and if more of all parts is damaged than `config` allows, before and after it
    is decoded; StorageError if source or storage are out of reach.
    """
    plan = open_plan(plan_uri)
    uri = part_uri(plan_uri, number)
    if there_already(uri, KIND, part_key(plan, number)) is None:
        check_so_far(config, plan)
        with speaking_of(config.noun):
            decoded = decode_part(config, open_source(config), plan, plan.parts[number], progress)
        if decoded:
            check_so_far(config, plan)
    return uri


def check_so_far(config: IngestConfig, plan: IngestPlan) -> Damage:
    """What is missing or damaged by what the listing and all published parts say; parts are not looked at if there is no limit to it.

    Raises DataError if it is more than `config` allows of the whole, whatever the other parts hold; where nothing may be lost, that is
    anything that the listing lacks. Then damaged images are told together, when all are decoded.
    """
    if config.on_corrupt == "refuse":
        refuse(plan.contents.absent, told(config))
    damage = Damage(plan.contents, config, told(config))
    if damage.most is None:
        return damage
    published = published_parts(plan)
    with ThreadPoolExecutor(THREADS) as pool:
        for skipped in pool.map(lambda part: ledger_of(published[part], plan, part), published):
            damage.add(skipped)
    done, total = sum(part.stop - part.start for part in published), sum(map(len, plan.items.values()))
    damage.check(when_decoded(done, total))
    return damage


def ledger_of(artifact: Artifact, plan: IngestPlan, part: Part) -> list[Skipped]:
    """What was skipped of a published part of a plan, with the class of each.

    Ledgers of earlier versions name no classes: those are the plan's, at the places that the part's index does not have.
    """
    if LEDGER not in artifact.manifest.files:
        return []
    entries: list[Any] = strict_json.parse(artifact.read(LEDGER))
    skipped = [Skipped(**entry) for entry in entries]
    if all(entry.label is not None for entry in skipped):
        return skipped
    kept = artifact.table(FILE, PART_INDEX)["place"].to_numpy() - part.start
    labels = np.delete(plan.items_of(part).labels, kept).tolist()
    if len(labels) != len(skipped):
        raise DamagedArtifact(
            f"{artifact.uri}: {len(skipped):,} skipped and {len(kept):,} decoded are not the {part.stop - part.start:,} of this part: "
            f"{again(artifact.uri)}"
        )
    return [replace(entry, label=label) for entry, label in zip(skipped, labels, strict=True)]


def published_parts(plan: IngestPlan) -> dict[Part, Artifact]:
    """The parts that are published."""
    uris = {part: part_uri(plan.artifact.uri, part.number) for part in plan.parts}
    begun = set(objects.children(uris[plan.parts[0]].rpartition("/")[0]))
    there = [part for part, uri in uris.items() if uri.rpartition("/")[2] in begun]
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda part: find(uris[part], KIND, part_key(plan, part.number)), there)
        return {part: artifact for part, artifact in zip(there, found, strict=True) if artifact is not None}


def missing_parts(plan: IngestPlan) -> list[Part]:
    """The parts that are not published yet."""
    published = published_parts(plan)
    return [part for part in plan.parts if part not in published]


def decode_part(config: IngestConfig, source: Source, plan: IngestPlan, part: Part, progress: Progress) -> list[Skipped]:
    """Decode a part and publish it; what was skipped of it."""
    contents = Contents(plan.facts.class_names, {part.split: plan.items_of(part)})
    with scratch_folder("bilp-part-") as folder:
        converter = Converter(folder, conversion_of(config))
        stored = converter.run(source, contents, progress)[part.split]
        files: dict[str, bytes | Path] = {path.name: path for path in stored.paths}
        files[FILE] = parquet.encode(_index(stored, part), PART_INDEX, {"stage": KIND})
        if converter.skipped:
            files[LEDGER] = json.dumps([skipped.kept for skipped in converter.skipped], indent=1, ensure_ascii=False).encode()
        facts = {
            "split": part.split,
            "first": part.start,
            "items": part.stop - part.start,
            "skipped": len(converter.skipped),
            "rows": list(stored.rows),
            **_measured(stored),
            "largest": converter.depth.largest,
            "short": converter.depth.short,
        }
        uri = part_uri(plan.artifact.uri, part.number)
        publish(uri, KIND, part_key(plan, part.number), files, config={}, parents={"plan": plan.artifact.uri}, facts=facts)
    return converter.skipped


def _measured(stored: Stored) -> dict[str, Any]:
    if not stored.rows:
        return {"shape": None, "histogram": []}
    return {"shape": list(stored.shape), "histogram": value_counts(stored.paths, stored.shape).tolist()}


def _index(stored: Stored, part: Part) -> pa.Table:
    digests: Sequence[str] = image_digests(stored.paths, stored.shape) if stored.rows else []
    return pa.table(
        {
            "place": stored.places + part.start,
            "label": stored.labels,
            "origin": pa.array(stored.origins, pa.string()),
            "sha256": pa.array(digests, pa.string()),
        }
    )
