"""Section: which artefacts the page rests on, and with which versions they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bilp.artifacts import layout
from bilp.artifacts.artifact import Artefact
from bilp.report.collect import Source
from bilp.report.wording import data_size


@dataclass(frozen=True)
class LineageRow:
    """One artefact."""

    stage: str
    place: str
    """Relative to the storage root, as the page may be read elsewhere; absolute if the artefacts have no root in common."""
    key: str
    created: str
    files: int
    size: str
    checksums: tuple[tuple[str, str], ...]


def lineage(sources: Sequence[Source]) -> list[LineageRow]:
    """Every artefact in the order of the pipeline."""
    roots = {layout.root_of(source.artefact.uri) for source in sources}
    root = roots.pop() if len(roots) == 1 else None
    return [_row(source.stage, source.artefact, root) for source in sources]


def versions(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """What made the artefacts; where they differ all variants are listed."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        for name, value in source.artefact.manifest.provenance.items():
            if value is not None:
                found.setdefault(name, {})[str(value)] = None
    return [(name, "; ".join(values)) for name, values in sorted(found.items())]


def _row(stage: str, artefact: Artefact, root: str | None) -> LineageRow:
    place = artefact.uri if root is None else layout.relative(artefact.uri, root)
    files = sorted(artefact.manifest.files.items())
    created = artefact.manifest.created_at[:19].replace("T", " ")
    size = data_size(sum(entry.size for _, entry in files))
    checksums = tuple((name, entry.sha256) for name, entry in files)
    return LineageRow(stage, place, artefact.manifest.key, created, len(files), size, checksums)
