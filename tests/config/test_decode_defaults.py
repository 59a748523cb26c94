"""What IDC, DREAM and IDM imply for each data set and ipc."""

from __future__ import annotations

from typing import Any

import pytest

from bilp.config import PipelineConfig
from bilp.config.sources import SOURCES

PUBLIC = [name for name, source in SOURCES.items() if source.known and source.idc]


def config_of(**dials: Any) -> PipelineConfig:
    return PipelineConfig.model_validate(dials)


@pytest.mark.parametrize("dataset", PUBLIC)
@pytest.mark.parametrize("method", ["idc", "dream"])
def test_idc_and_dream(dataset: str, method: str) -> None:
    config = config_of(dataset=dataset, method=method, ipc=10)
    distill, gray = config.distill, dataset in ("mnist", "fashion_mnist")
    assert (distill.iterations, distill.outer_loops, distill.decode.factor) == (2000, 100, 2)
    assert (distill.batch_real, distill.batch_train, distill.init) == ((64, 64, "real") if method == "idc" else (128, 128, "kmeans"))
    assert distill.idc.metric == ("l1" if gray else "mse")
    assert distill.idc.train_samples == (2000 if "cifar" in dataset else 500)
    assert distill.augment == (("color", "crop") if dataset == "mnist" else ("color", "crop", "cutout"))
    assert distill.idc.cutmix == (0.0 if dataset == "mnist" else 0.5)
    expected = {"mnist": 1e-4, "fashion_mnist": 1e-4 * 0.765625}.get(dataset, 5e-3)
    assert distill.learning_rate == pytest.approx(expected)
    fewer = config_of(dataset=dataset, method=method, ipc=1).distill.learning_rate
    assert fewer == pytest.approx(expected / 10)


def test_idc_without_parts_mixes_digits_and_the_step_size_grows_with_the_pixels() -> None:
    """Rows of the table with a condition on the factor: MNIST above 1, SVHN at factor and ipc 1."""

    def mixing(dataset: str, ipc: int, factor: int, method: str = "idc") -> tuple[float, float, bool]:
        config = config_of(dataset=dataset, method=method, ipc=ipc, distill={"decode": {"factor": factor}})
        return config.distill.idc.cutmix, config.evaluate.cutmix, "cutout" in config.distill.augment

    assert mixing("mnist", 10, 2) == mixing("mnist", 1, 3) == mixing("mnist", 1, 2, "dream") == (0.0, 0.0, False)
    assert mixing("mnist", 10, 1) == (0.5, 0.5, True)
    assert mixing("svhn", 1, 1) == (0.5, 0.0, True)
    alone = config_of(dataset="svhn", method="idc", ipc=1, distill={"decode": {"factor": 1}}).evaluate
    applied = alone.augment_always, alone.augment, alone.augment_after
    assert applied == (("color",), ("crop", "scale", "rotate"), ("cutout",)), "reproduce.py:22: color_crop_cutout_scale_rotate"
    assert config_of(dataset="svhn", method="idc", ipc=10, distill={"decode": {"factor": 1}}).evaluate.augment_after == ()
    assert mixing("svhn", 1, 2) == mixing("svhn", 10, 1) == mixing("cifar10", 1, 1) == (0.5, 0.5, True)
    assert config_of(dataset="mnist", method="idc").evaluate.cutmix == 0.0, "factor 2 unless given"
    assert config_of(dataset="mnist", method="idc", evaluate={"protocol": "dc"}).evaluate.cutmix == 0.0
    assert config_of(dataset="mnist", method="dm", evaluate={"protocol": "idc"}).evaluate.cutmix == 0.5
    rates = [
        config_of(dataset="folder", method="idc", ipc=20, ingest={"uri": "x", "resolution": side}).distill.learning_rate
        for side in (32, 64, "64")
    ]
    assert rates == pytest.approx([0.01, 0.04, 0.04])


@pytest.mark.parametrize(
    ("dataset", "ipc", "weight", "steps", "batch", "every"),
    [
        ("cifar10", 1, 0.5, 10, 5000, 5),
        ("cifar10", 10, 0.5, 10, 256, 30),
        ("cifar10", 50, 0.1, 10, 256, 30),
        ("cifar100", 1, 0.5, 10, 5000, 5),
        ("cifar100", 10, 0.1, 50, 256, 30),
        ("cifar100", 50, 0.1, 10, 256, 30),
        ("svhn", 7, 0.5, 10, 256, 30),
    ],
)
def test_idm(dataset: str, ipc: int, weight: float, steps: int, batch: int, every: int) -> None:
    distill = config_of(dataset=dataset, method="idm", ipc=ipc).distill
    assert (distill.idm.classification, distill.idm.train_steps, distill.idm.new_every) == (weight, steps, every)
    assert (distill.iterations, distill.learning_rate, distill.batch_real, distill.init) == (20000, 0.2, batch, "real")
    assert distill.decode.factor == 2
    assert ("flip" in distill.augment) == (dataset != "svhn")


@pytest.mark.parametrize(("method", "wanted"), [("idm", 12), ("dream", 12), ("dm", 3)])
def test_every_part_of_a_mosaic_needs_a_sample_after_pruning(method: str, wanted: int) -> None:
    assert config_of(dataset="cifar10", method=method, ipc=3).prune.minimum_per_class == wanted
