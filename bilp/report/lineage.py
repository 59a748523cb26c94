"""Section: which artifacts the page rests on, and with which versions they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from bilp.artifacts import layout
from bilp.artifacts.artifact import Artifact
from bilp.artifacts.duration import SECONDS
from bilp.report.run_parents import ReportedArtifact
from bilp.report.wording import data_size

FROM_PAGE = "../../"
"""From the folder of a page to the root of its storage."""


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
    checksums: tuple[tuple[str, str, str], ...]
    """Name of a file, the way to it from the page ("" where there is none), and its checksum."""


def lineage(sources: Sequence[ReportedArtifact]) -> list[LineageRow]:
    """Every artifact in the order of the pipeline."""
    roots = {layout.root_of(source.artifact.uri) for source in sources}
    root = roots.pop() if len(roots) == 1 else None
    return [_row(source.stage, source.artifact, root) for source in sources]


@dataclass(frozen=True)
class TableLink:
    """A stored table and the way to it from the page."""

    title: str
    way: str


def table_links(sources: Sequence[ReportedArtifact]) -> list[TableLink]:
    """The tables of evaluations; none if the artifacts have no root in common."""
    rows = zip(sources, lineage(sources), strict=True)
    mine = [(source.stage, row) for source, row in rows if source.role.startswith("evaluation ")]
    return [
        TableLink(f"{stage}: {name}", way) for stage, row in mine for name, way, _ in row.checksums if way and name.endswith(".parquet")
    ]


def versions(sources: Sequence[ReportedArtifact]) -> list[tuple[str, str]]:
    """What made the artifacts; where they differ all variants are listed."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        for name, value in source.artifact.manifest.provenance.items():
            if value is not None and name != SECONDS:
                found.setdefault(name, {})[str(value)] = None
    return [(name, "; ".join(values)) for name, values in sorted(found.items())]


def _row(stage: str, artifact: Artifact, root: str | None) -> LineageRow:
    place = artifact.uri if root is None else layout.relative(artifact.uri, root)
    files = sorted(artifact.manifest.files.items())
    created = artifact.manifest.created_at[:19].replace("T", " ")
    size = data_size(sum(entry.size for _, entry in files))
    checksums = tuple(
        (name, "" if root is None else FROM_PAGE + quote(f"{place}/{entry.stored or name}"), entry.sha256) for name, entry in files
    )
    return LineageRow(stage, place, artifact.manifest.key, created, len(files), size, checksums)
