"""Recipes of large sets: what they state, and that they run at a small scale on replicas of their sets where the source is built in."""

from __future__ import annotations

import io
import json
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_pipeline import run_pipeline

import bilp
from bilp.config import NetworkConfig, PipelineConfig
from bilp.config.command_line import configure
from bilp.config.explain import explain
from bilp.config.network import CONVNET, FRAME_MEAN
from bilp.config.recipes import load_recipe, recipe_names
from bilp.config.set_rules import convnet_depth
from bilp.config.sources import SOURCES
from bilp.evaluate.reproduction import compare, load_published, load_reproduction, publish_reproduction, scaled
from bilp.seeds import generator

WAITING = sorted(name for name in recipe_names() if name.startswith("published/") and SOURCES[load_recipe(name)["dataset"]].usual)
RUN = (
    *("published/dc/imagenet1k-ipc1", "published/dm/imagenet1k-ipc10", "published/bilp-dc/imagenet1k-ipc1"),
    *("published/bilp-dm/imagenet1k-ipc10", "published/dm/tiny-imagenet-ipc1", "published/dm/imagenette-ipc1"),
    *("published/dm/imagewoof-ipc1", "published/bilp-dm/kinetics400-ipc1"),
    *("published/idc/imagenet10-ipc10", "published/idc-i/imagenet10-ipc10"),
)
TYPED = ("published/mtt/tiny-imagenet-ipc1", "published/mtt/imagenette-ipc1")
"""Of methods that train experts first."""
SIDE = 16
FEW_CLASSES = 3
"""Of a subset on which a network is trained that nothing makes narrower, or experts are."""
TRAIN, TEST = 20, 3
"""Of each class."""


EVALUATED: dict[str, dict[str, Any]] = {
    "frepo": {"name": "convnet_frepo", "norm": "none", "depth": 4},
    "selmatch": {"name": "resnet18", "norm": "batch"},
}
"""By method whose sets are evaluated by another network than distills them: that network."""
CONSTANTS = {"selmatch": "measured"}
"""By method whose program does not normalize with the constants of ImageNet, or with some that are near them."""


def needs(name: str) -> None:
    """Skip where the data set of a recipe is not built in."""
    dataset = load_recipe(name)["dataset"]
    if dataset not in SOURCES:
        pytest.skip(f"data set {dataset} is not built in")


@pytest.mark.parametrize("name", WAITING)
def test_a_recipe_states_resolution_network_and_metric(name: str) -> None:
    recipe, published = load_recipe(name), load_published(name)
    side, network = recipe["ingest"]["resolution"], recipe["distill"]["network"]
    if recipe["ingest"].get("whitening") == "zca":  # whitened pixels are not normalized
        assert "normalization" not in recipe["ingest"]
    else:
        assert recipe["ingest"]["normalization"] == CONSTANTS.get(recipe["method"], "imagenet")
    assert recipe["evaluate"]["networks"] == [EVALUATED.get(recipe["method"], network)]
    assert network == {"depth": convnet_depth(side)} or "name" in network
    assert ("bilp" in recipe["arms"]) == (recipe.get("score") == {"network": network})
    table7 = "table 7" in published.source
    assert published.metric == ("unknown" if table7 else "top1")
    assert ({"metric", "resolution", "network"} <= set(published.unknown)) == table7
    assert ("shares of pruned samples" in published.unknown) == (published.arm == "bilp")


def test_the_numbers_of_table_7_of_bilp() -> None:
    told = {}
    for name in WAITING:
        published = load_published(name)
        if published.arm == "bilp":
            recipe = load_recipe(name)
            told[recipe["dataset"], recipe["method"], recipe["ipc"]] = (published.unpruned, published.value)
            alone = load_published(name.replace("bilp-", ""))
            assert (alone.value, alone.metric) == (published.unpruned, published.metric)
    assert told == {
        ("imagenet1k", "dc", 1): (1.79, 2.02),
        ("imagenet1k", "dm", 10): (3.86, 5.21),
        ("imagenet1k", "dm", 50): (8.22, 9.41),
        ("kinetics400", "dm", 1): (2.78, 2.92),
        ("kinetics400", "dm", 10): (9.48, 9.70),
    }


@pytest.mark.parametrize("name", WAITING)
def test_a_recipe_resolves_with_its_source(name: str) -> None:
    needs(name)
    rows = {row.path: row for row in explain({"recipe": name, "ingest": {"uri": "x"}})}
    config, recipe = PipelineConfig.model_validate({"recipe": name, "ingest": {"uri": "x"}}), load_recipe(name)
    for path in ("ingest.resolution", "ingest.normalization" if config.ingest.whitening == "none" else "ingest.whitening"):
        assert rows[path].origin == f"recipe {name}"
    assert config.ingest.resolution == recipe["ingest"]["resolution"] and config.evaluate.top_k == 5
    evaluated = EVALUATED.get(recipe["method"])
    assert config.evaluate.networks == (config.distill.network if evaluated is None else NetworkConfig.model_validate(evaluated),)
    if SOURCES[config.ingest.source].media == "video":
        assert (config.ingest.frames, config.ingest.fit) == (8, "stretch")
        assert config.distill.network.entry.video and config.distill.augment == ()


def jpeg(label: int, number: int) -> bytes:
    stream = generator(0, "replica", label, number)
    color = np.asarray([(37 * label) % 256, (91 * label) % 256, 128])
    noise = np.random.default_rng(int(stream.initial_seed()) % 2**32).normal(0, 40, (24, 32, 3))
    picture = Image.fromarray(np.clip(color + noise, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def replica(dataset: str, root: Path, classes: int | None = None) -> str:
    """A small copy in folders by class, of the first six classes of a large set, and of a subset all or so many."""
    if SOURCES[dataset].media == "video":
        clip = import_module("replicas.clip").clip
        kinds, suffix, make = [f"class {k}" for k in range(6)], "mp4", lambda label, number: clip(label, number, 2.0)
    else:
        order = import_module("bilp.data.class_lists").class_order(dataset)
        kinds, suffix, make = list(order[: 6 if len(order) > 100 else classes]), "JPEG", jpeg
    below = "images" if dataset == "tiny_imagenet" else ""
    for split, numbers in (("train", range(TRAIN)), ("val", range(TRAIN, TRAIN + TEST))):
        for label, kind in enumerate(kinds):
            folder = root / split / kind / below
            folder.mkdir(parents=True)
            for number in numbers:
                (folder / f"{kind.replace(' ', '_')}_{number}.{suffix}").write_bytes(make(label, number))
    return str(root)


def few(dataset: str) -> dict[str, Any]:
    """The setting that takes the first classes of a subset."""
    return {"classes": list(import_module("bilp.data.class_lists").class_order(dataset)[:FEW_CLASSES])}


def smaller_steps(recipe: dict[str, Any]) -> float:
    """The step size of a recipe's images for one of side SIDE in each class: as in IDC's program it falls with their area, and with their
    number. With that of large images the pixels of small ones leave all bounds in the first step."""
    return float(recipe["distill"]["learning_rate"]) / recipe["ipc"] * (SIDE / recipe["ingest"]["resolution"]) ** 2


def shortened(recipe: dict[str, Any]) -> dict[str, Any]:
    """Settings of distillation with which IDC's networks are trained little."""
    distill = recipe["distill"]
    if "idc" not in distill:
        return {}
    idc = {"train_samples": 32, "early_epochs": min(1, distill["idc"]["early_epochs"])}
    return {"learning_rate": smaller_steps(recipe), "outer_loops": 2, "batch_train": 32, "idc": idc}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_a_recipe_runs_at_a_small_scale_on_a_replica(name: str, tmp_path: Path) -> None:
    """As `bilp reproduce NAME --scale`, on images of side 16 and for epochs and candidates that a few images allow."""
    needs(name)
    recipe = load_recipe(name)
    network: dict[str, Any] = dict(recipe["distill"]["network"])
    narrow = {"depth": convnet_depth(SIDE), "width": 8}
    wide = SOURCES[recipe["dataset"]].media != "video" and network.get("name", CONVNET) not in (CONVNET, FRAME_MEAN)
    network = {**network, **narrow} if "name" not in network else network
    place = replica(recipe["dataset"], tmp_path / "replica", FEW_CLASSES if wide else None)
    ours: dict[str, Any] = {
        "ingest": {"uri": place, "resolution": SIDE, **(few(recipe["dataset"]) if wide else {})},
        "ipc": 1,
        "experiments": 1,
        "score": {"trials": 1, "epochs": 2, "init_epochs": 2, "network": narrow if wide else network},
        "reselect": {"candidates_per_class": 4 if wide else 8},
        "experts": {"count": 1, "epochs": 11},
        "distill": {"rounds": 1, "iterations": 2, "batch_real": 4, "network": network, **shortened(recipe)},
        "evaluate": {"networks": [network], "seeds": 2, "epochs": 2, "full_epochs": 1},
    }
    if SOURCES[recipe["dataset"]].media == "video":
        ours["ingest"]["resolution"] = 64  # three halvings of time and space need as much
    config = scaled(name, 0.001, ours)
    assert {"unpruned", "bilp"} <= set(config.arms)
    outcome = run_pipeline(config, str(tmp_path / "store"))
    published = load_published(name)
    rows = compare(published, outcome.evaluations)
    assert {row.arm for row in rows} == set(config.arms) & {"unpruned", "bilp"}
    assert {row.k for row in rows} == ({1, 5} if published.metric == "unknown" else {1}), "six classes and more have a top 5"
    theirs = {row.arm: row.published for row in rows}
    assert theirs[published.arm] == published.value and math.isfinite(theirs["unpruned"])
    stored, content = load_reproduction(publish_reproduction(name, config, outcome.evaluations, "cpu", outcome.root))
    assert len(stored) == len(rows) and content["published"]["metric"] == published.metric
    assert any("ingest.resolution" in line for line in content["deviations"]) == (
        config.ingest.resolution != recipe["ingest"]["resolution"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPED)
def test_a_recipe_is_typed_and_runs_on_a_replica(name: str, tmp_path: Path) -> None:
    """What follows `bilp run` on a command line, with a small side and few steps, carried out in this process to its page."""
    recipe = load_recipe(name)
    network = recipe["distill"]["network"]
    network = network if "name" in network else {"depth": convnet_depth(SIDE), "width": 8}
    part = len(import_module("bilp.data.class_lists").class_order(recipe["dataset"])) <= 100
    short: dict[str, Any] = {
        "ingest.uri": replica(recipe["dataset"], tmp_path / "replica", FEW_CLASSES),
        "ingest.resolution": SIDE,
        **({"ingest.classes": ",".join(few(recipe["dataset"])["classes"])} if part else {}),
        "ipc": 1,
        "distill.iterations": 1,
        "distill.rounds": 1,
        "distill.batch_real": 4,
        "distill.learning_rate": smaller_steps(recipe),
        "distill.network": json.dumps(network),
        "evaluate.networks": json.dumps([network]),
        "evaluate.seeds": 2,
        "evaluate.epochs": 1,
        "evaluate.baselines": "random",
    }
    if "trajectory" in recipe["distill"]:
        short |= {
            "experts.count": 1,
            "experts.epochs": 4,
            "distill.trajectory.max_start": 1,
            "distill.trajectory.steps": 2,
            "distill.trajectory.step_rate": 1e-9,
        }
    config = configure([f"--recipe={name}", *(f"--{key}={value}" for key, value in short.items())], "bilp run", "")
    report = bilp.run(settings=config, root=str(tmp_path / "store"), device="cpu")
    assert "Unpruned" in repr(report) and "Random real images" in repr(report)
    assert SOURCES[recipe["dataset"]].title in report.html
