"""One pipeline run that the tests of this room share; it took place in this process, on a local folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pipeline import TINY, Finished, outcomes

from bilp.config import PipelineConfig


@pytest.fixture(autouse=True)
def _prefect(prefect_home: Path) -> None:
    pass


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> Finished:
    from flows.pipeline import pipeline

    root = str(tmp_path_factory.mktemp("pipeline") / "store")
    with outcomes() as first:
        report = pipeline(PipelineConfig.model_validate(TINY), root)
    return Finished(root, report, first)
