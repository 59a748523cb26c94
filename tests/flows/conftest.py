"""One pipeline run that the tests of this room share; it took place in this process, on a local folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_once import made_once
from tiny_pipeline import TINY, Finished, outcomes

from bilp.artifacts.manifest_file import MANIFEST
from bilp.config import PipelineConfig


@pytest.fixture(autouse=True)
def _prefect(prefect_home: Path) -> None:
    pass


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> Finished:
    from flows.pipeline import pipeline

    def run(folder: Path) -> Finished:
        root = str(folder / "store")
        with outcomes() as first:
            report = pipeline(PipelineConfig.model_validate(TINY), root)
        return Finished(root, report, first)

    return made_once(tmp_path_factory, "shared-run", Finished, run)


@pytest.fixture
def finished(shared_run: Finished) -> Iterator[Finished]:
    """To be read: whoever computes something else in it takes `copied`, for the next test may choose among the artifacts here."""
    made = _artifacts(shared_run.root)
    assert made, "the run left artifacts"
    yield shared_run
    assert _artifacts(shared_run.root) == made, "this test changed which artifacts are in the run that all tests share"


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Finished:
    """A copy of the shared run that a test may add to."""
    root = str(tmp_path / "copied")
    shutil.copytree(finished.root, root)
    return replace(finished, root=root, report=finished.report.replace(finished.root, root))


def _artifacts(root: str) -> set[str]:
    return {str(file.relative_to(root)) for file in Path(root).rglob(MANIFEST)}
