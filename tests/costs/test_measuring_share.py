"""The share of a run's work that measuring effects takes by default, of methods whose image steps meet no real sample."""

from __future__ import annotations

import pytest

from bilp.config import PipelineConfig
from bilp.config.arms import planned_runs
from bilp.costs.data_counts import data_counts
from bilp.costs.gpu_profiles import GPU_PROFILES
from bilp.costs.run_units import works_of
from bilp.costs.speed import Speed
from bilp.costs.work import MEASURED


@pytest.mark.parametrize(("iterations", "rounds"), [(4000, 10), (2000, 4), (1000, 2)])
@pytest.mark.parametrize("ipc", [1, 10])
def test_measuring_class_statistics_takes_the_share_of_the_work_that_is_meant(iterations: int, rounds: int, ipc: int) -> None:
    given = {
        "dataset": "cifar10",
        "method": "lpld",
        "ipc": ipc,
        "distill": {"iterations": iterations, "rounds": rounds},
        "arms": ["adaptive"],
    }
    config = PipelineConfig.model_validate(given)
    data = data_counts(config.ingest, listed=False)
    (run,), speed = planned_runs(config), Speed(GPU_PROFILES["h100"], data)
    network = speed.distilled_with(run.distill, config.evaluate.teacher.network)
    works = works_of(run, data.train, range(data.classes), network, speed)
    measured = sum(work.cost for work in works if work.what == MEASURED)
    share = measured / sum(work.cost for work in works if work.what == "synthetic")
    assert share == pytest.approx(0.045, rel=0.03)  # turns are whole samples


def test_a_very_short_run_measures_as_few_as_say_anything() -> None:
    short = PipelineConfig(dataset="digits", method="lpld")
    assert short.reselect.candidates_per_class == 16 and short.distill.iterations == 300  # fewer would say nothing
