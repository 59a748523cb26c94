"""Normalization constants by name, by setting and measured, and that no result is shared between different ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import SUMMARY
from bilp.config import IngestConfig, NetworkConfig, ScoreConfig
from bilp.config.normalization import NORMALIZATIONS, known_set
from bilp.config.sources import Normalization
from bilp.data import ingest, open_dataset
from bilp.data.normalization import chosen, identity, measured
from bilp.errors import DataError
from bilp.scoring.summary import FILE, summarize
from bilp.scoring.trial import score_trial

WriteFolder = Callable[[Any], Path]
CONFIG = ScoreConfig(
    trials=1, epochs=3, init_epochs=3, converge_epochs=1, network=NetworkConfig(width=8, depth=2), batch_size=16, learning_rate=0.05
)


def folder(uri: Path, **settings: Any) -> IngestConfig:
    return IngestConfig(source="folder", uri=str(uri), **settings)


def constants_of(name: str) -> Normalization:
    constants = NORMALIZATIONS[name].constants
    assert constants is not None
    return constants


@pytest.fixture
def birds(write_folder: WriteFolder, tmp_path: Path) -> Path:
    """Ten classes of dim 32 x 32 pictures, and the same ones in a folder called cifar10 beside it."""
    draws = np.random.default_rng(0)
    names = [f"{split}/class{k}/{i}.png" for split, n in (("train", 6), ("test", 3)) for k in range(10) for i in range(n)]
    root = write_folder({name: (draws.integers(0, 40, (32, 32, 3)) + 4 * int(name[-7])).astype(np.uint8) for name in names})
    shutil.copytree(root, tmp_path / "cifar10")
    return root.rename(tmp_path / "birds")


def losses(uri: str, root: str) -> tuple[str, np.ndarray]:
    score_trial(uri, CONFIG, 0, root)
    summary = summarize(uri, CONFIG, root)
    return summary, open_artifact(summary, "score_summary").table(FILE, SUMMARY)["loss_converge"].to_numpy()


@pytest.mark.parametrize("first", ["birds", "cifar10"])
def test_the_same_pixels_under_other_constants_have_scores_of_their_own(tmp_path: Path, birds: Path, first: str) -> None:
    shared = str(tmp_path / "shared")
    order = [first, "cifar10" if first == "birds" else "birds"]
    together = {name: losses(ingest(folder(tmp_path / name), shared), shared) for name in order}
    apart = {
        name: losses(ingest(folder(tmp_path / name), str(tmp_path / name) + "-store"), str(tmp_path / name) + "-store") for name in order
    }
    for name in order:
        assert np.array_equal(together[name][1], apart[name][1])
        assert together[name][0].removeprefix(shared) == apart[name][0].removeprefix(f"{tmp_path / name}-store")
    assert together["birds"][0] != together["cifar10"][0]
    assert not np.array_equal(together["birds"][1], together["cifar10"][1])


def test_a_setting_names_the_constants_whatever_the_name(tmp_path: Path, birds: Path) -> None:
    store, copy = str(tmp_path / "store"), tmp_path / "cifar10"

    def facts(uri: Path, **settings: Any) -> tuple[tuple[float, ...], str]:
        dataset = open_dataset(ingest(folder(uri, **settings), store))
        return dataset.mean, dataset.fingerprint

    assert facts(birds, normalization="cifar10") == facts(copy) == (constants_of("cifar10").mean, facts(copy)[1])
    assert facts(birds) == facts(birds, normalization="measured") == facts(copy, normalization="measured")
    assert facts(birds)[0] not in {entry.constants.mean for entry in NORMALIZATIONS.values() if entry.constants}
    prints = {facts(birds, normalization=name)[1] for name in ("auto", "cifar10", "cifar100", "svhn", "imagenet")}
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalization": "mnist"}, "ingest.normalization mnist states 1 channel, the images have 3: .* ingest.color to gray"),
        ({"normalization": "cifar100", "color": "gray"}, "ingest.normalization cifar100 states 3 channels, the images have 1: .* to rgb"),
    ],
)
def test_constants_of_other_channels_are_refused_in_one_line(tmp_path: Path, birds: Path, settings: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        ingest(folder(birds, **settings), str(tmp_path / "store"))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "store/datasets").exists()


def test_measured_constants_leave_fingerprints_as_they_were(tmp_path: Path) -> None:
    """The digits' is the one of storages that were written before constants were part of it."""
    assert open_dataset(ingest(IngestConfig(), str(tmp_path))).fingerprint == "143b89124b3a5fad"


def test_what_a_fingerprint_says_of_constants() -> None:
    histogram = np.ones((3, 256), dtype=np.int64)
    own, cifar = measured(histogram), constants_of("cifar10")
    assert identity(own, (3, 16, 16), 2, histogram) == {}
    assert identity(own, (3, 32, 32), 10, histogram) == {"normalization": "measured"}, "a set of that form may lie under a known name"
    assert identity(cifar, (3, 16, 16), 2, histogram) == {"mean": list(cifar.mean), "std": list(cifar.std)}
    assert chosen("measured", known_set("cifar10", "folder"), (3, 32, 32), 10, histogram) == own
    assert chosen("auto", known_set("CIFAR-10", "folder"), (3, 32, 32), 10, histogram) == cifar
    assert chosen("cifar10", known_set("birds", "folder"), (3, 8, 8), 2, histogram) == cifar
    assert chosen("auto", known_set("cifar10", "folder"), (3, 8, 8), 10, histogram) == own
