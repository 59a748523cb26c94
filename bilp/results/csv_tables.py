"""Tables of results as CSV, for spreadsheets and for whoever reads no Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bilp.artifacts.artifact import Artifact, manifest_kind, open_artifact
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.errors import MissingArtifact
from bilp.results.find import Found, find
from bilp.results.places import PLACES, RUN, TRAININGS
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri
from bilp.storage.scratch import scratch_folder
from bilp.text.csv_text import write_csv
from bilp.text.escaping import spreadsheet

ROWS = 1 << 16
"""Rows that are held in memory."""
OF_A_PAGE = ("evaluation", "robustness", "selection", "scores", "reproduction")
"""Roles of those of a page's parents whose tables are results; the rest is what they were made from."""


def export_tables(key: Uri, out: Uri, root: Uri | None = None) -> list[str]:
    """Write every table of an artifact, a run or what a page shows as CSV below `out`, a path or s3://...; the URIs written.

    Each lies where it does in the storage: out/evaluations/KEY/evaluation.csv. Text that a spreadsheet would calculate is quoted, lists are
    written as JSON. Raises MissingArtifact if there is no table, and as `bilp.results.find.find` and `Artifact.local`.

    Args:
        key: what is exported, as `find` takes it.
        out: folder to write to.
        root: storage root, by default BILP_STORAGE.
    """
    found, out = find(key, root), as_uri(out)
    written = []
    for artifact in _artifacts(found):
        place = artifact.uri.removeprefix(found.root.rstrip("/")).strip("/")
        for name in sorted(name for name in artifact.manifest.files if name.endswith(".parquet")):
            written.append(objects.join(out, place, name.removesuffix(".parquet") + ".csv"))
            with scratch_folder("bilp-csv-") as folder:
                _write(artifact.local(name), folder / "table.csv")
                objects.upload(folder / "table.csv", written[-1])
    if not written:
        raise MissingArtifact(f"the {found.kind} at {found.uri} has no table: give the key of a page, a run, an evaluation or a selection")
    return written


def _artifacts(found: Found) -> Iterator[Artifact]:
    """The artifact itself; those of a run; of a page those whose tables are results, and those of its runs."""
    if found.kind == TRAININGS:
        return
    if found.kind == RUN:
        yield from _of_run(found.uri)
        return
    artifact = open_artifact(found.uri, found.kind)
    yield artifact
    if found.kind not in ("report", "reproduction"):
        return
    for role, uri in artifact.parents.items():
        kind = manifest_kind(uri)
        if kind is None:
            raise MissingArtifact(f"{found.uri} shows the {role} at {uri}, which is not there: run the command that made the page again")
        if role.partition(" ")[0] in OF_A_PAGE:
            yield open_artifact(uri, kind)
        elif kind == SYNTHETIC and "run" in (parents := open_artifact(uri, kind).parents):
            yield from _of_run(parents["run"])


def _of_run(uri: str) -> Iterator[Artifact]:
    """The rounds of a run and of its shards, and what was decided before each."""
    kinds = {place.parts[2:]: place.kind for place in PLACES if place.parts[:2] == (RUN + "s", "KEY")}
    for names, folder in _folders(uri, (), {pattern[: len(pattern) - left] for pattern in kinds for left in range(len(pattern))}):
        kind = kinds.get(names)
        if kind is not None and manifest_kind(folder) is not None:
            yield open_artifact(folder, kind)


def _folders(uri: str, names: tuple[str, ...], known: set[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Folders below a URI whose names are those of a pattern, with the pattern."""
    for name in objects.children(uri):
        for part in {name, "NUMBER"} if name.isdigit() else {name}:
            if (*names, part) in known:
                folder = objects.join(uri, name)
                yield (*names, part), folder
                yield from _folders(folder, (*names, part), known)


def _write(table: Path, target: Path) -> None:
    with target.open("w", encoding="utf-8", newline="") as file, pq.ParquetFile(table) as source:
        batches = source.iter_batches(ROWS)
        rows = (row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
        write_csv(file, source.schema_arrow.names, rows, _cell)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return spreadsheet(value) if isinstance(value, str) else value
