"""Section: which artifacts the page rests on, and with which versions they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bilp.artifacts import layout
from bilp.artifacts.artifact import Artifact
from bilp.report.collect import ReportedArtifact
from bilp.report.wording import data_size


@dataclass(frozen=True)
class LineageRow:
    """One artifact."""

    stage: str
    place: str
    """Relative to the storage root, as the page may be read elsewhere; absolute if the artifacts have no root in common."""
    key: str
    created: str
    files: int
    size: str
    checksums: tuple[tuple[str, str], ...]


def lineage(sources: Sequence[ReportedArtifact]) -> list[LineageRow]:
    """Every artifact in the order of the pipeline."""
    roots = {layout.root_of(source.artifact.uri) for source in sources}
    root = roots.pop() if len(roots) == 1 else None
    return [_row(source.stage, source.artifact, root) for source in sources]


def versions(sources: Sequence[ReportedArtifact]) -> list[tuple[str, str]]:
    """What made the artifacts; where they differ all variants are listed."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        for name, value in source.artifact.manifest.provenance.items():
            if value is not None:
                found.setdefault(name, {})[str(value)] = None
    return [(name, "; ".join(values)) for name, values in sorted(found.items())]


def _row(stage: str, artifact: Artifact, root: str | None) -> LineageRow:
    place = artifact.uri if root is None else layout.relative(artifact.uri, root)
    files = sorted(artifact.manifest.files.items())
    created = artifact.manifest.created_at[:19].replace("T", " ")
    size = data_size(sum(entry.size for _, entry in files))
    checksums = tuple((name, entry.sha256) for name, entry in files)
    return LineageRow(stage, place, artifact.manifest.key, created, len(files), size, checksums)
