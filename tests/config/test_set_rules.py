"""What papers share about large sets: as rules that give way to a recipe and to what is typed, by the names of the sources."""

from __future__ import annotations

from typing import Any

import pytest

from bilp.config import PipelineConfig
from bilp.config.explain import explain
from bilp.config.set_rules import SetRules, convnet_depth, depth_for, set_values
from bilp.config.sources import SOURCES


def usual(name: str) -> SetRules | None:
    return SOURCES[name].usual


@pytest.mark.parametrize(("side", "depth"), [(4, 1), (8, 1), (16, 2), (28, 2), (32, 3), (64, 4), (112, 4), (128, 5), (224, 5), (256, 6)])
def test_depth_leaves_a_map_of_four_pixels(side: int, depth: int) -> None:
    assert convnet_depth(side) == depth


def test_what_the_rules_say() -> None:
    assert set_values(usual("digits")) == {} == set_values(usual("folder"))
    assert (depth_for(usual("digits"), 64), depth_for(usual("folder"), None), depth_for(usual("kinetics400"), None)) == (None, None, None)
    assert set_values(usual("imagenet1k")) == {"ingest": {"resolution": 64, "normalization": "imagenet"}}
    assert [depth_for(usual("imagenet1k"), side) for side in (None, 128, 16)] == [4, 5, 2]
    assert set_values(usual("kinetics400"))["ingest"] == set_values(usual("imagenet1k"))["ingest"]


def configured(name: str, **more: Any) -> tuple[PipelineConfig, dict[str, str]]:
    given = {"dataset": name, "ingest": {"uri": "x", **more.pop("ingest", {})}, **more}
    return PipelineConfig.model_validate(given), {row.path: row.origin for row in explain(given)}


@pytest.mark.parametrize("name", [name for name in SOURCES if usual(name)])
def test_a_set_has_its_resolution_constants_and_depth(name: str) -> None:
    if name not in SOURCES:
        pytest.skip(f"data set {name} is not built in")
    config, origins = configured(name)
    rules, why = usual(name), f"dataset {name} (usual in papers)"
    assert (config.ingest.resolution, config.ingest.normalization) == (rules.side, "imagenet")
    assert origins["ingest.normalization"] == why
    if rules.convnet:
        networks = [config.score.network, config.distill.network, *config.evaluate.networks, config.evaluate.teacher.network]
        assert {network.depth for network in networks} == {convnet_depth(rules.side)}
        assert origins["distill.network.depth"] == why
    smaller, origins = configured(name, ingest={"resolution": 16})
    assert (smaller.ingest.resolution, origins["ingest.resolution"]) == (16, "given")
    if rules.convnet:
        assert smaller.distill.network.depth == smaller.evaluate.networks[0].depth == 2
        assert configured(name, distill={"network": {"depth": 3}})[0].distill.network.depth == 3
        assert configured(name, distill={"network": {"name": "resnet10_ap"}})[0].distill.network.depth == 3, "it has no such setting"
        pool = configured(name, evaluate={"pool": "M"})[0].evaluate.networks
        assert [network.depth for network in pool if network.name == "convnet"] == [convnet_depth(rules.side)]
        protocol, _ = configured(name, evaluate={"protocol": "rd3"})
        assert protocol.evaluate.networks[0].name == "resnet18", "a protocol's networks go first"


def test_mirroring_is_left_out_where_it_changes_the_class() -> None:
    if "ssv2" not in SOURCES:
        pytest.skip("data set ssv2 is not built in")
    config, _ = configured("ssv2")
    augmented = (*config.experts.augment, *config.distill.augment, *config.evaluate.augment, *config.evaluate.augment_always)
    assert "flip" not in augmented
