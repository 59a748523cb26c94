"""Plans that are scaled by real steps: what is timed, what it is taken for, and that nothing of it stays."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from counted_operations import Operations
from small_pipeline import NETWORK, small_config

from bilp.config import METHODS, NetworkConfig, PipelineConfig
from bilp.costs import timed_steps
from bilp.costs.data_counts import data_counts
from bilp.costs.generated import BYTES, SAMPLES, generated
from bilp.costs.gpu_profiles import CPU, GPU_PROFILES, profile_of
from bilp.costs.measured_plan import MORE, device_profile, measured
from bilp.costs.probes import probes
from bilp.costs.run_plan import plan_of
from bilp.costs.speed import Speed
from bilp.costs.timed_steps import Probe, timed
from bilp.costs.work import Work
from bilp.errors import ConfigError

HERE = torch.device("cpu")
KNOWN = PipelineConfig.model_validate({"dataset": "cifar10"})
SHORT: dict[str, dict[str, Any]] = {
    "idc": {"idc": {"train_samples": 100}},
    "dream": {"idc": {"train_samples": 100}, "dream": {"most_steps": 2}},
    "idm": {"idm": {"train_steps": 2}},
    "cafe": {"alignment": {"measured_per_class": 10}},
    "mtt": {"trajectory": {"steps": 3}},
    "tesla": {"trajectory": {"steps": 3}},
    "haba": {"trajectory": {"steps": 3}},
    "linba": {"memories": {"steps": 3}},
    "datm": {"trajectory": {"steps": 3}},
    "pad": {"trajectory": {"steps": 3}},
}


def settings(method: str, **reselect: Any) -> PipelineConfig:
    network = {**NETWORK, "pooling": "max"}  # pooling by averages is a product of matrices on a CPU
    distill = {"iterations": 40, "rounds": 2, "batch_real": 32, "network": network, "outer_loops": 4} | SHORT.get(method, {})
    score = {"trials": 2, "epochs": 4, "network": network, "gradient_norm": "off"}
    evaluate = {"networks": [network], "seeds": 3, "epochs": 20, "full_epochs": 2, "teacher": {"network": network}}
    return small_config(
        method=method,
        distill=distill,
        reselect={"candidates_per_class": 40, "directions": 12} | reselect,
        score=score,
        evaluate=evaluate,
        experts={"count": 2, "epochs": 50},
        arms=["unpruned", "bilp"],
    )


def speed_for(config: PipelineConfig) -> Speed:
    return Speed(device_profile(HERE), data_counts(config.ingest, listed=config is not KNOWN))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "score"), [*((method, "ite") for method in METHODS), ("dm", "mistakes")])
def test_steps_do_what_they_are_taken_for(method: str, score: str) -> None:
    config = settings(method, score=score, mistakes={"epochs": 3})
    speed = speed_for(config)
    with generated(speed.data, MORE * config.distill.batch_real, HERE, 0) as made:
        found = list(probes(config, made, speed, HERE))
        for probe in found:
            probe.run(1)  # which passes real samples where they pass the network once
            with Operations() as operations:
                works = probe.run(2)
            taken = sum(work.cost for work in works)
            counted = operations.total / probe.network.flops
            # The first layer's share is larger in a network that is as narrow as this one, and so are products beside the network.
            assert 0.75 * taken < counted < 1.3 * taken, (probe.kind, counted / taken)
    plan = plan_of(config, speed.data, speed, 1)
    known = {probe.kind for probe in found}
    unknown = {"", "pretrain"} if config.distill.pretrained.networks else {""}  # ingestion and these networks alone
    assert {unit.kind for unit in plan.units} - known == unknown
    assert {work.kind for unit in plan.units for work in unit.works} - known <= unknown


@pytest.mark.slow
def test_nothing_of_what_was_timed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    config, said = settings("mtt"), list[str]()
    speed = speed_for(config)
    found = measured(config, speed.data, speed, HERE, 1, said.append)
    assert list(tmp_path.rglob("*")) == [tmp_path / "temporary"]  # the storage and the cache lie here, too
    assert said == [each.probe.title for each in found.found]
    before, after = (plan_of(config, speed.data, one, 1) for one in (speed, found.speed(speed)))
    for unit, scaled in zip(before.units, after.units, strict=True):
        rate = {each.probe.kind: each.rate for each in found.found}.get(unit.kind, 1.0)
        assert scaled.seconds == pytest.approx(rate * unit.seconds)
    assert found.unmeasured(after) == ["ingest"]


class Clock:
    """A clock that moves when steps are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, begin: float, each: float) -> None:
        self.now, self._begin, self._each, self.made = 0.0, begin, each, list[int]()
        monkeypatch.setattr(timed_steps.time, "monotonic", lambda: self.now)

    def run(self, steps: int) -> Sequence[Work]:
        self.made.append(steps)
        self.now += self._begin + self._each * steps
        return [Work("x", 10 * steps, 3.0)]


@pytest.mark.parametrize(
    ("begin", "each", "asked", "made", "seconds"),
    [
        (0.0, 0.5, 20, [1, 20], 10.0),
        (0.0, 20.0, 20, [1, 3], 60.0),  # as many as a minute has room for
        (0.0, 45.0, 20, [1], 45.0),  # the first alone
    ],
)
def test_a_rate_is_time_over_planned_time(
    begin: float, each: float, asked: int, made: list[int], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, speed = Clock(monkeypatch, begin, each), speed_for(KNOWN)
    network = speed.network(NetworkConfig(width=4, depth=1))
    found = timed(Probe("kind", "title", network, "float32", clock.run), asked, speed, HERE)
    assert clock.made == made
    assert (found.passes, found.seconds) == (10 * made[-1], seconds)
    planned = 30 * made[-1] * network.seconds(CPU, "float32")
    assert found.rate == pytest.approx(seconds / planned)


def test_a_gpu_counts_the_difference_of_two_times(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (timed_steps._Took(2.0 + 0.5 * steps, 10 * steps, 30.0 * steps) for steps in (20, 40))
    assert second.less(first) == timed_steps._Took(10.0, 200, 600.0)
    assert first.less(second) == first  # noise alone


@pytest.mark.parametrize("error", [MemoryError("x"), torch.OutOfMemoryError("CUDA out of memory.\nTried to")])
def test_a_step_without_memory_is_one_line(error: Exception) -> None:
    def run(steps: int) -> Sequence[Work]:
        raise error

    with pytest.raises(ConfigError, match="--measure: a step of x finds no memory on cpu: lower") as told:
        timed(Probe("kind", "a step of x", speed_for(KNOWN).network(NetworkConfig()), "float32", run), 3, speed_for(KNOWN), HERE)
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_generated_samples_are_few_and_of_the_right_shape() -> None:
    config = PipelineConfig.model_validate({"dataset": "tiny_imagenet", "ingest": {"uri": "nowhere"}}).ingest
    data = data_counts(config, listed=False)
    with generated(data, 256, HERE, 0) as made:
        train = made.dataset.train
        assert (made.dataset.shape, made.dataset.classes) == ((3, 64, 64), 200)
        assert len(made.few) * made.each <= SAMPLES.cpu and train.images().numel() < BYTES
        assert torch.bincount(train.labels).tolist() == [256] * 4 + [1] * 196
        folder = Path(made.root)
        again = train.images()
    assert not folder.exists()
    with generated(data, 256, HERE, 0) as other:
        assert torch.equal(other.dataset.train.images(), again)


def test_a_device_is_known_by_its_name() -> None:
    assert profile_of("cuda: NVIDIA H200", 7).name == "h200" and profile_of("cuda: NVIDIA H200", 7).memory == 7
    assert profile_of("cuda: NVIDIA A100-SXM4-80GB") is GPU_PROFILES["a100"]
    assert profile_of("cuda: NVIDIA H100 80GB HBM3") is GPU_PROFILES["h100"]
    other = profile_of("cuda: NVIDIA GeForce RTX 4090", 24)
    assert (other.name, other.title, other.memory) == ("other", "NVIDIA GeForce RTX 4090", 24)
    assert profile_of("cpu") is CPU
