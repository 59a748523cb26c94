"""Section: which artefacts the page rests on, and with which versions they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bilp.manifest import Artefact
from bilp.report.collect import Source
from bilp.report.wording import data_size


@dataclass(frozen=True)
class LineageRow:
    """One artefact."""

    stage: str
    uri: str
    key: str
    created: str
    files: int
    size: str
    checksums: tuple[tuple[str, str], ...]


def lineage(sources: Sequence[Source]) -> list[LineageRow]:
    """Every artefact in the order of the pipeline."""
    return [_row(source.stage, source.artefact) for source in sources]


def versions(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """What made the artefacts; where they differ all variants are listed."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        for name, value in source.artefact.manifest.provenance.items():
            if value is not None:
                found.setdefault(name, {})[str(value)] = None
    return [(name, "; ".join(values)) for name, values in sorted(found.items())]


def _row(stage: str, artefact: Artefact) -> LineageRow:
    files = sorted(artefact.manifest.files.items())
    created = artefact.manifest.created_at[:19].replace("T", " ")
    size = data_size(sum(entry.size for _, entry in files))
    checksums = tuple((name, entry.sha256) for name, entry in files)
    return LineageRow(stage, artefact.uri, artefact.manifest.key, created, len(files), size, checksums)
