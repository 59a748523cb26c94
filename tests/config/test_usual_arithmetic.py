"""Which arithmetic is meant where no setting says so: that of the papers where a GPU computes, and float32 everywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bilp.api.keywords import for_device
from bilp.config import PipelineConfig, arithmetics
from bilp.config.arithmetics import ARITHMETICS, usual_arithmetic
from bilp.config.base import as_recorded
from bilp.config.explain import explain
from bilp.errors import ConfigError

STAGES = ("score", "experts", "distill", "evaluate")


def of_stages(config: PipelineConfig) -> set[str]:
    return {getattr(config, stage).gpu for stage in STAGES} | {config.gpu, config.evaluate.teacher.gpu}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine with a driver, and a PyTorch that finds its GPU."""
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(arithmetics, "DRIVERS", (str(tmp_path / "nvidiactl"),))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    arithmetics._torch_sees_gpu.cache_clear()
    yield
    arithmetics._torch_sees_gpu.cache_clear()


@pytest.mark.parametrize(
    ("variables", "wanted", "origin"),
    [
        ({}, "float32", "default"),
        ({"BILP_DEVICE": "cpu"}, "float32", "default"),
        ({"BILP_DEVICE": "cuda:1"}, "papers", "device (a GPU)"),
        ({"BILP_EXECUTION": "workers"}, "float32", "default"),
        ({"BILP_DEVICE": "cpu", "BILP_EXECUTION": "workers", "BILP_ARITHMETIC": "papers"}, "papers", "BILP_ARITHMETIC"),
        ({"BILP_DEVICE": "cuda", "BILP_ARITHMETIC": "tf32"}, "tf32", "BILP_ARITHMETIC"),
    ],
    ids=str,
)
def test_the_device_decides_unless_somebody_does(
    variables: dict[str, str], wanted: str, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetics, "DRIVERS", ())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert of_stages(PipelineConfig()) == {wanted}
    assert of_stages(PipelineConfig(gpu="float32")) == {"float32"}, "what is given goes first"
    told = {row.path: row.origin for row in explain({})}
    assert (told["gpu"], told["distill.gpu"]) == (origin, "dial gpu")


def test_a_gpu_that_torch_finds_is_noticed(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_stages(PipelineConfig()) == {"papers"}
    monkeypatch.setenv("BILP_EXECUTION", "workers")
    assert of_stages(PipelineConfig()) == {"float32"}, "what is here computes nothing"


def test_a_call_for_another_device_means_what_it_means_there(gpu: None) -> None:
    assert for_device({}, None) == {} == for_device({}, "cuda")
    assert for_device({}, "cpu") == {"gpu": "float32"}
    assert for_device({"gpu": "tf32"}, "cpu") == {"gpu": "tf32"}


def test_an_unknown_arithmetic_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_ARITHMETIC", "fast")
    with pytest.raises(ConfigError, match=r"^arithmetic 'fast' is unknown: use one of float32, papers, tf32(, \w+)*; "):
        usual_arithmetic()


def test_settings_are_recorded_as_ever_and_removed_ones_are_read_but_not_offered() -> None:
    for name in ARITHMETICS:
        recorded = as_recorded(PipelineConfig(gpu=name).distill)
        assert recorded["gpu"] == name
        assert PipelineConfig.model_validate({"distill": recorded}).distill.gpu == name
    offered = PipelineConfig.model_json_schema()["properties"]["gpu"]["enum"]
    assert offered == ARITHMETICS.choosable()
    assert "tf32_channels_last" not in offered and {"float32", "papers", "tf32"} <= set(offered)
