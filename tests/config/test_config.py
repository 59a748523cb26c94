"""The configuration: what is refused and how, what is derived from what, and what the command line makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import bilp
from bilp.artifacts.artifact import plain
from bilp.config import (
    CRITERIA,
    METHODS,
    DistillConfig,
    EvaluateConfig,
    ExpertsConfig,
    IngestConfig,
    NetworkConfig,
    PipelineConfig,
    PruneConfig,
    ReselectConfig,
    ScoreConfig,
    TrajectoryConfig,
    recipes,
)
from bilp.config.arms import needs_experts, needs_scores, needs_selection, planned_runs, pruning_note
from bilp.config.augmentations import AUGMENTATIONS
from bilp.config.base import as_recorded
from bilp.config.command_line import configure, parse
from bilp.config.defaults import LIMITED, complete
from bilp.config.explain import DEFAULT, GIVEN, explain, problems
from bilp.config.methods import divisible, either
from bilp.config.methods.dc import DC_LOOPS, dc_loops
from bilp.config.methods.idc import IdcConfig
from bilp.config.methods.pretrained import PretrainedConfig
from bilp.config.nested import leaves
from bilp.config.recipes import load_recipe
from bilp.config.sources import DEFAULT_SOURCE, SOURCES

STAGES: dict[str, type[BaseModel]] = {
    "ingest": IngestConfig,
    "score": ScoreConfig,
    "prune": PruneConfig,
    "experts": ExpertsConfig,
    "reselect": ReselectConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
}


def refusal(values: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        PipelineConfig.model_validate(values)
    return problems(caught.value, values)


def origin(path: str, values: dict[str, Any]) -> str:
    return next(setting.origin for setting in explain(values) if setting.path == path)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_unknown_key_of_every_stage_is_named_with_its_path(stage: str) -> None:
    field = list(STAGES[stage].model_fields)[-1]
    assert refusal({stage: {f"{field}x": 1}}) == [f"{stage}.{field}x: no such setting; did you mean {stage}.{field}?"]


def test_unknown_key_that_resembles_nothing_points_to_the_list() -> None:
    assert refusal({"zzzzzz": 1}) == ["zzzzzz: no such setting; --explain lists them all"]


@pytest.mark.parametrize(
    ("values", "path", "meant"),
    [
        ({"distill": {"curriculum": {"epochs": 20}}}, "distill.curriculum", "distill.coarse_to_fine"),
        ({"distill": {"curriculum": {"share": 0.5, "epochs": 20}}}, "distill.curriculum", "distill.coarse_to_fine"),
        ({"distill": {"curriculum": {"momentum": 0}}}, "distill.curriculum", "distill.coarse_to_fine or distill.hallucinators"),
        ({"distill": {"idmm": {"networks": 3}}}, "distill.idmm", "distill.idm"),
        ({"distil": {"curriculum": {}}}, "distil", "distill"),
    ],
    ids=str,
)
def test_an_unknown_group_is_told_with_those_beside_it_that_have_what_is_in_it(values: dict[str, Any], path: str, meant: str) -> None:
    assert refusal(values) == [f"{path}: no such setting; did you mean {meant}?"]


def test_unknown_key_inside_a_list_of_networks() -> None:
    assert refusal({"evaluate": {"networks": [{"widht": 3}]}}) == [
        "evaluate.networks.0.widht: no such setting; did you mean evaluate.networks.width?"
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ipc": 0}, "ipc = 0: input should be greater than or equal to 1"),
        ({"keep": 0}, "keep = 0: input should be greater than 0"),
        ({"keep": 1.5}, "keep = 1.5: input should be less than or equal to 1"),
        ({"beta": 1}, "beta = 1: input should be less than 1"),
        ({"beta": float("nan")}, "beta = NaN: input should be a finite number"),
        ({"method": "dx"}, f'method = "dx": input should be {either(map(repr, METHODS))}'),
        (
            {"method": "mtt", "arms": ["adaptive"]},
            "arm adaptive does not apply to method mtt, which meets real samples only through its experts: "
            "use arm static (bilp prunes statically alone here)",
        ),
        (
            {"method": "tesla", "experts": {"epochs": 7}},
            "distill.trajectory needs experts of 8 epochs (max_start + expert_epochs), but experts.epochs = 7: "
            "train them longer or lower max_start",
        ),
        (
            {"method": "haba", "ipc": 7, "distill": {"hallucinators": {"count": 5}}},
            "ipc = 7 counts what 5 hallucinators make of the bases of a class, and is no multiple of 5: "
            "set ipc to 10, or distill.hallucinators.count to a number that divides it",
        ),
        (
            {"method": "haba", "ipc": 5, "distill": {"network": {"norm": "batch"}}},
            "method haba carries the parameters of its extractor from round to round and no statistics, which batch norm has: "
            "set distill.network.norm to instance, or another norm",
        ),
        ({"arms": []}, "arms = []: tuple should have at least 1 item after validation, not 0"),
        ({"arms": ["bilp", "bilp"]}, "arms ['bilp', 'bilp'] names one twice: name each once"),
        (
            {"evaluate": {"baselines": ["full", "random", "full"]}},
            "evaluate.baselines ['full', 'random', 'full'] names one twice: name each once",
        ),
        ({"seed": "many"}, 'seed = "many": input should be a valid integer, unable to parse string as an integer'),
        ({"reselect": 3}, "reselect = 3: input should be a valid dictionary or instance of ReselectConfig"),
        ({"distill": {"learning_rate": 0}}, "distill.learning_rate = 0: input should be greater than 0"),
        ({"distill": {"batch_real": 1}}, "distill.batch_real = 1: input should be greater than or equal to 2"),
        ({"evaluate": {"seeds": 1}}, "evaluate.seeds = 1: input should be greater than or equal to 2"),
        ({"score": {"momentum": 2}}, "score.momentum = 2: input should be less than or equal to 1"),
        ({"prune": {"band": [0.5, 0.5]}}, "prune: band [0.5, 0.5] is empty: the first value must be below the second"),
        ({"prune": {"criterion": "external"}}, "prune: criterion external and score_list belong together: set both or neither"),
        ({"prune": {"score_list": "x.json"}}, "prune: criterion external and score_list belong together: set both or neither"),
        ({"dataset": "folder"}, "ingest: source 'folder' needs uri: give the path or s3:// URI of the data"),
        (
            {"ingest": {"uri": "x"}},
            "ingest: source 'digits' brings its own data: remove uri, or set source to folder or parquet or webdataset or npz",
        ),
        (
            {"ingest": {"classes": ["1", "2"]}},
            "ingest: source 'digits' does not read classes: remove that, or set source to folder or parquet or webdataset or npz",
        ),
        (
            {"dataset": "mnist", "ingest": {"test": "held_out", "label_column": "label"}},
            "ingest: source 'mnist' does not read test, label_column: remove that, or set source to parquet",
        ),
        (
            {"dataset": "folder", "ingest": {"uri": "x", "train": "a", "config": "b", "image_column": "c"}},
            "ingest: source 'folder' does not read config, image_column: remove that, or set source to parquet",
        ),
        ({"score": {"epochs": 2, "init_epochs": 3}}, "score: init_epochs = 3 exceeds epochs = 2: lower it or train longer"),
        (
            {"score": {"epochs": 2, "init_epochs": 2, "converge_epochs": 3}},
            "score: converge_epochs = 3 exceeds epochs = 2: lower it or train longer",
        ),
        ({"distill": {"iterations": 3, "rounds": 4}}, "distill: rounds = 4 exceeds iterations = 3: lower rounds"),
        (
            {"method": "dc", "ipc": 10, "distill": {"shards": 2}},
            f"distill: shards = 2 divides classes that meet in method dc with outer_loops = 10: set shards to 1, or use {divisible()}",
        ),
        (
            {"method": "idm", "distill": {"shards": 2}},
            f"distill: shards = 2 divides classes that meet in method idm: set shards to 1, or use {divisible()}",
        ),
        (
            {"method": "dc", "distill": {"augment": ["crop"]}},
            "distill: method dc matches without augmentation: use method dsa, or set augment to an empty list",
        ),
        (
            {"distill": {"idc": {"pretrained": {"networks": 3}}}},
            "distill: method dm starts from no pretrained networks: set idc.pretrained.networks to 0, or use idc, dream or lgm",
        ),
        (
            {"method": "idc", "distill": {"idc": {"pretrained": {"networks": -1}}}},
            "distill.idc.pretrained.networks = -1: input should be greater than or equal to 0",
        ),
        (
            {"method": "idc", "distill": {"idc": {"pretrained": {"networks": 1, "learning_rate": 0.0}}}},
            "distill.idc.pretrained.learning_rate = 0.0: input should be greater than 0",
        ),
        (
            {"distill": {"decode": {"factor": 2}}},
            "distill: method dm trains on the stored images themselves: set decode.factor to 1, or use idc, dream, idm or ncfm",
        ),
        (
            {"method": "idm", "distill": {"idm": {"networks": 9, "most_networks": 8}}},
            "distill.idm: networks = 9 exceeds most_networks = 8: lower networks",
        ),
    ],
)
def test_impossible_value_is_one_line_with_path_and_remedy(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]


@pytest.mark.parametrize(
    ("dial", "path", "value"),
    [
        ("dataset", "ingest.source", "mnist"),
        ("method", "distill.method", "dsa"),
        ("ipc", "distill.ipc", 7),
        ("keep", "prune.keep", 0.25),
        ("beta", "reselect.beta", 0.25),
    ],
)
def test_a_dial_and_what_it_sets_cannot_differ(dial: str, path: str, value: Any) -> None:
    stage, name = path.split(".")
    default = getattr(PipelineConfig(), dial)
    assert refusal({stage: {name: value}}) == [f"{dial} = {default!r} contradicts {path} = {value!r}: set only {dial}"]
    agreeing = PipelineConfig.model_validate({dial: value, stage: {name: value}})
    assert getattr(agreeing, dial) == getattr(getattr(agreeing, stage), name) == value


def test_every_wrong_value_is_named_at_once_and_a_dial_only_once() -> None:
    assert refusal({"keep": 2, "ipc": "x", "distill": {"xxxxxxxxxx": 1}}) == [
        'ipc = "x": input should be a valid integer, unable to parse string as an integer',
        "keep = 2: input should be less than or equal to 1",
        "distill.xxxxxxxxxx: no such setting; --explain lists them all",
    ]


def test_models_cannot_be_changed() -> None:
    config = PipelineConfig()
    for model in (config, config.distill, config.distill.network):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, next(iter(type(model).model_fields)), None)


# --- what is derived -------------------------------------------------------------------------------------------------


def test_every_setting_has_a_description() -> None:
    def undescribed(model: type[BaseModel]) -> Iterator[str]:
        for name, field in model.model_fields.items():
            if not field.description:
                yield f"{model.__name__}.{name}"

    assert not [path for model in (*STAGES.values(), NetworkConfig, PipelineConfig) for path in undescribed(model)]


@given(
    dials=st.fixed_dictionaries(
        {},
        optional={
            "dataset": st.sampled_from([name for name, source in SOURCES.items() if not source.needs_uri]),
            "method": st.sampled_from(list(METHODS)),
            "ipc": st.integers(1, 200),
            "keep": st.floats(0.01, 1.0),
            "beta": st.floats(0.0, 0.99),
            "seed": st.integers(-(2**40), 2**40),
        },
    )
)
def test_any_dials_give_a_valid_configuration_that_survives_a_round_trip(dials: dict[str, Any]) -> None:
    config = PipelineConfig.model_validate(dials)
    assert PipelineConfig.model_validate_json(config.model_dump_json()) == config
    assert PipelineConfig.model_validate({name: str(value) for name, value in dials.items()}) == config
    settings = {setting.path: setting for setting in explain(dials)}
    assert {path for path, setting in settings.items() if setting.origin == GIVEN} == set(dials)
    for path, value in leaves(config.model_dump(mode="json")):
        assert settings[path].value == value


@given(
    values=st.dictionaries(st.sampled_from(sorted(PipelineConfig.model_fields)), st.one_of(st.none(), st.integers(), st.text(max_size=5)))
)
def test_nonsense_is_refused_in_words_and_never_crashes(values: dict[str, Any]) -> None:
    try:
        PipelineConfig.model_validate(values)
    except ValidationError as error:
        assert problems(error, values)


@pytest.mark.parametrize("stage", ["ingest", "score", "reselect", "evaluate"])
def test_a_model_that_sets_one_value_leaves_the_others_to_the_rules(stage: str) -> None:
    name, value = {"ingest": ("split_seed", 5), "score": ("momentum", 0.7), "reselect": ("low_share", 0.7), "evaluate": ("seeds", 9)}[stage]
    by_model = PipelineConfig.model_validate({"method": "dc", stage: STAGES[stage].model_validate({name: value})})
    by_mapping = PipelineConfig.model_validate({"method": "dc", stage: {name: value}})
    assert by_model == by_mapping
    assert by_model.distill.iterations == 100
    assert getattr(getattr(by_model, stage), name) == value


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"method": "mtt"}, "learning_rate, iterations, trajectory.steps, trajectory.max_start, trajectory.step_rate"),
        ({}, "iterations"),
        ({"method": "dm", "ipc": "100", "iterations": 5}, "learning_rate"),
        ({"method": "dsa", "ipc": 10, "iterations": 5, "learning_rate": 0.1}, "outer_loops, inner_epochs"),
        ({"method": "mtt", "trajectory": TrajectoryConfig(steps=3, max_start=1), "iterations": 5}, "learning_rate, trajectory.step_rate"),
    ],
)
def test_a_distillation_of_its_own_takes_no_default_that_its_method_overrules(values: dict[str, Any], missing: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DistillConfig.model_validate(values)
    method, ipc = values.get("method", "dm"), values.get("ipc", 1)
    (problem,) = caught.value.errors()
    assert problem["msg"] == (
        f"Value error, method {method} at ipc {ipc} decides {missing}: give each, or take all of them from "
        f"bilp.settings(dataset=..., method={method!r}, ipc={ipc}).distill"
    )


@pytest.mark.parametrize("method", list(METHODS))
def test_what_settings_gives_is_what_the_pipeline_takes_and_stands_alone(method: str) -> None:
    config = bilp.settings(dataset="cifar10", method=method, ipc=10)
    assert config == PipelineConfig.model_validate({"dataset": "cifar10", "method": method, "ipc": 10})
    assert DistillConfig.model_validate(config.distill.model_dump()) == config.distill
    assert DistillConfig.model_validate_json(config.distill.model_dump_json()) == config.distill
    assert EvaluateConfig.model_validate(config.evaluate.model_dump()) == config.evaluate


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"method": "foo"}, ("method",)),
        ({"method": ["dm"]}, ("method",)),
        ({"ipc": 0}, ("ipc",)),
        ({"iterations": {"a": 1}}, ("iterations",)),
    ],
)
def test_what_is_wrong_is_said_before_what_it_would_decide(given: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        DistillConfig.model_validate(given)
    assert [problem["loc"] for problem in caught.value.errors()] == [place]


def test_stages_alone_take_what_their_own_choice_implies_or_refuse_it() -> None:
    for measure in ("herding", "k_center", "monte_carlo"):
        whole = bilp.settings(dataset="cifar10", prune={"criterion": measure}).score
        alone = ScoreConfig(measure=measure, early_from=whole.early_from, early_to=whole.early_to)
        assert (alone.trials, alone.epochs) == (whole.trials, whole.epochs)
    with pytest.raises(ValidationError, match=r"protocol soft decides batch_size, optimizer, .* take all of them from bilp.settings"):
        EvaluateConfig(protocol="soft", seeds=3)
    assert EvaluateConfig(protocol="dc") == EvaluateConfig()


def test_what_was_given_wins_over_recipe_rules_and_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("method: dsa\nipc: 10\ndistill: {iterations: 77, momentum: 0.25}\n", encoding="utf-8")
    values = {"recipe": str(recipe), "ipc": 20, "distill": {"momentum": 0.75}}
    config = PipelineConfig.model_validate(values)
    assert (config.method, config.ipc, config.distill.iterations, config.distill.momentum) == ("dsa", 20, 77, 0.75)
    expected = {
        "ipc": GIVEN,
        "distill.momentum": GIVEN,
        "method": f"recipe {recipe}",
        "distill.iterations": f"recipe {recipe}",
        "distill.method": "dial method",
        "distill.ipc": "dial ipc",
        "distill.outer_loops": "method dsa at ipc 20",
        "distill.network.width": "dataset digits",
        "distill.network.depth": DEFAULT,
        "evaluate.batch_size": DEFAULT,
    }
    assert {path: origin(path, values) for path in expected} == expected


def test_a_wrong_value_in_a_recipe_is_blamed_on_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text("score: {trials: 0}\n", encoding="utf-8")
    assert refusal({"recipe": str(recipe)}) == [f"score.trials = 0 (from recipe {recipe}): input should be greater than or equal to 1"]


def test_origins_of_every_rule() -> None:
    cases = {
        "ingest.source": ({"dataset": "mnist"}, "dial dataset"),
        "distill.method": ({}, "dial method"),
        "distill.ipc": ({"ipc": 3}, "dial ipc"),
        "prune.keep": ({"keep": 0.3}, "dial keep"),
        "reselect.beta": ({"beta": 0.2}, "dial beta"),
        "score.seed": ({"seed": 4}, "dial seed"),
        "prune.minimum_per_class": ({"ipc": 3}, "dial ipc (real initialization needs as many samples)"),
        "distill.iterations": ({"dataset": "cifar10"}, "method dm at ipc 1"),
        "evaluate.epochs": ({"dataset": "cifar10"}, "method dm"),
        "distill.batch_real": ({}, "dataset digits"),
        "distill.augment": ({"dataset": "svhn"}, "dataset svhn (mirroring changes the meaning)"),
        "evaluate.augment": ({"dataset": "mnist"}, "dataset mnist (mirroring changes the meaning)"),
        "score.trials": ({}, DEFAULT),
        "score.epochs": ({"prune": {"criterion": "forgetting"}}, "criterion forgetting"),
        "prune.floor_per_class": ({"prune": {"per_class": False}}, "dial ipc (ranking of the whole set)"),
    }
    assert {path: origin(path, values) for path, (values, _) in cases.items()} == {path: expected for path, (_, expected) in cases.items()}


@pytest.mark.parametrize("dataset", ["digits", *(name for name, source in SOURCES.items() if source.known)])
@pytest.mark.parametrize("method", ["dm", "dc", "dsa"])
def test_published_hyper_parameters(dataset: str, method: str) -> None:
    config = PipelineConfig(dataset=dataset, method=method)
    mirrored = dataset in ("fashion_mnist", "cifar10", "cifar100")
    assert ("flip" in config.distill.augment) == (mirrored and method not in ("dc", "cafe"))
    assert (config.distill.augment == ()) == (method in ("dc", "cafe"))
    assert config.distill.init == ("noise" if method in ("dc", "cafe") else "real")
    if not METHODS[method].needs_experts:
        assert config.distill.learning_rate == (1.0 if method == "dm" else 0.1)
    if dataset != "digits":
        assert config.distill.iterations == {"dm": 20000, "mtt": 5000, "tesla": 10000, "cafe": 2000}.get(method, 1000)
        assert config.evaluate.epochs == (1000 if dataset == "mnist" else {"dc": 300, "cafe": 600}.get(method, 1000))
        assert config.distill.network.width == 128


def test_large_ipc_of_dm_takes_the_larger_step() -> None:
    assert [PipelineConfig(dataset="cifar10", ipc=ipc).distill.learning_rate for ipc in (99, 100)] == [1.0, 10.0]


def test_loops_of_gradient_matching() -> None:
    assert {ipc: dc_loops(ipc) for ipc in (1, 10, 20, 30, 40, 50)} == DC_LOOPS
    assert dc_loops(2) == (2, 50)
    assert dc_loops(35) == (35, 18)  # halfway between 20 and 15, rounded to even
    assert dc_loops(200) == (200, 10)


@given(st.integers(2, 300), st.integers(2, 300))
def test_more_images_per_class_never_train_the_network_longer_between_steps(one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert dc_loops(fewer)[1] >= dc_loops(more)[1]


def test_augmentation_families_are_all_used_by_default() -> None:
    families = {name for name, entry in AUGMENTATIONS.items() if entry.of_dsa}
    assert set(PipelineConfig(dataset="cifar10").distill.augment) == families == set(AUGMENTATIONS) - {"resized_crop"}


# --- recipes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in recipes.recipe_names() if not name.startswith("published/")])
def test_every_recipe_is_valid_is_in_force_and_says_its_source(name: str) -> None:
    recipe = recipes.RECIPES / f"{name}.yaml"
    header = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert f"bilp run --recipe {name}" in header[0]
    assert any("Source" in line for line in header)
    config = PipelineConfig(recipe=name)
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    in_force = dict(leaves(config.model_dump()))
    assert "recipe" not in values
    assert {path.split(".")[0] for path, _ in leaves(values)} <= {path.split(".")[0] for path in in_force}
    assert all(origin(path, {"recipe": name}) == f"recipe {name}" for path, _ in leaves(values))


def test_there_are_recipes() -> None:
    assert {"digits", "cifar10-dc-ipc1"} <= {path.stem for path in recipes.RECIPES.glob("*.yaml")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b\n", "must hold key: value pairs, not list"),
        ("a: [", "is not valid YAML"),
        (None, "known recipes: "),
    ],
)
def test_unusable_recipe(content: str | None, message: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    if content is not None:
        recipe.write_text(content, encoding="utf-8")
    (line,) = refusal({"recipe": str(recipe)})
    assert str(recipe) in line
    assert message in line


def test_a_recipe_cannot_execute_code(tmp_path: Path) -> None:
    recipe, proof = tmp_path / "evil.yaml", tmp_path / "proof"
    recipe.write_text(f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{proof}']]\n", encoding="utf-8")
    (line,) = refusal({"recipe": str(recipe)})
    assert "is not valid YAML" in line
    assert not proof.exists()


# --- arms ------------------------------------------------------------------------------------------------------------


def test_arms_switch_the_two_levels_and_experiments_share_seeds() -> None:
    config = PipelineConfig(arms=("unpruned", "static", "adaptive", "bilp"), experiments=2, beta=0.2, seed=10)
    runs = planned_runs(config)
    assert {run.arm: (run.static, run.reselect.beta) for run in runs} == {
        "unpruned": (False, 0.0),
        "static": (True, 0.0),
        "adaptive": (False, 0.2),
        "bilp": (True, 0.2),
    }
    assert [(run.arm, run.experiment, run.distill.seed) for run in runs] == [
        (arm, experiment, 10 + experiment) for arm in config.arms for experiment in (0, 1)
    ]
    assert {run.distill.model_copy(update={"seed": 0}) for run in runs} == {config.distill.model_copy(update={"seed": 0})}


def test_work_that_no_arm_needs_is_not_planned() -> None:
    assert not needs_selection(PipelineConfig(arms=("unpruned", "adaptive")))
    assert needs_selection(PipelineConfig(arms=("static",)))
    assert needs_selection(PipelineConfig(arms=("bilp",)))
    assert not needs_scores(PruneConfig(criterion="random"))
    assert not needs_scores(PruneConfig(criterion="external", score_list="x.json"))
    assert needs_scores(PruneConfig(criterion="loss_converge"))


# --- settings that came later ------------------------------------------------------------------------------------------


def test_pretrained_networks_count_for_a_key_only_where_there_are_any(tmp_path: Path) -> None:
    """Runs from before the setting existed keep their keys (tests/distill/test_pretrained.py), and whoever asks is told."""
    for values in ({}, {"method": "idc"}, {"method": "dream", "distill": {"idc": {"pretrained": {"networks": 0}}}}):
        config = PipelineConfig.model_validate(values)
        assert "pretrained" not in plain(config)["distill"]["idc"]
        assert {setting.path: setting.value for setting in explain(values)}["distill.idc.pretrained.networks"] == 0
    ten = PipelineConfig.model_validate({"method": "idc", "distill": {"idc": {"pretrained": {"networks": 10}}}})
    assert plain(ten)["distill"]["idc"]["pretrained"] == as_recorded(PretrainedConfig(networks=10))
    recipe = tmp_path / "ten.yaml"
    recipe.write_text("method: idc\ndistill: {idc: {pretrained: {networks: 10}}}\n", encoding="utf-8")
    none = IdcConfig(pretrained=PretrainedConfig(networks=0))
    again = PipelineConfig.model_validate({"recipe": str(recipe), "distill": {"idc": none}})
    assert again.distill.idc.pretrained.networks == 0, "what was given goes first, also where it is the default"


# --- command line ----------------------------------------------------------------------------------------------------


def typed(*arguments: str) -> dict[str, Any]:
    return parse(arguments, "program", "What it does.").given


def test_only_what_was_typed_reaches_the_configuration() -> None:
    assert typed() == {}
    assert typed("--method", "dc", "--distill.iterations", "200") == {"method": "dc", "distill": {"iterations": "200"}}


def test_every_setting_can_be_typed_as_explain_prints_it() -> None:
    values = {"dataset": "cifar10", "method": "dsa", "ipc": 3, "prune": {"band": [0.25, 0.75]}, "evaluate": {"networks": [{"name": "mlp"}]}}
    arguments = [f"--{setting.path}={'none' if setting.value is None else setting.text}" for setting in explain(values)]
    assert PipelineConfig.model_validate(typed(*arguments)) == PipelineConfig.model_validate(values)


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        (["--arms", "unpruned,static"], "arms", ["unpruned", "static"]),
        (["--arms", "unpruned", "--arms", "static"], "arms", ["unpruned", "static"]),
        (["--distill.augment", "[]"], "distill.augment", []),
        (["--distill.augment", "none"], "distill.augment", []),
        (["--evaluate.baselines", "none"], "evaluate.baselines", []),
        (["--evaluate.decay", "none"], "evaluate.decay", "none"),
        (["--prune.band", "none"], "prune.band", None),
        (["--prune.per_class", "off"], "prune.per_class", False),
        (["--ingest.classes", "0,1", "--dataset=folder", "--ingest.uri=x"], "ingest.classes", ["0", "1"]),
        (["--score.network", "mlp"], "score.network.name", "mlp"),
        (["--score.network=mlp"], "score.network.name", "mlp"),
        (["--distill.network", '{"width": 9}'], "distill.network.width", 9),
        (["--distill.batch-real", "7"], "distill.batch_real", 7),
        (["--distill.batch-real=7"], "distill.batch_real", 7),
        (["--reselect.candidates_per_class", "none"], "reselect.candidates_per_class", None),
        (["--prune.per_class", "false"], "prune.per_class", False),
        (["--prune.band", "0.1,0.6"], "prune.band", [0.1, 0.6]),
        (["--seed", "-3"], "seed", -3),
        (["--distill", '{"momentum": 0.3}'], "distill.momentum", 0.3),
        (["--score.network.width", "9"], "score.network.width", 9),
    ],
)
def test_ways_to_type_a_value(arguments: list[str], path: str, value: Any) -> None:
    found = {setting.path: setting for setting in explain(typed(*arguments))}
    assert (found[path].value, found[path].origin) == (value, GIVEN)


def test_networks_are_typed_by_name_by_settings_or_both() -> None:
    by_settings = PipelineConfig.model_validate({"evaluate": {"networks": [{"name": "convnet"}, {"name": "mlp"}]}})
    for text in ("convnet,mlp", '["convnet", "mlp"]', 'convnet,{"name": "mlp"}', '[{"name": "convnet"}, "mlp"]'):
        assert PipelineConfig.model_validate(typed("--evaluate.networks", text)) == by_settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--distill.iteration", "3"], "unrecognized arguments: --distill.iteration 3; did you mean --distill.iterations?"),
        (
            ["--distill.curriculum.momentum", "0"],
            "unrecognized arguments: --distill.curriculum.momentum 0; did you mean --distill.coarse_to_fine.momentum or "
            "--distill.hallucinators.momentum?",
        ),
        (["--zzzzzzzz", "3"], "unrecognized arguments: --zzzzzzzz 3; --help all lists every setting"),
        (["--ipc"], "argument --ipc: expected one argument; --help all lists every setting"),
        (["--ipc", "x"], 'ipc = "x": input should be a valid integer, unable to parse string as an integer'),
        (["--method", "dx"], f'method = "dx": input should be {either(map(repr, METHODS))}'),
        (["--recipe", "nowhere.yaml"], "recipe 'nowhere.yaml': no file nowhere.yaml"),
        (["--score", "x"], "Expecting value: line 1 column 1 (char 0): give a group of settings as JSON, or its settings one by one"),
        (["--arms", "none"], "arms = []: tuple should have at least 1 item after validation, not 0"),
        (["--evaluate.networks", "convnet,mlpp"], "evaluate.networks.1.name = \"mlpp\": input should be 'convnet', 'mlp', "),
        (
            ["--recipe", "published/dc/cifar10-ipc1", "--dataset=svhn"],
            "recipe published/dc/cifar10-ipc1 is made for cifar10, not for svhn: ",
        ),
    ],
)
def test_what_is_typed_wrong_is_one_line_and_status_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        configure(arguments, "python -m flows.pipeline", "What it does.")
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith(f"python -m flows.pipeline: error: {message}")
    assert captured.err.count("\n") == 1


def test_explain_prints_every_leaf_with_its_origin_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        configure(["--ipc", "3", "--explain"], "program", "What it does.")
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert [line.split()[0] for line in lines] == [path for path, _ in leaves(PipelineConfig().model_dump(mode="json"))]
    assert any(line.split() == ["ipc", "3", "given"] for line in lines)
    assert any(line.split() == ["distill.ipc", "3", "dial", "ipc"] for line in lines)


def test_help_names_every_setting_and_its_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--help", "all"], "program", "What it does.")
    text = " ".join(capsys.readouterr().out.split())  # whatever the terminal's width
    assert ended.value.code == 0
    assert not [path for path, _ in leaves(PipelineConfig().model_dump()) if f"--{path}" not in text]
    assert f"Distillation method. (default: dm) One of: {', '.join(METHODS)}." in text
    assert "Synthetic images per class. (default: 1)" in text
    assert "(default: 1000)" not in text  # distill.iterations depends on the dials
    assert "sre2l, cda, lpld, fadrm, frepo and rfad have none. (default: 0.5)" in text
    assert "static pruning keeps (1 - alpha)." in text
    assert "static pruning keeps (1 - alpha). (default: 0.5)" not in text  # 0.8 for the digits


def test_published_settings_of_trajectory_matching_follow_dataset_and_ipc() -> None:
    def row(dataset: str, method: str, ipc: int) -> tuple[Any, ...]:
        distill = PipelineConfig.model_validate({"dataset": dataset, "method": method, "ipc": ipc}).distill
        t = distill.trajectory
        return t.steps, t.expert_epochs, t.max_start, distill.learning_rate, t.step_rate, t.step_size, t.batch

    # The last start epoch is one below the max_start_epoch of the programs, which draw below it.
    assert row("cifar10", "mtt", 1) == (50, 2, 1, 100.0, 1e-7, 0.01, None)
    assert row("cifar10", "mtt", 10) == row("cifar10", "mtt", 49) == (30, 2, 19, 100.0, 1e-5, 0.001, None)
    assert row("cifar100", "mtt", 50) == (80, 2, 39, 1000.0, 1e-5, 0.01, 125)
    assert row("svhn", "mtt", 50) == row("cifar10", "mtt", 50) == (30, 2, 39, 1000.0, 1e-5, 0.001, None)
    assert row("cifar10", "tesla", 1) == (50, 2, 4, 500.0, 1e-7, 0.01, None)
    whitened = {("cifar10", 1), ("cifar10", 10), ("cifar100", 1), ("cifar100", 50)}
    for dataset in ("cifar10", "cifar100", "svhn", "digits"):
        for ipc in (1, 10, 50):
            config = PipelineConfig.model_validate({"dataset": dataset, "method": "mtt", "ipc": ipc})
            assert config.ingest.whitening == ("zca" if (dataset, ipc) in whitened else "none")
            assert config.ingest.whitening_epsilon == 0.1
    assert PipelineConfig.model_validate({"dataset": "cifar10", "method": "tesla", "ipc": 1}).ingest.whitening == "none"
    assert PipelineConfig.model_validate({"dataset": "cifar10", "method": "dc"}).ingest.whitening == "none"
    given = {"dataset": "cifar10", "method": "mtt", "ingest": {"whitening": None}}
    assert PipelineConfig.model_validate(given).ingest.whitening == "none", "none on the command line arrives as null"
    config = PipelineConfig.model_validate({"dataset": "cifar10", "method": "tesla"})
    assert (config.experts.count, config.experts.epochs, config.distill.iterations, config.evaluate.epochs) == (100, 50, 10000, 1000)


def test_methods_without_an_adaptive_level_prune_statically_alone() -> None:
    config = PipelineConfig.model_validate({"method": "mtt", "beta": 0.3})
    assert {run.arm: (run.static, run.reselect.beta) for run in planned_runs(config)} == {"unpruned": (False, 0.0), "bilp": (True, 0.0)}
    assert "arm bilp prunes statically alone" in pruning_note(config)
    assert needs_experts(config)
    assert PipelineConfig.model_validate({"method": "mtt"}).beta == 0.0
    assert origin("beta", {"method": "mtt"}) == "method mtt (no adaptive level)"
    cafe = PipelineConfig.model_validate({"method": "cafe"})
    assert not needs_experts(cafe)
    assert pruning_note(cafe) == ""
    assert cafe.beta == 0.1


@pytest.mark.parametrize(
    ("settings", "equal"),
    [
        ({"method": "sre2l"}, False),
        ({"method": "sre2l", "arms": ["static"]}, False),
        ({"method": "sre2l", "distill": {"teacher_samples": "all"}}, True),
        ({"method": "sre2l", "evaluate": {"teacher": {"checksum": "0" * 64}}}, True),
        ({"method": "cda", "arms": ["unpruned", "static"], "distill": {"teacher_samples": "all"}}, True),
        ({"method": "sre2l", "arms": ["unpruned"], "distill": {"teacher_samples": "all"}}, False),
        ({"method": "sre2l", "distill": {"init": "real", "teacher_samples": "all"}}, False),
        ({"method": "fadrm"}, False),
        ({"method": "lpld"}, False),
        ({"method": "mtt"}, False),
    ],
    ids=str,
)
def test_arms_of_a_method_that_looks_at_no_real_sample_are_said_to_be_equal(settings: dict[str, Any], equal: bool) -> None:
    assert ("the sets of all arms are equal" in pruning_note(PipelineConfig.model_validate(settings))) is equal


def test_no_augmentation_mirrors_digits_experts_included() -> None:
    for method in ("mtt", "cafe"):
        config = PipelineConfig.model_validate({"dataset": "mnist", "method": method})
        assert "flip" not in (*config.experts.augment, *config.distill.augment, *config.evaluate.augment)
    assert config.distill.augment == config.evaluate.augment == ()
    assert "flip" in PipelineConfig.model_validate({"dataset": "cifar10", "method": "mtt"}).experts.augment


def test_complete_does_not_touch_what_it_was_given() -> None:
    values: dict[str, Any] = {"distill": {"network": {"width": 8}}}
    complete(values)
    assert values == {"distill": {"network": {"width": 8}}}


def test_a_short_training_shortens_what_it_holds() -> None:
    config = PipelineConfig.model_validate({"distill": {"iterations": "5"}, "score": {"epochs": 2}})
    assert (config.distill.rounds, config.score.init_epochs) == (5, 2)
    origins = complete({"distill": {"iterations": 5}}).origins
    assert origins["distill.rounds"] == "distill.iterations (no more than these)"
    assert "score.init_epochs" not in origins


def test_the_limited_defaults_are_those_of_the_models() -> None:
    whole = dict(leaves(PipelineConfig().model_dump()))
    for path, default, limit in LIMITED:
        assert whole[path] == default
        stage = path.split(".")[0]
        assert limit.startswith(stage)


def test_a_form_hands_in_only_what_was_filled_in() -> None:
    schema = PipelineConfig.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    fields = {(model["title"], name): value for model in models for name, value in model["properties"].items()}
    assert not [field for field, value in fields.items() if "default" in value]
    assert not [field for field, value in fields.items() if value.get("type") == "boolean"], "a form always sends its switches"
    assert schema["properties"]["ipc"]["description"].endswith("Default: 1.")
    assert fields["EvaluateConfig", "robustness"]["description"].endswith("Default: no.")
    assert "digits" in schema["properties"]["recipe"]["enum"]
    filled = {"dataset": "digits", "ipc": 5, "prune": {"per_class": "yes"}, "evaluate": {"robustness": "no"}}
    assert PipelineConfig.model_validate(filled) == PipelineConfig.model_validate({"ipc": 5})


def test_the_list_of_recipes_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = PipelineConfig.model_json_schema()
    monkeypatch.setattr("bilp.config.pipeline.load_recipe", lambda name: pytest.fail(f"{name} is read again"))
    assert PipelineConfig.model_json_schema() == first


def test_every_choosable_recipe_is_valid() -> None:
    for name in PipelineConfig.model_json_schema()["properties"]["recipe"]["enum"]:
        needs_uri = SOURCES[load_recipe(name).get("dataset", DEFAULT_SOURCE)].needs_uri
        place = {"ingest": {"uri": "x"}} if needs_uri else {}
        assert PipelineConfig.model_validate({"recipe": name, **place}).recipe == name


def test_short_runs_measure_fewer_samples_and_published_ones_as_many_as_ever() -> None:
    def candidates(**dials: Any) -> int | None:
        return PipelineConfig(**dials).reselect.candidates_per_class

    assert candidates(dataset="cifar10", method="dm") is None
    assert candidates(dataset="cifar10", method="dc") == 256
    short = candidates(dataset="cifar10", method="dc", distill={"iterations": 100})
    shorter = candidates(dataset="cifar10", method="dc", distill={"iterations": "50"})
    assert short is not None
    assert shorter is not None
    assert 16 <= shorter <= short < 256
    assert candidates(dataset="cifar10", method="dc", distill={"iterations": 50}, reselect={"candidates_per_class": 99}) == 99
    assert candidates(dataset="cifar10", method="dm", distill={"iterations": 20, "rounds": 1}) == 72


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_criterion_brings_what_it_needs(criterion: str) -> None:
    values: dict[str, Any] = {"prune": {"criterion": criterion}}
    if criterion == "external":
        values["prune"]["score_list"] = "list.json"
    config = PipelineConfig.model_validate(values)
    facts = CRITERIA[criterion]
    assert config.prune.drop == facts.drop == PruneConfig.model_validate(values["prune"]).drop
    assert config.score.measure == (facts.measure or "trajectory")
    assert needs_scores(config.prune) == (facts.measure is not None)
    assert complete(values).origins["prune.drop"] == f"criterion {criterion}"
    other = "low" if facts.drop == "high" else "high"
    assert PipelineConfig.model_validate({"prune": {**values["prune"], "drop": other}}).prune.drop == other
    if criterion in ("el2n", "grand"):  # Paul et al. 2021
        assert (config.score.trials, config.score.early_from, config.score.early_to) == (10, 20, 20)
    if criterion == "forgetting":  # Toneva et al. 2019 train for 200 epochs
        assert PipelineConfig.model_validate({**values, "dataset": "cifar10"}).score.epochs == 200
    assert (config.score.gradient_norm == "last_layer") == (criterion == "grand")


def test_a_criterion_and_what_is_measured_cannot_differ() -> None:
    with pytest.raises(ValidationError, match=r"prune.criterion aum contradicts score.measure = 'herding': set only prune.criterion"):
        PipelineConfig.model_validate({"prune": {"criterion": "aum"}, "score": {"measure": "herding"}})
    with pytest.raises(ValidationError, match=r"grand contradicts score.gradient_norm = 'off'"):
        PipelineConfig.model_validate({"prune": {"criterion": "grand"}, "score": {"gradient_norm": "off"}})
    with pytest.raises(ValidationError, match=r"criterion cad needs trials of 4 epochs or more, and score.epochs = 3: raise score.epochs"):
        PipelineConfig.model_validate({"prune": {"criterion": "cad"}, "score": {"epochs": 3, "init_epochs": 3}})
    assert PipelineConfig.model_validate({"prune": {"criterion": "cad"}, "score": {"epochs": 4, "init_epochs": 4}}).score.epochs == 4
    with pytest.raises(ValidationError, match=r"trials = 3 subsets of subset_share = 0.1 leave samples out: set trials to 10 or more"):
        PipelineConfig.model_validate({"prune": {"criterion": "monte_carlo"}, "score": {"trials": 3}})
    with pytest.raises(ValidationError, match=r"early_from = 3 lies behind early_to = 2"):
        ScoreConfig(epochs=2, init_epochs=1, early_from=3)
    with pytest.raises(ValidationError, match=r"floor_per_class = 2 is for per_class = false"):
        PruneConfig(floor_per_class=2)


def test_a_short_early_training_is_looked_at_where_it_ends() -> None:
    config = PipelineConfig.model_validate({"prune": {"criterion": "el2n"}, "score": {"epochs": "3"}})
    assert (config.score.early_from, config.score.early_to) == (3, 3)
    assert ScoreConfig(epochs=2, init_epochs=1).early_to == 2


def test_a_ranking_of_the_whole_set_keeps_enough_of_each_class() -> None:
    assert PipelineConfig.model_validate({"ipc": 7, "prune": {"per_class": "false"}}).prune.floor_per_class == 7
    assert PipelineConfig.model_validate({"ipc": 7, "prune": {"per_class": False, "band": [0.1, 0.9]}}).prune.floor_per_class == 0
    assert PipelineConfig().prune.floor_per_class == 0
