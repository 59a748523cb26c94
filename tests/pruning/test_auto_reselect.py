"""What adaptive pruning drops by itself: doubted labels are found as for keep auto, clean data are left alone, the reason is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import bilp
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import SUMMARY, TRAJECTORY
from bilp.config import PipelineConfig, PruneConfig, ReselectConfig, ScoreConfig
from bilp.distill import open_run
from bilp.errors import ConfigError
from bilp.pruning.auto_reselect import auto_reselect, found_reselect
from bilp.pruning.prune import cut_by
from bilp.report.settings import rerun_command
from bilp.scoring.criteria import Trajectory
from bilp.scoring.summary import FILE, KIND, facts
from bilp.scoring.trial_record import TRIAL, TRIAL_FILE, trajectory_table

AUTO = ReselectConfig(beta="auto", low_share="auto")


def _losses(wrong: float, count: int = 2000) -> np.ndarray:
    """Log-normal losses, of which a share lies around 2.5, as wrong labels do."""
    stream = np.random.default_rng(5)
    low = np.exp(stream.normal(-3.0, 0.9, count))
    high = np.exp(stream.normal(0.9, 0.25, count))
    return np.where(np.arange(count) < wrong * count, high, low)


@pytest.fixture
def summary(tmp_path: Path) -> Callable[..., str]:
    def publish(losses: np.ndarray, criteria: tuple[str, ...] = ("loss_init", "loss_converge"), agreed: float = 1.0) -> str:
        """A summary of one trial of one epoch, whose surest networks agree with a share of the labels."""
        count, config = len(losses), ScoreConfig(trials=1, epochs=1, init_epochs=1)
        labels = np.arange(count) % 10
        columns = {name: np.zeros(count) for name in SUMMARY.names}
        columns |= {"sample_id": np.arange(count), "label": labels, "loss_init": losses, "loss_converge": losses}
        table = pa.table({name: pa.array(values).cast(SUMMARY.field(name).type) for name, values in columns.items()}, schema=SUMMARY)
        flat = np.zeros((1, count), dtype=np.float32)
        margins = np.where(np.arange(count) % 100 < 100 * agreed, 1.0, -1.0).astype(np.float32)[None]
        trial = Trajectory(np.maximum(0, -margins), flat > 0, flat, margins, None)  # equally sure of all
        told = {"dataset": "f" * 16, "trial": 0, "samples": count, "epochs": 1}
        trials = str(tmp_path / "trials" / "0000")
        recorded = TableFile(TRIAL_FILE, trajectory_table(labels, 0, trial), TRAJECTORY, {})
        publish_table(trials, TRIAL, "4" * 16, recorded, config=config, parents={}, facts=told)
        uri = str(tmp_path / "summary" / ("5" * 16))
        stated = facts("f" * 16, count, config, criteria)
        parents = {"trial 0": trials}
        publish_table(uri, KIND, "5" * 16, TableFile(FILE, table, SUMMARY, {}), config=config, parents=parents, facts=stated)
        return uri

    return publish


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
    assert (found.doubted > 0.05) is (low_share == 0.0) and found.doubted == pytest.approx(wrong if low_share == 0.0 else 0.0, abs=0.02)
    assert found.values == {"reselect.beta": found.config.beta, "reselect.low_share": low_share}


@pytest.mark.parametrize(("agreed", "shares"), [(0.66, (0.3, 0.0)), (0.88, (0.18, 0.0)), (0.95, (0.1, 0.5)), (0.3, (0.1, 0.5))])
def test_networks_that_are_sure_tell_where_losses_do_not(summary: Callable[..., str], agreed: float, shares: tuple[float, float]) -> None:
    found = found_reselect(summary(_losses(0.0), agreed=agreed), AUTO)
    assert found.config.shares == shares
    assert f"sure networks agree with {100 * agreed:.0f} % of the labels" in found.why


def test_it_doubts_what_keep_auto_drops(summary: Callable[..., str]) -> None:
    losses = _losses(0.2)
    labels = np.arange(len(losses)) % 10
    cut = cut_by(PruneConfig(keep="auto"), losses.astype(np.float32).astype(np.float64), labels, [str(label) for label in range(10)])
    assert found_reselect(summary(losses), AUTO).doubted == pytest.approx(1.0 - cut.kept.mean(), abs=1e-12)


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
    scoring = {"trials": 1, "epochs": 4, "init_epochs": 4, "batch_size": 32, "network": {"width": 24, "depth": 2}}
    page = bilp.run(
        dataset="digits",
        arms=("adaptive",),
        beta="auto",
        root=str(tmp_path),
        reselect={"low_share": "auto", "candidates_per_class": 6},
        score=scoring,
        distill={"iterations": 2, "rounds": 1, "batch_real": 8, "network": narrow},
        evaluate={"networks": [narrow], "seeds": 2, "epochs": 1, "full_epochs": 1},
    )
    (one,) = page.evaluation.sets
    assert open_run(one.run_uri).reselect.shares == (0.1, 0.5), "digits as they are have no wrong labels"
    assert "auto found beta 0.1 and low_share 0.5: no more labels are doubted than in clean data" in Path(page.uri).read_text()
