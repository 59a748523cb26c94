"""Another version of the program on a storage where one was killed in every publication: it goes on, and everything can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_pipeline import TINY, Finished, files, outcomes

from benchmarks.pairs import artifacts_in, damage, stored
from bilp.artifacts import provenance
from bilp.artifacts.artifact import Artifact
from bilp.artifacts.manifest_file import MANIFEST
from bilp.config import PipelineConfig
from flows.pipeline import pipeline

pytestmark = pytest.mark.slow

CONFIG = PipelineConfig.model_validate(TINY)
ELSEWHERE = {"commit": "0" * 40, "python": "3.99.0", "torch": "9.9"}


def artifacts(root: str) -> list[Artifact]:
    return artifacts_in(root, stored(root))


def checksums(root: str) -> dict[str, dict[str, str]]:
    """By place and name; less the page, which tells when what it shows was made."""
    return {
        artifact.uri: {name: entry.sha256 for name, entry in artifact.manifest.files.items()}
        for artifact in artifacts(root)
        if artifact.manifest.kind != "report"
    }


def another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    here = provenance._software()
    monkeypatch.setattr(provenance, "_software", lambda: {**here, **ELSEWHERE})


def test_another_version_goes_on_where_every_publication_was_killed(copied: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = checksums(copied.root)
    for number, artifact in enumerate(artifacts(copied.root)):
        Path(artifact.uri, MANIFEST).unlink()
        for name in artifact.manifest.files if number % 2 else ():
            Path(artifact.place(name)).write_bytes(b"of a version that computes something else")
    another_version(monkeypatch)
    report = pipeline(CONFIG, copied.root)

    assert Path(report).is_file()
    assert checksums(copied.root) == expected, "the results do not depend on who computes them"
    found = artifacts(copied.root)
    assert [damage(artifact) for artifact in found] == [None] * len(found)
    assert all(ELSEWHERE.items() <= artifact.manifest.provenance.items() for artifact in found)
    for artifact in found:
        names = {Path(artifact.place(name)) for name in artifact.manifest.files} | {Path(artifact.uri, MANIFEST)}
        assert {path for path in Path(artifact.uri).iterdir() if path.is_file()} - names <= {Path(artifact.uri, "run.json")}
    after = files(copied.root)
    with outcomes() as again:
        assert pipeline(CONFIG, copied.root) == report
    assert again == copied.again
    assert files(copied.root) == after


def test_nothing_but_the_manifest_tells_who_computed_it(copied: Finished) -> None:
    # Arrow writes its own version into every table, which nobody can keep it from.
    told = [value for name, value in provenance.provenance().items() if isinstance(value, str) and len(value) > 5 and name != "pyarrow"]
    assert len(told) >= 3
    for path in Path(copied.root).rglob("*"):
        if path.is_file() and path.name != MANIFEST and "reports" not in path.parts:
            content = path.read_bytes()
            assert not [value for value in told if value.encode() in content], path
    manifests = [json.loads(path.read_text()) for path in Path(copied.root).rglob(MANIFEST)]
    assert {"device", "threads", "cpu"} <= {name for manifest in manifests for name in manifest["provenance"]}
