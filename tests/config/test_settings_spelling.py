"""However a value is spelled, it means the same: to the setting itself and to every rule that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import AliasPath, BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from bilp.config import PipelineConfig
from bilp.config.defaults import complete
from bilp.config.dials import Dials, Settled, read
from bilp.config.explain import problems
from bilp.config.nested import merge, nest

# Values of settings that rules read, each beside what it needs to be in force and to change something.
READ: list[tuple[str, Any, dict[str, Any]]] = [
    ("dataset", "cifar10", {}),
    ("method", "idc", {"dataset": "mnist"}),
    ("ipc", 10, {"method": "dc", "dataset": "cifar10"}),
    ("keep", 0.25, {}),
    ("beta", 0.25, {}),
    ("seed", 7, {}),
    ("gpu", "tf32", {}),
    ("gpu_revision", 3, {}),
    ("recipe_dataset", "any", {"recipe": "cifar10-dc-ipc1", "dataset": "svhn"}),
    ("evaluate.protocol", "soft", {"dataset": "cifar100", "ipc": 10}),
    ("distill.decode.factor", 1, {"method": "idc", "dataset": "mnist"}),
    ("distill.decode.factor", 3, {"method": "dream", "dataset": "svhn", "ipc": 2}),
    ("ingest.resolution", 64, {"method": "idc", "dataset": "cifar10"}),
    ("prune.criterion", "grand", {}),
    ("prune.rule", "strata", {"keep": 0.1}),
    ("prune.drop", "both", {"ipc": 7, "prune": {"per_class": False}}),
    ("prune.per_class", False, {"ipc": 7}),
    ("prune.per_class", True, {"ipc": 7}),
    ("prune.band", [0.1, 0.6], {"prune": {"per_class": False}}),
    ("score.epochs", 3, {}),
    ("score.epochs", 4, {"prune": {"criterion": "el2n"}}),
    ("score.seed", 7, {"method": "pad"}),
    ("score.gpu", "tf32", {"method": "pad"}),
    ("score.gpu_revision", 3, {"method": "pad"}),
    ("experts.curriculum.criterion", "el2n", {"method": "mtt", "seed": 7}),
    ("experts.curriculum.score.epochs", 3, {"method": "pad"}),
    ("ingest.source", "cifar10", {"dataset": "cifar10"}),
    ("distill.method", "dsa", {"method": "dsa"}),
    ("distill.iterations", 5, {}),
    ("distill.iterations", 100, {"method": "dc", "dataset": "cifar10"}),
    ("distill.rounds", 2, {"method": "dm", "dataset": "cifar10", "distill": {"iterations": 40}}),
    ("distill.outer_loops", 3, {"method": "dsa", "dataset": "cifar10", "distill": {"iterations": 40}}),
    ("distill.batch_real", 64, {"method": "dsa", "dataset": "cifar10", "distill": {"iterations": 400}}),
    ("distill.network.norm", "batch", {"method": "dc", "dataset": "cifar10", "evaluate": {"pool": "SS"}}),
    ("distill.network.width", 32, {"evaluate": {"pool": "N"}}),
    ("reselect.candidates_per_class", 99, {"distill": {"iterations": 20}}),
    ("evaluate.pool", "B", {"method": "dc", "dataset": "cifar10"}),
    ("evaluate.networks", [{"name": "convnet", "norm": "batch"}], {"method": "dc", "dataset": "cifar10"}),
]

# What stands around these is no valid configuration without them, or says the same already.
REQUIRED = ("recipe_dataset", "ingest.source", "distill.method")


def spellings(value: Any) -> Iterator[Any]:
    """Other ways to write a value, accepted or not."""
    if isinstance(value, bool):
        words = ("true", "True", "yes", "y", "on", "t", "1", 1, 1.0) if value else ("false", "FALSE", "no", "n", "off", "f", "0", 0, 0.0)
        yield from words
    elif isinstance(value, int):
        yield from (str(value), f" {value} ", f"+{value}", float(value), f"{value}.0", f"{value}.00", f"0{value}", f"{value}e0")
    elif isinstance(value, float):
        yield from (str(value), f" {value} ", f"{value:e}", f"+{value}0", f"{value:.5f}"[1:])
    elif isinstance(value, list) and isinstance(value[0], float):
        yield from (tuple(value), [str(item) for item in value], [f"{item:e}" for item in value])
    elif isinstance(value, list):
        yield from (tuple(value), [PipelineConfig.model_validate({"evaluate": {"networks": value}}).evaluate.networks[0]])


def field_at(path: str) -> FieldInfo:
    """The field of a setting."""
    model: type[BaseModel] = PipelineConfig
    *stages, name = path.split(".")
    for stage in stages:
        annotation = model.model_fields[stage].annotation
        assert isinstance(annotation, type)
        model = annotation
    return model.model_fields[name]


def adapter(path: str) -> TypeAdapter[Any]:
    """What decides about values of a setting."""
    field = field_at(path)
    return TypeAdapter(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)


def accepts(path: str, value: Any) -> bool:
    try:
        adapter(path).validate_python(value)
    except ValidationError:
        return False
    return True


def read_at(model: type[BaseModel]) -> dict[str, str]:
    """The settings that the rules' view reads: its field by the setting's path."""
    paths = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        paths[".".join(map(str, alias.path)) if isinstance(alias, AliasPath) else name] = name
    return paths


@pytest.mark.parametrize(("path", "value", "around"), READ, ids=[f"{path}-{value}" for path, value, _ in READ])
def test_every_accepted_spelling_gives_the_configuration_of_the_plain_one(path: str, value: Any, around: dict[str, Any]) -> None:
    plain = merge(around, nest(path, value))
    expected, origins = PipelineConfig.model_validate(plain), complete(plain).origins
    if path not in REQUIRED and value is not True:
        assert PipelineConfig.model_validate(around) != expected, "the value makes no difference"
    for spelled in spellings(value):
        given = merge(around, nest(path, spelled))
        if accepts(path, spelled):
            assert PipelineConfig.model_validate(given) == expected, spelled
            assert complete(given).origins == origins, spelled
        else:
            with pytest.raises(ValidationError) as caught:
                PipelineConfig.model_validate(given)
            assert [line.split(" = ")[0] for line in problems(caught.value, given)] == [path], spelled


def test_the_table_holds_every_setting_that_rules_read() -> None:
    assert {*read_at(Dials), *read_at(Settled)} == {
        path.replace(".network.width", ".network").replace(".network.norm", ".network") for path, *_ in READ
    }


PROBES = [
    *(None, True, False, 0, 1, 2, 3, 8, 9, -1, 10.0, 2.5, 0.0, 0.5, 1.0, float("nan"), float("inf"), 2**70),
    *("", " ", "1", " 5 ", "5.0", "1e1", "0.3", "1_0", "010", "yes", "off", "none", "null", "true", "2", "x"),
    *("digits", "Digits", "dm", "idc", "soft", "tf32", "grand", "SS", "any", "mlp", "convnet,mlp"),
    *([], [0.1, 0.6], [0.6], ["0.1", "0.6"], [{"name": "mlp"}, "convnet"], [{"widht": 3}], {}, {"name": "mlp"}),
]


@pytest.mark.parametrize("model", [Dials, Settled])
def test_what_rules_read_has_the_type_of_its_setting(model: type[BaseModel]) -> None:
    """So nothing is accepted by one and refused, or taken for something else, by the other."""
    for path, name in read_at(model).items():
        setting = adapter(path)
        for probe in PROBES:
            view = read(model, nest(path, probe))
            usable = name in view.model_fields_set
            if probe is None and model.model_fields[name].default is None:
                continue  # nothing given, whether a setting may be null or not
            assert usable == accepts(path, probe), (path, probe)
            assert not usable or getattr(view, name) == setting.validate_python(probe), (path, probe)


def test_where_nothing_is_given_rules_read_the_default_of_the_setting() -> None:
    plain = PipelineConfig(dataset="folder", method="dm", ingest={"uri": "x"})  # type: ignore[arg-type]
    for model in (Dials, Settled):
        for path, name in read_at(model).items():
            default = model.model_fields[name].default
            if default not in (None, ()) and path not in ("dataset", "ingest.source", "prune.criterion"):
                value: Any = plain
                for part in path.split("."):
                    value = getattr(value, part)
                assert value == default, path


def test_the_contradictions_of_a_whole_number_written_as_a_fraction_are_gone() -> None:
    assert PipelineConfig.model_validate({"ipc": 10.0}).distill.ipc == 10
    assert PipelineConfig.model_validate({"score": {"epochs": 3.0}}).score.init_epochs == 3
    assert PipelineConfig.model_validate({"distill": {"iterations": "5.0"}}).distill.rounds == 5
    off = PipelineConfig.model_validate({"ipc": 7, "prune": {"per_class": "off"}})
    assert (off.prune.per_class, off.prune.floor_per_class) == (False, 7)


@pytest.mark.parametrize("group", ["ingest", "score", "prune", "experts", "reselect", "distill", "evaluate", "report"])
@pytest.mark.parametrize("wrong", [3, "x", [1]])
def test_a_group_that_is_no_group_is_refused_and_never_overwritten(group: str, wrong: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        PipelineConfig.model_validate({group: wrong})
    (line,) = problems(caught.value, {group: wrong})
    assert line.startswith(f"{group} = ")
