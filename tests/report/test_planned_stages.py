"""What was planned, beside what the stages of a run took."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from page_reader import Page
from small_pipeline import NETWORK, Outcome, run_pipeline, small_config

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.duration import timed
from bilp.costs.data_counts import data_counts
from bilp.costs.gpu_profiles import CPU
from bilp.costs.run_plan import plan_of
from bilp.costs.speed import Speed
from bilp.report.collect import open_sources
from bilp.report.planned import planner
from bilp.storage import objects

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    distill = {"iterations": 4, "rounds": 2, "batch_real": 8, "network": NETWORK}
    with timed():
        return run_pipeline(
            small_config(arms=["unpruned", "bilp"], experiments=2, distill=distill), str(tmp_path_factory.mktemp("storage"))
        )


def test_each_stage_has_what_the_plan_says(outcome: Outcome) -> None:
    data = data_counts(outcome.config.ingest, listed=True)
    plan = plan_of(outcome.config, data, Speed(CPU, data), 1)
    rows = Page(objects.read(outcome.page()).decode()).table("Stage", "Time", "Planned", "Passes of a sample", "Over")
    told: dict[str, int] = {}
    for stage, _, planned, passes, _ in rows:
        assert bool(planned) == bool(passes) or stage == "Data set"
        word = stage.partition(":")[0]
        told[word] = told.get(word, 0) + int(passes.replace(",", "") or 0)
    expected = {stage: sum(unit.passes for unit in units) for stage, units in plan.stages.items()}
    assert told["Scores"] == expected["score"] > 0
    assert told["Synthetic set"] == expected["distill"] > 0
    assert told["Evaluation"] == expected["evaluate"] > 0
    assert len([row for row in rows if row[0].startswith("Synthetic set")]) == 4


def test_the_page_is_the_same_from_the_same_artifacts(outcome: Outcome, tmp_path: Path) -> None:
    uri = outcome.page()
    first = objects.read(uri)
    shutil.rmtree(Path(uri).parent)
    assert objects.read(outcome.page()) == first


def test_a_plan_that_cannot_be_made_leaves_the_page_without_it(outcome: Outcome) -> None:
    sources = open_sources(outcome.dataset, outcome.scores, outcome.selection, outcome.runs, outcome.evaluations)
    scores = next(source for source in sources.artifacts if source.role == "scores")
    assert planner(outcome.config, sources.artifacts)(scores, [scores.artifact]) is not None
    deep = outcome.config.evaluate.networks[0].model_copy(update={"depth": 8})  # more than such images can be halved
    unfit = outcome.config.model_copy(update={"evaluate": outcome.config.evaluate.model_copy(update={"networks": (deep,)})})
    assert planner(unfit, sources.artifacts)(scores, [scores.artifact]) is None
    assert planner(outcome.config, [])(scores, [open_artifact(outcome.dataset, "dataset")]) is None
