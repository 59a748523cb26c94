"""Words: the verdict claims no more than the numbers allow, and the settings repeat the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bilp.config import CRITERIA, PipelineConfig, PruneConfig, ReselectConfig, ScoreConfig
from bilp.config.command_line import parse
from bilp.config.defaults import complete
from bilp.config.rules import RULES
from bilp.evaluate.uncertainty import estimate
from bilp.report.comparison import Training, against_arm, against_baseline, network_title, over_random
from bilp.report.effect import relative, thresholds
from bilp.report.settings import origins_of, rerun_command, settings
from bilp.report.verdict import Amounts, verdict
from bilp.report.wording import data_size, rule_meaning, score_meaning, share

AMOUNTS = Amounts(synthetic=10, real=1437, static_share=0.3, adaptive_share=0.096)


def trainings(arm: str, *accuracies: float, experiment: int = 0, network: str = "convnet width 64") -> list[Training]:
    """One training per accuracy, seeds 0, 1, ..."""
    return [Training(arm, experiment, network, seed, value, value + 0.05, 10, 5) for seed, value in enumerate(accuracies)]


def said(*rows: list[Training]) -> str:
    return verdict([row for group in rows for row in group], AMOUNTS).replace("\xa0", " ")


def test_verdict_of_a_difference_that_may_be_chance() -> None:
    unpruned, bilp = trainings("unpruned", 0.70, 0.72, 0.74), trainings("bilp", 0.71, 0.71, 0.75)
    assert said(trainings("random", 0.50, 0.51, 0.52), unpruned, bilp) == (
        "10 synthetic images trained a ConvNet to 72.3 % ± 5.7 accuracy; a random subset of the same size reaches 51.0 % ± 2.5; "
        "with 30 % of the data pruned and 9.6 % of the measured rest left out while distilling, "
        "BiLP is +0.3 ± 2.9 points against the unpruned run: no clear difference."
    )


@pytest.mark.parametrize(("shift", "words"), [(0.03, "+3.0 ± 0.0 points against the unpruned run: a clear gain"), (-0.03, "a clear loss")])
def test_verdict_uses_pairs_not_the_spread_of_each_arm(shift: float, words: str) -> None:
    base = (0.5, 0.7, 0.9)  # the arms' own intervals overlap widely
    assert words in said(trainings("unpruned", *base), trainings("static", *(value + shift for value in base)))


def test_verdict_says_when_random_images_do_as_well() -> None:
    rows = said(trainings("random", 0.5, 0.6, 0.4), trainings("unpruned", 0.52, 0.55, 0.48))
    assert "a random subset of the same size reaches 50.0 % ± 24.8 (no clear difference)." in rows
    assert "(a clear loss)" in said(trainings("random", 0.9, 0.91, 0.9), trainings("unpruned", 0.5, 0.5, 0.51))


def test_verdict_without_evaluations() -> None:
    assert said() == "10 synthetic images were made; how well they teach has not been evaluated."


def test_several_experiments_count_as_often_as_there_were_distillations() -> None:
    rng = np.random.default_rng()
    ours, theirs = rng.uniform(0.5, 0.6, (3, 5)), rng.uniform(0.5, 0.6, (3, 5))
    rows = [row for e in range(3) for row in trainings("bilp", *ours[e], experiment=e) + trainings("unpruned", *theirs[e], experiment=e)]
    found = against_arm(rows, "bilp", "unpruned", "convnet width 64")
    assert found is not None and found.n == 3
    reference = estimate({(e, ("convnet", s)): float(value) for (e, s), value in np.ndenumerate(ours - theirs)})
    assert (found.mean, found.half_width95) == pytest.approx((reference.mean, reference.half_width95))


def test_a_baseline_is_paired_by_seed_with_every_experiment() -> None:
    rng = np.random.default_rng()
    ours, baseline = rng.uniform(0.5, 0.6, (2, 5)), rng.uniform(0.3, 0.6, 5)
    rows = trainings("random", *baseline) + [row for e in range(2) for row in trainings("bilp", *ours[e], experiment=e)]
    found = against_baseline(rows, "bilp", "random", "convnet width 64")
    assert found is not None and found.n == 5
    reference = estimate({(e, ("convnet", s)): float(value) for (e, s), value in np.ndenumerate(ours - baseline)})
    assert (found.mean, found.half_width95) == pytest.approx((reference.mean, reference.half_width95))
    assert over_random(rows, "bilp", "convnet width 64") == found
    assert over_random(rows, "random", "convnet width 64") is None is over_random(rows[5:], "bilp", "convnet width 64")


def test_arms_that_were_not_evaluated_alike_are_not_compared() -> None:
    rows = trainings("bilp", 0.5, 0.6) + trainings("unpruned", 0.5, 0.6, 0.7)
    assert against_arm(rows, "bilp", "unpruned", "convnet width 64") is None
    assert against_arm(rows, "bilp", "static", "convnet width 64") is None


def test_thresholds_of_effects_are_those_that_decided() -> None:
    rng = np.random.default_rng()
    tables = []
    for label, size in enumerate((1e-6, 1.0, 50.0)):
        ite = size * np.exp(rng.normal(size=400))
        center = np.median(ite)
        dropped = (ite < 0.3 * center) | (ite > 4.0 * center)
        tables.append(pd.DataFrame({"sample_id": np.arange(400), "label": label, "ite": ite, "dropped": dropped}))
    table = pd.concat(tables, ignore_index=True)
    low, high = thresholds(table)
    assert low == pytest.approx(0.3, rel=0.15) and high == pytest.approx(4.0, rel=0.15)
    assert relative(table).groupby(table["label"]).median().tolist() == pytest.approx([1, 1, 1])
    assert thresholds(table.assign(dropped=False)) == (None, None)
    assert relative(table.assign(ite=0.0)).isna().all()


CONFIGS: list[dict[str, Any]] = [
    {},
    {"dataset": "cifar10", "method": "dc", "ipc": 10, "keep": 0.6, "seed": -3},
    {"beta": 0, "arms": ["static", "unpruned"], "experiments": 2, "reselect": {"candidates_per_class": None}},
    {"prune": {"band": [0.1, 0.6], "per_class": False}, "evaluate": {"networks": [{"name": "mlp"}, {"width": 32, "depth": 2}]}},
    {"dataset": "folder", "ingest": {"uri": "s3://bucket/it's here", "resolution": 32}, "distill": {"iterations": 7, "rounds": 2}},
    {"distill": {"augment": ["crop", "flip"], "network": {"norm": "batch"}}, "score": {"learning_rate": 0.003}},
    {"prune": {"criterion": "el2n"}, "score": {"trials": 5, "epochs": 5}},
    {"dataset": "cifar10", "method": "dc", "evaluate": {"networks": [{"norm": "batch"}]}},
    {"dataset": "cifar10", "method": "dc", "evaluate": {"networks": [{"norm": "batch"}], "batch_norm_epochs": None}},
]


def forgotten(config: PipelineConfig) -> PipelineConfig:
    """A configuration of equal values that does not know where they came from."""
    return config.model_copy(update={"seed": config.seed})


@pytest.mark.parametrize("given", CONFIGS)
def test_the_command_repeats_the_configuration(given: dict[str, Any]) -> None:
    config = PipelineConfig.model_validate(given)
    for origins in (None, config.origins, PipelineConfig.model_validate(config.model_dump()).origins):
        words = shlex.split(rerun_command(config, origins))
        assert words[:2] == ["bilp", "run"]
        assert PipelineConfig.model_validate(parse(words[2:], "pipeline", "").given) == config


def test_given_is_what_somebody_gave() -> None:
    def given(config: PipelineConfig) -> set[str]:
        return {row.path for stage in settings(config, origins_of(config)).values() for row in stage if row.origin == "given"}

    assert given(PipelineConfig(dataset="digits")) == {"dataset"}
    assert given(PipelineConfig.model_validate({"ipc": 1, "prune": {"per_class": "yes"}})) == {"ipc", "prune.per_class"}
    assert given(PipelineConfig(reselect=ReselectConfig(low_share=0.5))) == {"reselect.low_share"}
    assert rerun_command(*known(PipelineConfig(dataset="digits"))) == "bilp run --dataset digits"
    short = PipelineConfig.model_validate({"method": "dc", "distill": {"iterations": 20}})
    assert rerun_command(*known(short)) == "bilp run --method dc --distill.iterations 20"
    networks = PipelineConfig.model_validate({"arms": ["unpruned"], "evaluate": {"networks": ["convnet", "mlp"]}})
    assert rerun_command(*known(networks)) == "bilp run --arms unpruned --evaluate.networks convnet,mlp"
    shaped = PipelineConfig.model_validate({"evaluate": {"networks": ["mlp", {"name": "convnet", "width": 8}]}})
    assert rerun_command(*known(shaped)) == """bilp run --evaluate.networks '["mlp", {"name": "convnet", "width": 8}]'"""


def known(config: PipelineConfig) -> tuple[PipelineConfig, Mapping[str, str]]:
    return config, origins_of(config)


def test_settings_list_every_value_with_origin_and_meaning() -> None:
    given = {"dataset": "digits", "ipc": 3, "distill": {"iterations": 77}}
    config = PipelineConfig.model_validate(given)
    for origins in (complete(given).origins, origins_of(config), origins_of(forgotten(config))):
        rows = {row.path: row for stage in settings(config, origins).values() for row in stage}
        assert all(row.meaning and row.value for row in rows.values())
        assert (rows["distill.iterations"].value, rows["distill.iterations"].origin) == ("77", "given")
        assert (rows["distill.batch_real"].value, rows["distill.batch_real"].origin) == ("128", "dataset digits")
        assert (rows["distill.rounds"].value, rows["distill.rounds"].origin) == ("10", "default")
        assert rows["evaluate.networks"].value.startswith("name convnet, width 64")
    stages = settings(config, origins_of(config))
    assert list(stages) == ["dials", "ingest", "score", "prune", "experts", "reselect", "distill", "evaluate", "report"]


def test_score_and_rule_are_explained() -> None:
    name, sentence = score_meaning(PruneConfig(), ScoreConfig(trials=3))
    assert name == "loss" and "the first 5 passes of 3 short trainings" in sentence
    assert "the last pass of 1 short training." in score_meaning(PruneConfig(criterion="loss_converge"), ScoreConfig(trials=1))[1]
    assert score_meaning(PruneConfig(criterion="random"), ScoreConfig())[0] == "random number"
    assert rule_meaning(PruneConfig(keep=0.7)).replace("\xa0", " ") == "In each class, the 30 % with the highest scores are dropped."
    both = rule_meaning(PruneConfig(keep=0.7, drop="both", low_share=0.2)).replace("\xa0", " ")
    assert both == "In each class, the 6 % with the lowest and the 24 % with the highest scores are dropped."
    assert "those images stay whose score a mixture of two normal distributions (auto)" in rule_meaning(PruneConfig(keep="auto"))
    for rule in RULES:
        found = RULES[rule].found  # the share, by itself
        said = rule_meaning(PruneConfig(rule=rule, keep="auto" if found else 0.7)).replace("\xa0", " ")
        assert said.startswith("In each class, ") and (found or "70 %" in said or "30 %" in said) and "{" not in said
    assert "between 10 % and 60 %" in rule_meaning(PruneConfig(band=(0.1, 0.6), per_class=False)).replace("\xa0", " ")


def test_every_criterion_has_words_of_its_own() -> None:
    told = {name: score_meaning(PruneConfig.model_construct(criterion=name), ScoreConfig(trials=2)) for name in CRITERIA}
    assert len({sentence for _, sentence in told.values()}) == len(told)
    assert all(sentence.endswith(".") for _, sentence in told.values())
    for name, words in [("el2n", "error norm"), ("forgetting", "forgetting count"), ("aum", "margin"), ("herding", "place in herding")]:
        assert told[name][0] == words
        assert "loss" not in told[name][1]
    early = ScoreConfig(trials=10, epochs=20, early_from=20, early_to=20, gradient_norm="last_layer")
    sentence = score_meaning(PruneConfig(criterion="grand"), early)[1]
    assert "would change the last layer, averaged over pass 20 of 10 short trainings." in sentence
    floor = PruneConfig(criterion="aum", per_class=False, floor_per_class=3, keep=0.75)
    assert rule_meaning(floor).replace("\xa0", " ") == (
        "Over all classes together, the 25 % with the lowest scores are dropped, except that the 3 best-ranked of each class stay."
    )


def test_short_words() -> None:
    assert (share(0.5), share(0.0957), share(1.0)) == ("50\xa0%", "9.6\xa0%", "100\xa0%")
    assert [data_size(size) for size in (12, 999, 1500, 123_456, 7_000_000, 5 * 10**12)] == [
        "12 B",
        "999 B",
        "1.5 kB",
        "123 kB",
        "7.0 MB",
        "5000 GB",
    ]
    assert network_title("convnet width 64 depth 2") == "ConvNet (width 64, depth 2)" and network_title("resnet18") == "ResNet-18"
