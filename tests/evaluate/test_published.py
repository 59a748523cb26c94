"""Recipes of published cells: complete, in force where their method exists, and compared with runs without flattery."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from bilp.artifacts import parquet
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish
from bilp.artifacts.tables import EVALUATION, REPRODUCTION
from bilp.config import METHODS, PipelineConfig
from bilp.config.explain import explain
from bilp.config.nested import leaves
from bilp.config.recipes import RECIPES, load_recipe, read_recipe, recipe_names
from bilp.config.sources import DEFAULT_SOURCE, SOURCES
from bilp.errors import ConfigError
from bilp.evaluate.metrics import mean_accuracy, measurements
from bilp.evaluate.reproduction import (
    SUMMARY,
    Published,
    compare,
    deviations,
    gains,
    load_published,
    load_reproduction,
    publish_reproduction,
    scaled,
)
from bilp.evaluate.results import FILE, KIND

CELLS = sorted(name for name in recipe_names() if name.startswith("published/"))
FOLDERS = sorted({name.split("/")[1] for name in CELLS})


def cells(folder: str) -> list[str]:
    return [name for name in CELLS if name.startswith(f"published/{folder}/")]


def test_every_cell_says_what_was_published_and_where() -> None:
    for name in CELLS:
        text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
        values, published = yaml.safe_load(text), load_published(name)
        _, folder, cell = name.split("/")
        assert text.startswith(f"# bilp reproduce {name}\n")
        assert f"# Source: {published.source}." in text, name
        assert f": {published.value:g}" in text.splitlines()[1] or f": {published.value}" in text.splitlines()[1], name
        assert cell == f"{values['dataset'].replace('_', '-')}-ipc{values['ipc']}"
        assert folder.removeprefix("bilp-").startswith(values["method"]), name
        assert published.arm == ("bilp" if folder.startswith("bilp") else "unpruned")
        assert published.arm in values["arms"]
        assert 1.0 < published.value < 100.0, "per cent"
        assert published.unpruned is None or published.unpruned < published.value, "the paper's tables show gains"


def test_the_tables_are_complete() -> None:
    expected = {
        "dc": 15,
        "dsa": 17,
        "dm": 24,
        "idc": 18,
        "idc-i": 18,
        "mtt": 21,
        "datm": 12,
        "pad": 12,
        "dream": 5,
        "rded": 7,
        "ncfm": 21,
        "sre2l": 6,
        "cda": 6,
        "lpld": 5,
        "fadrm": 1,
        "linba": 1,
        "haba": 3,
        "frepo": 8,
        "selmatch": 10,
        "ccfs": 10,
        "lgm-mocov3": 2,
        "bilp-dc": 6,
        "bilp-dm": 4,
        "bilp-idc": 5,
        "bilp-idc-x3": 5,
    }
    assert {folder: len(cells(folder)) for folder in FOLDERS} == expected
    assert load_published("published/dc/cifar10-ipc1") == Published(
        value=28.3, spread=0.5, source=load_published("published/dc/cifar10-ipc1").source
    )
    gain = [load_published(f"published/bilp-dc/cifar10-ipc{ipc}") for ipc in (1, 10, 50)]
    assert np.mean([cell.value - (cell.unpruned or math.nan) for cell in gain]) == pytest.approx(3.5 / 3)


def placed(name: str) -> dict[str, Any]:
    """A recipe, and an address where its data set has none of its own."""
    needs_uri = SOURCES[load_recipe(name).get("dataset", DEFAULT_SOURCE)].needs_uri
    return {"recipe": name, "ingest": {"uri": "x"}} if needs_uri else {"recipe": name}


@pytest.mark.parametrize("folder", FOLDERS)
def test_cells_of_methods_that_exist_are_in_force(folder: str) -> None:
    known = [name for name in cells(folder) if load_recipe(name)["dataset"] in SOURCES]
    method = load_recipe(cells(folder)[0])["method"]
    if method not in list(METHODS):
        pytest.skip(f"method {method} does not exist yet")
    for name in known:
        config = PipelineConfig.model_validate(placed(name))
        origins = {row.path: row.origin for row in explain(placed(name))}
        assert all(origins[path] == f"recipe {name}" for path, _ in leaves(load_recipe(name))), name
        assert (config.method, config.ipc) == (method, load_recipe(name)["ipc"])
        if method in ("dc", "dsa", "dm"):
            assert (config.experiments, config.evaluate.seeds) == (5, 20)


def test_cells_of_data_sets_that_are_not_built_in_hold_on_a_folder_of_ones_own() -> None:
    """Rules by the name of a data set cannot know these, so their recipes bring the settings of the papers themselves."""
    found = {}
    for name in CELLS:
        dataset = load_recipe(name)["dataset"]
        if dataset not in SOURCES or SOURCES[dataset].needs_uri:
            found[name] = PipelineConfig.model_validate({"recipe": name, "dataset": "folder", "ingest": {"uri": "x"}})

    def row(name: str) -> tuple[Any, ...]:
        distill = found[f"published/mtt/{name}"].distill
        t = distill.trajectory
        return t.steps, t.expert_epochs, t.max_start, distill.learning_rate, t.step_rate, t.step_size, t.batch, distill.network.depth

    assert row("tiny-imagenet-ipc1") == (10, 2, 9, 1e4, 1e-4, 0.01, None, 4)
    assert row("tiny-imagenet-ipc10") == (20, 2, 39, 1e4, 1e-4, 0.01, 200, 4)
    assert row("tiny-imagenet-ipc50") == (20, 2, 39, 1e4, 1e-4, 0.01, 300, 4)
    subsets = [f"image{kind}-ipc" for kind in ("nette", "woof", "fruit", "meow", "squawk", "yellow")]
    assert {row(f"{name}1") for name in subsets} == {(20, 2, 9, 1e5, 1e-6, 0.01, None, 5)}
    assert {row(f"{name}10") for name in subsets} == {(20, 2, 9, 1e5, 1e-6, 0.01, 20, 5)}
    assert all(found[f"published/mtt/{name}1"].ingest.whitening == "none" for name in subsets)
    for folder, factor in (("idc", 3), ("idc-i", 1)):
        for classes, base in ((10, 3e-3), (100, 1e-3)):
            for ipc in (10, 20):
                config = found[f"published/{folder}/imagenet{classes}-ipc{ipc}"]
                distill = config.distill
                assert (distill.iterations, distill.batch_real, distill.decode.factor, distill.idc.metric) == (500, 64, factor, "l1")
                assert (distill.idc.cutmix, distill.idc.train_samples, config.evaluate.cutmix) == (1.0, 500, 1.0)
                assert distill.decode.kind == ("bound_idc" if factor >= 3 and ipc >= 20 else "single"), "reproduce.py:57"
                assert config.ingest.normalization == "imagenet"
                assert distill.learning_rate == pytest.approx(base * ipc / 10)
                assert distill.network.name == config.evaluate.networks[0].name == "resnet10_ap"
                trained = (distill.network_learning_rate, distill.idc.network_weight_decay, distill.batch_train)
                assert trained == ((0.1, 1e-4, 128) if classes == 100 else (0.01, 5e-4, 64))
                beforehand = distill.idc.pretrained
                assert (beforehand.networks, distill.idc.early_epochs, distill.shards) == ((10, 0, 5) if classes == 100 else (0, 10, 1))
                if classes == 100:
                    assert (beforehand.epochs, beforehand.learning_rate, beforehand.weight_decay, beforehand.batch_size) == (5, *trained)
                    assert config.evaluate.epochs % 100 == 0


def test_cells_have_the_slips_of_the_published_runs_and_defaults_have_not() -> None:
    """IDC, DREAM, MTT, NCFM, SelMatch and CCFS normalize CIFAR-100 with CIFAR-10's constants, RDED with ImageNet's, and DREAM clusters
    pixels; ours does on demand. The programs in whose tables CDA's cells are have CIFAR-100's own."""
    for name in CELLS:
        values = load_recipe(name)
        if values["dataset"] == "cifar100":
            config, family = PipelineConfig(recipe=name), name.split("/")[1]
            own = family in ("dc", "dsa", "dm", "bilp-dc", "cda") or config.ingest.whitening == "zca"  # whitened pixels are not normalized
            slip = "imagenet" if family == "rded" else "cifar10"
            assert config.ingest.normalization == ("auto" if own else slip), name
        if values["method"] == "dream":
            dream = PipelineConfig(recipe=name).distill.dream
            assert (dream.clustered, dream.nearest) == ("pixels", "all"), name
    right = PipelineConfig.model_validate({"dataset": "cifar100", "method": "dream", "ipc": 10})
    assert (right.ingest.normalization, right.distill.dream.clustered, right.distill.dream.nearest) == ("auto", "normalized", "own")


def test_a_form_offers_only_recipes_that_can_be_chosen() -> None:
    offered = PipelineConfig.model_json_schema()["properties"]["recipe"]["enum"]
    assert {"digits", "published/dc/cifar10-ipc1"} <= set(offered)
    for name in offered:
        PipelineConfig.model_validate(placed(name))
    assert {load_recipe(name).get("dataset", DEFAULT_SOURCE) for name in offered} <= set(SOURCES)


def test_an_unknown_recipe_is_not_answered_with_every_cell() -> None:
    with pytest.raises(ConfigError) as caught:
        read_recipe("published/dc/nothing")
    assert "known recipes: cifar10-dc-ipc1, " in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "cell.yaml"
    values = {
        "published": {"value": 60.0, "spread": 2.0, "source": "a table", "arm": "bilp", "unpruned": 55.0},
        "dataset": "digits",
        "method": "dm",
        "experiments": 5,
        "distill": {"iterations": 200},
        "evaluate": {"seeds": 20},
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


def test_a_part_of_the_work_and_what_deviates(recipe: str) -> None:
    config = scaled(recipe, 0.1, {"distill": {"momentum": "0.4"}, "experiments": "2"})
    assert (config.distill.iterations, config.distill.rounds, config.evaluate.seeds, config.experiments) == (20, 10, 2, 2)
    assert config.arms == ("unpruned", "bilp")
    assert config.evaluate.baselines == ()
    assert deviations(recipe, config, "cuda:0") == [
        "reselect.candidates_per_class: 36 in the recipe, 16 here",
        "distill.iterations: 200 in the recipe, 20 here",
        "distill.momentum: 0.5 in the recipe, 0.4 here",
        "evaluate.seeds: 20 in the recipe, 2 here",
        "experiments: 5 in the recipe, 2 here",
    ]
    whole = scaled(recipe, 1.0, {})
    assert deviations(recipe, whole, "cuda") == []
    assert [line.split(":")[0] for line in deviations(recipe, whole, "cpu")] == ["device"]
    assert scaled(recipe, 0.5, {"distill": {"iterations": "7"}}).distill.iterations == 7, "what is typed goes first"
    assert scaled(recipe, 1.0, {"arms": ["static", "bilp"]}).arms == ("static", "bilp")
    for scale in (0.0, 1.5):
        with pytest.raises(ConfigError, match="above 0 and up to 1"):
            scaled(recipe, scale, {})


def evaluation(folder: Path, arm: str, experiment: int, values: list[float], top_k: int = 0) -> str:
    """Top-k accuracies, if there are any, lie halfway to 1."""
    count = len(values)
    within = [(1 + value) / 2 if top_k else math.nan for value in values]
    columns: dict[str, Any] = {
        "arm": [arm] * count,
        "experiment": [experiment] * count,
        "network": ["convnet"] * count,
        "seed": list(range(count)),
        "accuracy": values,
        "best_accuracy": values,
        "train_images": [10] * count,
        "epochs": [5] * count,
        "top_k": [top_k] * count,
        "top_k_accuracy": within,
        "best_top_k_accuracy": within,
    }
    key = f"{arm}{experiment}"
    facts = {"dataset": "0" * 16, "arm": arm, "experiment": experiment, "synthetic": key, "networks": ["convnet"]}
    files = {FILE: encode(pa.table(columns), EVALUATION, {})}
    return publish(str(folder / key), KIND, key, files, config={}, parents={}, facts=facts).uri


@pytest.fixture
def evaluations(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(3)
    return [
        evaluation(tmp_path, arm, experiment, (center + 0.02 * random.standard_normal(4)).tolist())
        for arm, center in (("random", 0.2), ("unpruned", 0.54), ("bilp", 0.62))
        for experiment in range(1 if arm == "random" else 3)
    ]


def test_the_distance_has_an_interval_over_experiments_and_trainings(recipe: str, evaluations: list[str]) -> None:
    rows = compare(load_published(recipe), evaluations)
    assert [(row.arm, row.n, row.published) for row in rows] == [("unpruned", 3, 55.0), ("bilp", 3, 60.0)]
    bilp, expected = rows[1], mean_accuracy([row for row in measurements(evaluations) if row.arm == "bilp"])
    assert (bilp.accuracy, bilp.half_width95) == pytest.approx((100 * expected.mean, 100 * expected.half_width95))
    assert bilp.difference == pytest.approx(bilp.accuracy - 60.0)
    assert math.isnan(rows[0].spread)
    outside = abs(bilp.difference) > bilp.half_width95
    assert re.search(r"published 60 \+- 2 %: [+-]\d+\.\d\d points, (outside|within) our interval$", bilp.sentence)
    assert ("outside" in bilp.sentence) == outside
    gain = gains(evaluations, ("unpruned", "bilp"))
    assert gain["bilp"].mean * 100 == pytest.approx(bilp.accuracy - rows[0].accuracy, rel=1e-4)
    assert gain.keys() == {"bilp"}


def test_the_comparison_is_an_artifact_that_says_everything(recipe: str, evaluations: list[str], tmp_path: Path) -> None:
    config = scaled(recipe, 0.1, {})
    uri = publish_reproduction(recipe, config, evaluations, "cpu", str(tmp_path))
    assert publish_reproduction(recipe, config, evaluations, "cpu", str(tmp_path)) == uri
    assert publish_reproduction(recipe, config, evaluations, "cuda", str(tmp_path)) != uri
    rows, content = load_reproduction(uri)
    assert [row.sentence for row in rows] == [row.sentence for row in compare(load_published(recipe), evaluations)]
    assert content == json.loads(open_artifact(uri, "reproduction").read(SUMMARY))
    assert content["published"]["value"] == 60.0 and content["published"]["metric"] == "top1"
    assert content["results"][0]["spread"] is None
    assert content["gains"]["bilp"]["n"] == 3
    assert content["deviations"] == deviations(recipe, config, "cpu")
    assert len(open_artifact(uri, "reproduction").manifest.parents) == len(evaluations)


@pytest.mark.parametrize(("metric", "ks"), [("top1", [1]), ("top5", [5]), ("unknown", [1, 5])])
def test_the_metric_says_what_is_compared_and_is_named(metric: str, ks: list[int], recipe: str, tmp_path: Path) -> None:
    evaluations = [evaluation(tmp_path, arm, 0, [0.4, 0.6], top_k=5) for arm in ("unpruned", "bilp")]
    published = load_published(recipe).model_copy(update={"metric": metric})
    rows = [row for row in compare(published, evaluations) if row.arm == "bilp"]
    assert [row.k for row in rows] == ks
    for row in rows:
        ours = {1: 50.0, 5: 75.0}[row.k]
        assert row.accuracy == pytest.approx(ours) and row.difference == pytest.approx(ours - 60.0)
        assert row.sentence.startswith(f"bilp on convnet, top {row.k}: {ours:.2f} ")
        assert ("published 60 +- 2 % (metric unknown)" in row.sentence) == (metric == "unknown")


def test_what_was_not_recorded_is_no_published_metric(recipe: str, evaluations: list[str], tmp_path: Path) -> None:
    published = load_published(recipe)
    with pytest.raises(ConfigError, match="is a top-5 accuracy, and the evaluation of unpruned has no top 5 accuracies"):
        compare(published.model_copy(update={"metric": "top5"}), evaluations)
    assert {row.k for row in compare(published.model_copy(update={"metric": "unknown"}), evaluations)} == {1}
    values = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    values["published"] |= {"metric": "top5", "unknown": ["resolution"]}
    other = tmp_path / "top5.yaml"
    other.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"evaluate\.top_k = 3 records another one: set it to 5"):
        scaled(str(other), 0.1, {"evaluate": {"top_k": "3"}})
    evaluations = [evaluation(tmp_path, f"arm{k}", 0, [0.4, 0.6], top_k=5) for k in range(2)]
    uri = publish_reproduction(str(other), scaled(str(other), 0.1, {}), evaluations, "cpu", str(tmp_path))
    rows, content = load_reproduction(uri)
    assert [(row.k, row.metric) for row in rows] == [(5, "top5")] * 2
    assert (content["published"]["metric"], content["published"]["unknown"]) == ("top5", ["resolution"])


def test_reproductions_from_before_are_of_top_1(recipe: str, evaluations: list[str]) -> None:
    columns = {name: [getattr(row, name) for row in compare(load_published(recipe), evaluations)] for name in REPRODUCTION.names}
    former = pa.schema([field for field in REPRODUCTION if field.name not in ("k", "metric")])
    read = parquet.read(encode(pa.table(columns).select(former.names), former, {}), REPRODUCTION)
    assert (set(read["k"].to_pylist()), set(read["metric"].to_pylist())) == ({1}, {"top1"})


@pytest.mark.parametrize(
    ("published", "message"),
    [(None, "states no published value"), ({"value": 60}, "published.source: Field required"), ({"value": 600, "source": "x"}, "value")],
)
def test_a_recipe_without_a_published_value_cannot_be_reproduced(published: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump({"dataset": "digits"} | ({} if published is None else {"published": published})), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_published(str(path))
