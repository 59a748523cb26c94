"""Every stage on the pretended device, through its own function: no operation meets tensors of two devices, results are the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
from pretend_cuda import pretend_cuda

from bilp.config import settings
from bilp.data import ingest
from bilp.distill import distill_round, finish_run, pretrain_network, reselect_round, start_run
from bilp.evaluate import evaluate_baseline, evaluate_synthetic
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.scoring.trial import score_trial

pytestmark = pytest.mark.slow

Stage = Callable[[str, str], str]  # a root and a device; the URI of what it published
NARROW = {"width": 8}
# Devices divide work differently, so that sums are rounded differently, and a ReLU may flip; a wrong result differs by about 1.
ENOUGH = 0.01


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return ingest(settings(dataset="digits").ingest, str(tmp_path_factory.mktemp("cuda") / "data"))


@pytest.fixture
def on_both(tmp_path: Path) -> Callable[[Stage], None]:
    """Runs a stage on the CPU and on the pretended device, each below a root of its own, and compares what was published."""

    def run(stage: Stage) -> None:
        expected = stage(str(tmp_path / "cpu"), "cpu")
        with pretend_cuda() as counts:
            found = stage(str(tmp_path / "cuda"), "cuda")
            unordered = dict(counts.unordered)
        assert counts.launches > 0
        assert unordered == {}, "another run would publish other bytes"
        assert {path.name for path in files(found)} == {path.name for path in files(expected)}
        for one, other in zip(files(expected), files(found), strict=True):
            agree(one, other)

    return run


def files(uri: str) -> list[Path]:
    return sorted(path for path in Path(uri).iterdir() if path.suffix in (".parquet", ".safetensors"))


def agree(one: Path, other: Path) -> None:
    if one.suffix == ".parquet":
        left, right = pd.read_parquet(one), pd.read_parquet(other)
        columns: dict[str, tuple[Any, Any]] = {name: (left[name].to_numpy(), right[name].to_numpy()) for name in left}
        assert list(left) == list(right)
    else:
        tensors = safetensors.torch.load_file(one), safetensors.torch.load_file(other)
        assert tensors[0].keys() == tensors[1].keys()
        columns = {name: (tensors[0][name].numpy(), tensors[1][name].numpy()) for name in tensors[0]}
    assert columns
    for name, (expected, found) in columns.items():
        if expected.dtype.kind == "f":
            assert np.isfinite(found).tolist() == np.isfinite(expected).tolist(), name
            found, expected = np.nan_to_num(found), np.nan_to_num(expected)
            assert np.linalg.norm(found - expected) <= ENOUGH * np.linalg.norm(expected), (name, found - expected)
        elif expected.dtype.kind == "b":
            assert np.mean(found != expected) <= ENOUGH, name
        else:
            assert found.tolist() == expected.tolist(), name


@pytest.mark.parametrize(
    ("criterion", "changes"),
    [
        ("loss_init", {"gradient_norm": "all"}),
        ("grand", {"early_from": 1, "early_to": 2, "gpu": "tf32_channels_last"}),
        ("monte_carlo", {"subset_share": 0.5, "trials": 2}),
        ("herding", {}),
        ("k_center", {}),
    ],
)
def test_scoring(criterion: str, changes: dict[str, Any], dataset: str, on_both: Callable[[Stage], None]) -> None:
    short = {"trials": 1, "epochs": 2, "init_epochs": 1, "network": NARROW}
    config = settings(dataset="digits", prune={"criterion": criterion}, score=short | changes).score
    on_both(lambda root, device: score_trial(dataset, config, 0, root, device))


GRADIENTS = {"outer_loops": 2, "inner_epochs": 2}
KERNELS = {"outer_loops": 2, "idc": {"train_samples": 60, "early_epochs": 1}}
WITH_EVERY_IMAGE = {"interval": 1}


@pytest.mark.parametrize(
    ("method", "distill", "reselect"),
    [
        ("dm", {}, {"mode": "shrink", **WITH_EVERY_IMAGE}),
        ("dm", {"init": "kmeans", "network": {**NARROW, "norm": "batch"}}, {"score": "feature_distance"}),
        ("dm", {}, {"score": "loss"}),
        ("dc", GRADIENTS | {"network": {**NARROW, "norm": "none"}}, {"estimator": "sketch"}),
        ("dc", GRADIENTS | {"network": {**NARROW, "norm": "layer"}}, {"estimator": "taylor"}),
        ("dsa", GRADIENTS, {"precision": "bfloat16", **WITH_EVERY_IMAGE}),
        ("dc", {"gpu": "tf32_channels_last"}, {"estimator": "oracle"}),
        ("idc", {**KERNELS, "idc": {**KERNELS["idc"], "pretrained": {"networks": 1, "epochs": 1}}}, WITH_EVERY_IMAGE),  # type: ignore[dict-item]
        ("dream", KERNELS, {}),
        ("idm", {"idm": {"train_steps": 2, "networks": 2, "trained": 2}}, {}),
        ("ncfm", {"characteristic": {"frequencies": 32, "pretrained": {"networks": 2, "epochs": 2}}}, WITH_EVERY_IMAGE),
        ("cafe", {"alignment": {"most_steps": 2, "most_epochs": 2, "watched": 2}}, {}),
    ],
)
def test_rounds(method: str, distill: dict[str, Any], reselect: dict[str, Any], dataset: str, on_both: Callable[[Stage], None]) -> None:
    short = {"rounds": 2, "iterations": 2, "batch_real": 8, "network": NARROW}
    given = {"distill": short | distill, "reselect": {"candidates_per_class": 12} | reselect}
    config = settings(dataset="digits", method=method, beta=0.2, **given)
    on_both(lambda root, device: whole_run(dataset, config, root, device))


def whole_run(dataset: str, config: Any, root: str, device: str, experts: str | None = None) -> str:
    run = start_run(dataset, None, config.distill, config.reselect, root, experts)
    for number in range(config.distill.pretrained.networks):
        pretrain_network(run, number, device)
    for number in range(1, config.distill.rounds + 1):
        reselect_round(run, number, device)
        distill_round(run, number, device)
    return finish_run(run)


EASY: dict[str, dict[str, Any]] = {"datm": {"difficulty": {"early_max_start": 0}}}


def test_an_expert(dataset: str, on_both: Callable[[Stage], None]) -> None:
    """One in whose training no ReLU flips."""
    steps = {"expert_epochs": 1, "max_start": 1}
    experts = {"count": 2, "epochs": 2}
    config = settings(dataset="digits", method="mtt", experts=experts, distill={"network": NARROW, "trajectory": steps})
    on_both(lambda root, device: train_expert(dataset, None, config.experts, config.distill.network, 1, root, device))


@pytest.mark.parametrize("method", ["mtt", "tesla", "datm"])
def test_rounds_that_imitate_experts(method: str, dataset: str, on_both: Callable[[Stage], None], tmp_path: Path) -> None:
    """The experts are the same ones: a ReLU that flips in their trainings (`test_trainings_on_cuda`) makes them others by percents."""
    steps = {"steps": 3, "expert_epochs": 1, "max_start": 1}
    config = settings(
        dataset="digits", method=method, experts={"count": 2, "epochs": 2},
        distill={"rounds": 1, "iterations": 2, "network": NARROW, "trajectory": steps, **EASY.get(method, {})},
        arms=("unpruned",), reselect={"beta": 0.0},
    )  # fmt: skip

    trained = str(tmp_path / "experts")
    for number in range(config.experts.count):
        train_expert(dataset, None, config.experts, config.distill.network, number, trained)
    experts = collect_experts(dataset, None, config.experts, config.distill.network, trained)
    on_both(lambda root, device: whole_run(dataset, config, root, device, experts))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"networks_at_once": 1, "cutmix": 0.5},
        {"labels": "soft", "teacher": {"epochs": 1, "network": NARROW}},
        {"optimizer": "adamw", "networks": [{**NARROW, "norm": "batch"}]},
        {"augment_each": ("crop", "scale", "rotate", "noise"), "gpu": "tf32_channels_last"},
    ],
    ids=str,
)
def test_evaluation(changes: dict[str, Any], dataset: str, on_both: Callable[[Stage], None], tmp_path: Path) -> None:
    short = {"seeds": 2, "epochs": 3, "full_epochs": 1, "networks": [NARROW]}
    config = settings(
        dataset="digits", distill={"rounds": 1, "iterations": 1, "batch_real": 8, "network": NARROW}, evaluate=short | changes
    )
    made = whole_run(dataset, config, str(tmp_path / "made"), "cpu")
    on_both(lambda root, device: evaluate_synthetic(dataset, made, "unpruned", 0, config.evaluate, root, device))


@pytest.mark.parametrize("baseline", ["full", "random", "herding", "k_center"])
def test_baselines(baseline: Any, dataset: str, on_both: Callable[[Stage], None]) -> None:
    short = {"seeds": 2, "epochs": 3, "full_epochs": 1, "networks": [NARROW], "teacher": {"epochs": 1, "network": NARROW}}
    config = settings(dataset="digits", evaluate=short).evaluate
    on_both(lambda root, device: evaluate_baseline(dataset, baseline, 1, config, root, device))
