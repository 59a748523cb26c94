"""Which arithmetic is meant where no setting says so: that of the papers where a GPU computes, and float32 everywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bilp.api.keywords import for_device
from bilp.config import PipelineConfig, arithmetics
from bilp.config.arithmetics import ARITHMETICS, REVISION, usual_arithmetic
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


def revisions(config: PipelineConfig) -> set[int]:
    return {getattr(config, stage).gpu_revision for stage in STAGES} | {config.gpu_revision, config.evaluate.teacher.gpu_revision}


@pytest.mark.parametrize(
    ("variables", "wanted", "origin"),
    [
        ({}, 0, "default"),
        ({"BILP_DEVICE": "cpu"}, 0, "default"),
        ({"BILP_DEVICE": "cpu", "BILP_ARITHMETIC": "tf32"}, 0, "default"),
        ({"BILP_DEVICE": "cuda:1"}, REVISION, "device (a GPU)"),
        ({"BILP_EXECUTION": "workers"}, 0, "default"),
        ({"BILP_DEVICE": "cpu", "BILP_EXECUTION": "workers", "BILP_ARITHMETIC": "papers"}, REVISION, "BILP_ARITHMETIC"),
    ],
    ids=str,
)
def test_what_a_gpu_computes_has_the_revision_of_its_rounding_in_its_key_and_nothing_else_has(
    variables: dict[str, str], wanted: int, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever arithmetic was given by name; what a CPU computes is recorded as ever."""
    monkeypatch.setattr(arithmetics, "DRIVERS", ())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for kind in ARITHMETICS:
        config = PipelineConfig(gpu=kind)
        assert revisions(config) == {wanted}
        assert all(("gpu_revision" in as_recorded(getattr(config, stage))) == (wanted > 0) for stage in STAGES)
    assert {row.path: row.origin for row in explain({})}["gpu_revision"] == origin
    assert revisions(PipelineConfig(gpu_revision=7)) == {7}, "what is given goes first"


def test_a_gpu_that_torch_finds_is_noticed(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_stages(PipelineConfig()) == {"papers"}
    monkeypatch.setenv("BILP_EXECUTION", "workers")
    assert of_stages(PipelineConfig()) == {"float32"}, "what is here computes nothing"


def test_a_call_for_another_device_means_what_it_means_there(gpu: None) -> None:
    assert for_device({}, None) == {} == for_device({}, "cuda")
    assert for_device({}, "cpu") == {"gpu": "float32", "gpu_revision": 0}
    assert for_device({"gpu": "tf32"}, "cpu") == {"gpu": "tf32", "gpu_revision": 0}
    assert for_device({"gpu": "tf32", "gpu_revision": 5}, "cpu") == {"gpu": "tf32", "gpu_revision": 5}


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
