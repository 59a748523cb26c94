"""DC's program treats its ConvNet with batch norm differently: decided network by network, and no other result is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bilp.artifacts.artifact import content_key, open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig, PipelineConfig
from bilp.config.explain import explain
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, variants
from bilp.evaluate.own import own_settings
from bilp.evaluate.results import FILE, KIND, Publication
from bilp.evaluate.train_all import Plan

PublishSet = Callable[..., str]

PLAIN, BATCH = NetworkConfig(width=8), NetworkConfig(width=8, norm="batch")
BOTH: dict[str, Any] = {"networks": [{}, {"norm": "batch"}]}


def dc(dataset: str = "cifar10", **evaluate: Any) -> EvaluateConfig:
    return PipelineConfig.model_validate({"dataset": dataset, "method": "dc", "evaluate": {**BOTH, **evaluate}}).evaluate


def treatment(config: EvaluateConfig, network: NetworkConfig) -> tuple[tuple[str, ...], int]:
    """Operations and epochs with which a network is trained on a synthetic set."""
    schedule = Plan(config, config.epochs, "test").of(network).schedule
    return schedule.augment_each, schedule.epochs


@pytest.mark.parametrize("dataset", ["cifar10", "svhn", "mnist", "fashion_mnist"])
def test_dc_evaluates_its_convnet_with_batch_norm_under_crop_and_noise_for_1000_epochs(dataset: str) -> None:
    config = dc(dataset)
    others = (("crop", "scale", "rotate"), 1000) if dataset == "mnist" else ((), 300)
    assert treatment(config, NetworkConfig(norm="batch", width=64, depth=4)) == (("crop", "noise"), 1000)  # wins on MNIST
    for settings in ({}, {"norm": "batch", "activation": "swish"}, {"name": "alexnet", "norm": "batch"}, {"name": "resnet10"}):
        assert treatment(config, NetworkConfig.model_validate(settings)) == others


def test_only_where_the_program_of_dc_decides() -> None:
    off = ((), None)

    def found(values: dict[str, Any]) -> tuple[tuple[str, ...], int | None]:
        config = PipelineConfig.model_validate(values).evaluate
        return config.batch_norm_augment_each, config.batch_norm_epochs

    base = {"dataset": "cifar10", "method": "dc", "evaluate": BOTH}
    assert found(base) == (("crop", "noise"), 1000)
    assert found({**base, "evaluate": {"pool": "N"}}) == found({**base, "evaluate": {"pool": "B"}}) == (("crop", "noise"), 1000)
    assert found({**base, "evaluate": {"pool": "SS"}, "distill": {"network": {"norm": "batch"}}}) == (("crop", "noise"), 1000)
    assert found({**base, "evaluate": {"pool": "M"}}) == off, "no such network"
    assert found({**base, "method": "dm"}) == found({**base, "method": "dsa"}) == off
    assert found({**base, "evaluate": {**BOTH, "protocol": "idc"}}) == off
    assert found({**base, "dataset": "digits"}) == off, "images of 8x8 would be cropped away"
    assert found({**base, "evaluate": {**BOTH, "epochs": 5}}) == (("crop", "noise"), None), "a short run stays short"
    assert found({**base, "evaluate": {**BOTH, "augment_each": ["scale"]}}) == ((), 1000)
    assert found({**base, "evaluate": {**BOTH, "batch_norm_augment_each": [], "batch_norm_epochs": 7}}) == ((), 7)
    origins = {row.path: row.origin for row in explain(base)}
    assert origins["evaluate.batch_norm_epochs"] == origins["evaluate.batch_norm_augment_each"] == "method dc (its ConvNet with batch norm)"
    config = PipelineConfig.model_validate(base)
    assert PipelineConfig.model_validate(config.model_dump()) == config


def test_models_may_be_given_as_well_as_their_settings() -> None:
    config = PipelineConfig(dataset="cifar10", method="dc", evaluate={"networks": (NetworkConfig(norm="batch"),)})
    assert config.evaluate.batch_norm_epochs == 1000


def test_own_settings_are_settled_once() -> None:
    config = EvaluateConfig(networks=(PLAIN, BATCH), epochs=4, batch_norm_augment_each=("crop", "noise"), batch_norm_epochs=9)
    own = own_settings(config, BATCH)
    assert own == EvaluateConfig(networks=(PLAIN, BATCH), epochs=9, augment_each=("crop", "noise")) == own_settings(own, BATCH)
    assert own_settings(config, PLAIN) == EvaluateConfig(networks=(PLAIN, BATCH), epochs=4)
    plain = variants(config)["plain"]
    assert treatment(plain, BATCH) == ((), 9), "no augmentation, and as long as with it"


def rows(uri: str) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["network"], row["seed"]): row for row in open_artifact(uri, KIND).table(FILE, EVALUATION).to_pylist()}


def test_every_network_is_trained_as_if_it_were_alone(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path
) -> None:
    base = small.model_copy(update={"epochs": 3, "full_epochs": 1})
    mixed = base.model_copy(update={"networks": (PLAIN, BATCH), "batch_norm_augment_each": ("crop", "noise"), "batch_norm_epochs": 5})
    alone = {
        "plain": base.model_copy(update={"networks": (PLAIN,)}),
        "batch": base.model_copy(update={"networks": (BATCH,), "augment_each": ("crop", "noise"), "epochs": 5}),
    }
    synthetic, root = publish_set("a"), str(tmp_path)
    done: list[tuple[int, int]] = []
    together = rows(evaluate_synthetic(digits_uri, synthetic, "static", 0, mixed, root, progress=lambda *told: done.append(told[:2])))
    assert done[-1] == (2 * 4 + 2 * 6, 2 * 4 + 2 * 6), "an epoch more than the setting, for each of two seeds"
    assert [step for step, _ in done] == sorted(step for step, _ in done)
    wanted: dict[tuple[str, int], dict[str, Any]] = {}

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    for config in alone.values():
        wanted |= rows(evaluate_synthetic(digits_uri, synthetic, "static", 0, config, str(tmp_path / "elsewhere")))
        evaluate_synthetic(digits_uri, synthetic, "static", 0, config, root, progress=never)  # the trainings are there already
    assert together == wanted
    assert {network: row["epochs"] for (network, _), row in together.items()} == {"convnet width 8": 3, "convnet width 8 norm batch": 5}
    different = base.model_copy(update={"networks": (BATCH,)})
    assert rows(evaluate_synthetic(digits_uri, synthetic, "static", 0, different, root)) != rows(
        evaluate_synthetic(digits_uri, synthetic, "static", 0, alone["batch"], root)
    )


def test_on_all_real_data_every_network_has_the_same_epochs(digits_uri: str, small: EvaluateConfig, tmp_path: Path) -> None:
    config = small.model_copy(update={"networks": (PLAIN, BATCH), "full_epochs": 1, "batch_norm_epochs": 99})
    found = rows(evaluate_baseline(digits_uri, "full", 1, config, str(tmp_path)))
    assert {row["epochs"] for row in found.values()} == {1}


def keys(config: EvaluateConfig, subject: str = "0123456789abcdef") -> tuple[str, list[str]]:
    """Key of an evaluation, and of the folders of its networks' trainings."""
    publication = Publication("root", config, config.epochs, "bilp", 0, "fingerprint", {"synthetic": subject})
    return publication.key, [publication.parts_of(network).folder.rpartition("/")[2] for network in config.networks]


def test_keys_of_what_existed_before_stay_as_they_were() -> None:
    """The literals come from the program as it was before the rule for batch norm."""
    dm = PipelineConfig(dataset="cifar10", method="dm", evaluate=BOTH)
    plain = PipelineConfig(dataset="cifar10", method="dc")
    soft = PipelineConfig(dataset="cifar100", ipc=10, evaluate={"protocol": "soft"})
    assert keys(dm.evaluate) == ("51437a27dcf40559", ["a668fe28ee6f360f"] * 2)
    assert keys(plain.evaluate) == ("242d12eae32fb1b6", ["c5cd5baabefa93f6"])
    assert keys(soft.evaluate) == ("81dc7afb3a765af1", ["e214a67d446074d2"])
    whole = [content_key("any", 1, config=config) for config in (dm, plain, soft)]
    assert whole == ["227bd199da4823f0", "5cec1af0bc390c25", "5c6391f1cec5c6d2"]


def test_a_setting_that_came_later_is_in_a_key_only_where_it_does_something() -> None:
    plain, after = EvaluateConfig(networks=(PLAIN,)), EvaluateConfig(networks=(PLAIN,), augment_after=("cutout",))
    assert keys(plain) == keys(plain.model_copy(update={"augment_after": ()}))
    assert keys(plain)[0] != keys(after)[0] and keys(plain)[1] != keys(after)[1]


def test_what_a_rule_for_one_network_changes_is_in_the_keys_where_it_matters() -> None:
    before = EvaluateConfig(networks=(PLAIN, BATCH))
    after = before.model_copy(update={"batch_norm_augment_each": ("crop", "noise"), "batch_norm_epochs": 1000})
    (old, (plain_parts, batch_parts)), (new, (same, other)) = keys(before), keys(after)
    assert old != new and plain_parts == same and batch_parts != other
    assert keys(after.model_copy(update={"batch_norm_epochs": 999}))[0] != new
    without = EvaluateConfig(networks=(PLAIN,))
    unused = without.model_copy(update={"batch_norm_augment_each": ("crop", "noise"), "batch_norm_epochs": 1000})
    assert keys(without) == keys(unused)
    assert content_key("any", 1, config=before) != content_key("any", 1, config=after)
