"""What adaptive pruning drops by itself: two populations of losses are found, one is left alone, and the reason is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import bilp
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import SUMMARY
from bilp.config import PipelineConfig, ReselectConfig, ScoreConfig
from bilp.distill import open_run
from bilp.errors import ConfigError
from bilp.pruning.auto_reselect import auto_reselect, found_reselect
from bilp.pruning.two_parts import doubted, split
from bilp.report.settings import rerun_command
from bilp.scoring.summary import FILE, KIND, facts

AUTO = ReselectConfig(beta="auto", low_share="auto")


def _losses(wrong: float, count: int = 2000) -> np.ndarray:
    """Log-normal losses, of which a share lies around 2.5, as wrong labels do."""
    stream = np.random.default_rng(5)
    low = np.exp(stream.normal(-3.0, 0.9, count))
    high = np.exp(stream.normal(0.9, 0.25, count))
    return np.where(np.arange(count) < wrong * count, high, low)


@pytest.fixture
def summary(tmp_path: Path) -> Callable[..., str]:
    def publish(losses: np.ndarray, criteria: tuple[str, ...] = ("loss_init", "loss_converge")) -> str:
        count = len(losses)
        columns = {name: np.zeros(count) for name in SUMMARY.names}
        columns |= {"sample_id": np.arange(count), "label": np.arange(count) % 10, "loss_init": losses, "loss_converge": losses}
        table = pa.table({name: pa.array(values).cast(SUMMARY.field(name).type) for name, values in columns.items()}, schema=SUMMARY)
        file = TableFile(FILE, table, SUMMARY, {})
        key = "5" * 16
        uri = str(tmp_path / "summary" / key)
        told = facts("f" * 16, count, ScoreConfig(), criteria)
        publish_table(uri, KIND, key, file, config=ScoreConfig(), parents={}, facts=told)
        return uri

    return publish


@pytest.mark.parametrize("values", [np.array([1.0, 2.0, 10.0, 11.0, 12.0]), np.random.default_rng(3).normal(size=60)])
def test_the_split_is_the_best_of_all(values: np.ndarray) -> None:
    found = split(values)
    ordered = np.sort(values)
    errors = [sum(((part - part.mean()) ** 2).sum() for part in (ordered[:k], ordered[k:])) for k in range(1, len(ordered))]
    best = int(np.argmin(errors)) + 1
    assert ordered[best - 1] < found.threshold < ordered[best]
    assert found.high_mean == pytest.approx(ordered[best:].mean())


def test_equal_values_are_one_part_and_never_doubted() -> None:
    assert split(np.ones(5)).separation == 0.0
    assert not doubted(np.full(5, 3.0)).any()
    assert not doubted(np.zeros(5)).any()


@pytest.mark.parametrize("draw", ["normal", "uniform", "standard_exponential"])
def test_one_population_is_not_two(draw: str) -> None:
    values = getattr(np.random.default_rng(4), draw)(size=3000)
    assert not doubted(np.exp(values - values.mean() + 2.0)).any()


@pytest.mark.parametrize(
    ("wrong", "beta", "low_share"),
    [(0.0, 0.1, 0.5), (0.01, 0.1, 0.5), (0.1, 0.15, 0.0), (0.2, 0.3, 0.0), (0.4, 0.3, 0.0)],
)
def test_dirty_data_lose_the_largest_effects_and_clean_data_keep_the_default(
    summary: Callable[..., str], wrong: float, beta: float, low_share: float
) -> None:
    found = found_reselect(summary(_losses(wrong)), AUTO)
    assert found.config.shares == (pytest.approx(beta, abs=0.03), low_share)
    assert found.why.startswith(f"auto found beta {found.config.beta:g} and low_share {low_share:g}: ")
    assert ("doubted (separation" in found.why) is (low_share == 0.0)
    assert found.values == {"reselect.beta": found.config.beta, "reselect.low_share": low_share}


def test_what_is_a_number_already_stays(summary: Callable[..., str]) -> None:
    uri = summary(_losses(0.3))
    assert auto_reselect(uri, ReselectConfig(beta=0.2, low_share="auto")).shares == (0.2, 0.0)
    assert auto_reselect(uri, ReselectConfig(beta="auto", low_share=0.5)).shares == (0.3, 0.5)
    assert auto_reselect(uri, ReselectConfig()) == ReselectConfig()


def test_a_scoring_without_losses_is_refused_in_one_line(summary: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="recorded no losses, by which reselect.beta and reselect.low_share auto are found: give numbers"):
        auto_reselect(summary(_losses(0.0), criteria=("aum",)), AUTO)


def test_a_configuration_tells_where_its_numbers_came_from() -> None:
    config = PipelineConfig.model_validate({"beta": "auto"})
    found = config.with_found({"reselect.beta": 0.3, "reselect.low_share": 0.0}, "auto found them: because")
    assert (found.beta, found.reselect.shares) == (0.3, (0.3, 0.0))
    origins = found.origins or {}
    assert [origins[path] for path in ("beta", "reselect.beta", "reselect.low_share")] == ["auto found them: because"] * 3
    assert "--beta 0.3 --reselect.low_share 0.0" in rerun_command(found, origins)


@pytest.mark.slow
def test_a_pipeline_finds_its_numbers_and_says_why(tmp_path: Path) -> None:
    narrow = {"width": 2, "depth": 1}
    page = bilp.run(
        dataset="digits",
        arms=("adaptive",),
        beta="auto",
        root=str(tmp_path),
        reselect={"low_share": "auto", "candidates_per_class": 6},
        score={"trials": 1, "epochs": 2, "init_epochs": 1, "network": narrow},
        distill={"iterations": 2, "rounds": 1, "batch_real": 8, "network": narrow},
        evaluate={"networks": [narrow], "seeds": 2, "epochs": 1, "full_epochs": 1},
    )
    (one,) = page.evaluation.sets
    assert open_run(one.run_uri).reselect.shares == (0.1, 0.5), "digits as they are have no wrong labels"
    assert "auto found beta 0.1 and low_share 0.5: losses show no population" in Path(page.uri).read_text()
