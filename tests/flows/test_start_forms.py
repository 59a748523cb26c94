"""The forms of `start/*`: short, true, and the same settings as the command line's."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from bilp.artifacts.artifact import content_key
from bilp.config import METHODS, PipelineConfig
from bilp.config.base import told
from bilp.config.command_line import parse
from bilp.config.forms import DataSetForm, DigitsForm, OwnImagesForm, PublishedForm, SweepForm
from bilp.config.forms.fields import method_groups
from bilp.config.nested import get, leaves
from bilp.config.sources import SOURCES
from bilp.errors import ConfigError
from bilp.studies.definition import load_study, study_of
from bilp.studies.study_form import StudyForm
from deployments.register import FILE
from flows import start
from flows.sweep import combinations
from tasks import run_texts

Schema = dict[str, Any]
FLOWS = {
    flow.fn.__name__: flow
    for flow in (start.digits, start.data_set, start.my_images, start.published_recipe, start.sweep_values, start.study_of_arms)
}
DEPLOYED = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]


@cache
def schema_of(name: str) -> Schema:
    schema: Schema = parameter_schema(FLOWS[name]).model_dump_for_openapi()
    return schema


def form(name: str) -> Schema:
    """The fields of a form by name."""
    (definition,) = schema_of(name)["definitions"].values()
    fields: Schema = definition["properties"]
    return fields


def refused(name: str, config: Any) -> list[str]:
    """What Prefect's server says of these parameters before it makes a run of them."""
    return [f"{problem.json_path}: {problem.message}" for problem in validate({"config": config}, copy.deepcopy(schema_of(name)))]


def inputs(schema: Schema) -> int:
    """Inputs that are shown before anything is unfolded: the first kind of a choice is what a form shows."""
    shown = schema["anyOf"][0] if "anyOf" in schema else schema
    if "properties" in shown:
        return sum(map(inputs, shown["properties"].values()))
    return int(shown.get("type") != "null")


def settings(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every setting below a field with its dotted path; a method's own are below its name."""
    for kind in (schema, *schema.get("anyOf", [])):
        for name, below in kind.get("properties", {}).items():
            yield from settings(below, f"{path}.{name}" if path else name)
    if not any("properties" in kind for kind in (schema, *schema.get("anyOf", []))):
        yield path, schema


@pytest.mark.parametrize("name", FLOWS)
def test_a_form_asks_little_in_words_and_in_order(name: str) -> None:
    fields = form(name)
    assert inputs({"properties": fields}) <= 8
    assert sorted(field["position"] for field in fields.values()) == list(range(len(fields)))
    for field in fields.values():
        assert field["title"][0].isupper() and "_" not in field["title"]
        assert field["description"] and "<" not in field["description"], "descriptions are Markdown, which takes <this> for a tag"
    for key in ("score", "prune", "reselect", "distill", "evaluate", "report"):
        closed, opened = fields[key]["anyOf"]
        assert closed == {"type": "null", "title": "derived from the dials"}, "nothing is shown of a stage before somebody asks"
        assert opened["title"] == "set by hand" and len(opened["properties"]) > 1


@pytest.mark.parametrize("name", FLOWS)
def test_no_input_hands_in_a_value_that_nobody_typed(name: str) -> None:
    found = {path: field for key, field in form(name).items() for path, field in settings(field, key)}
    assert len(found) > 80
    preset = [path for path, field in found.items() if "default" in field or field.get("type") == "boolean"]
    assert {path.rpartition(".")[2] for path in preset} <= {"name"}, "the name of a method that was chosen is no guess"
    untouched = {key: None for key, field in form(name).items() if field.get("anyOf", [{}])[0].get("type") == "null"}
    assert refused(name, untouched) == [] or name in ("my_images", "published_recipe")
    assert "default" not in schema_of(name)["properties"]["config"] or schema_of(name)["properties"]["config"]["default"] == {}


def test_an_untouched_form_is_the_pipeline_without_settings() -> None:
    untouched = dict.fromkeys(form("digits")) | {"arms": None}
    config = DigitsForm.model_validate(untouched).config()
    assert config == PipelineConfig.model_validate({"dataset": "digits"})
    assert [path for path, origin in (config.origins or {}).items() if origin == "given"] == ["dataset"]


TYPED: list[tuple[type[Any], dict[str, Any], list[str]]] = [
    (DigitsForm, {}, ["--dataset=digits"]),
    (
        DigitsForm,
        {"method": {"name": "idc", "idc": {"cutmix": 0.1}, "decode": {"factor": 2}}, "ipc": 2, "arms": ["static"], "score": None},
        ["--dataset=digits", "--method=idc", "--distill.idc.cutmix=0.1", "--distill.decode.factor=2", "--ipc=2", "--arms=static"],
    ),
    (
        DigitsForm,
        {"method": {"name": "mtt", "trajectory": None, "experts": {"count": 2}}, "further": {"seed": 3}, "evaluate": {"robustness": "yes"}},
        ["--dataset=digits", "--method=mtt", "--experts.count=2", "--seed=3", "--evaluate.robustness=yes"],
    ),
    (
        DigitsForm,
        {"keep": 0.5, "beta": 0.2, "distill": {"iterations": 7, "network": {"width": 8}}, "prune": {"criterion": "el2n"}},
        ["--dataset=digits", "--keep=0.5", "--beta=0.2", "--distill.iterations=7", "--distill.network.width=8", "--prune.criterion=el2n"],
    ),
    (DataSetForm, {"recipe": "published/dc/cifar10-ipc1", "keep": 0.7}, ["--recipe=published/dc/cifar10-ipc1", "--keep=0.7"]),
    (
        OwnImagesForm,
        {"uri": "s3://bucket/photos", "resolution": 32, "method": {"name": "dc", "plugin": None}},
        ["--dataset=folder", "--ingest.uri=s3://bucket/photos", "--ingest.resolution=32", "--method=dc"],
    ),
    (OwnImagesForm, {"uri": "photos", "dataset": "parquet"}, ["--dataset=parquet", "--ingest.uri=photos"]),
]


@pytest.mark.parametrize(("kind", "typed", "command"), TYPED, ids=lambda value: str(value)[:40])
def test_a_form_means_what_the_command_line_means(kind: type[Any], typed: dict[str, Any], command: list[str]) -> None:
    config = kind.model_validate(typed).config()
    same = PipelineConfig.model_validate(parse(command, "pipeline", "").given)
    assert config == same
    assert config.origins == same.origins, "what was typed, and nothing else, counts as given"
    assert content_key("x", 1, config=config) == content_key("x", 1, config=same)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_shows_its_own_settings_and_no_others(method: str) -> None:
    _, *choices = form("digits")["method"]["anyOf"]
    (choice,) = (kind for kind in choices if kind["properties"]["name"]["enum"] == [method])
    own = {path.rpartition(".")[2] for path in method_groups(METHODS[method])}
    assert choice["properties"].keys() == {"name", *own}
    assert own.isdisjoint(form("digits")["distill"]["anyOf"][1]["properties"])
    assert refused("digits", {"method": {"name": method}}) == []
    stranger = next(name for other in METHODS for name in METHODS[other].settings if name not in own)
    assert refused("digits", {"method": {"name": method, stranger: {}}})


@pytest.mark.parametrize(("name", "dataset"), [("digits", "digits"), ("my_images", "folder")])
def test_what_a_form_says_of_an_empty_field_is_true(name: str, dataset: str) -> None:
    """Each value that is told without conditions is the one that is used, whatever the method and ipc."""
    place = {"ingest": {"uri": "x"}} if SOURCES[dataset].needs_uri else {}
    looked_at = 0
    for method in METHODS:
        for ipc in (1, 10, 50):
            config = PipelineConfig.model_validate({"dataset": dataset, "method": method, "ipc": ipc, **place})
            values = config.model_dump(mode="json", context={"names": "as typed"})
            for path, text in told_values(name):
                if path not in ("ipc", "dataset", "ingest.resolution"):
                    value = get(values, path)
                    assert text == told(tuple(value) if isinstance(value, list) else value), (path, method, ipc)
                    looked_at += 1
    assert looked_at > 1000


def told_values(name: str) -> Iterator[tuple[str, str]]:
    """Settings that are the same for every method, and what the form tells if they are empty; lists of networks aside."""
    paths = {"uri": "ingest.uri", "resolution": "ingest.resolution", "further": ""}
    for key, field in form(name).items():
        for path, setting in settings(field, paths.get(key, key)) if key != "method" else ():
            found = re.search(r"If empty: ([^;]*?)(?: for \w+)?\.$", setting.get("description", ""))
            if found and not found[1].startswith("derived") and path != "evaluate.networks":
                yield path, found[1]


def test_eight_numbers_that_forms_told_wrong() -> None:
    for name in ("digits", "data_set"):  # from ipc 50 on another share is kept
        assert form(name)["keep"]["description"].endswith("If empty: derived from the dials, 0.8 for digits with dm at ipc 1.")
    assert form("my_images")["keep"]["description"].endswith("If empty: 0.5.")
    network = form("digits")["score"]["anyOf"][1]["properties"]["network"]["properties"]["width"]
    assert network["description"].endswith("If empty: 64 for digits.")


def test_wrong_values_are_refused_before_a_run_is_made() -> None:
    assert refused("digits", {"ipc": 0}) == ["$.config.ipc: 0 is less than the minimum of 1"]
    assert refused("digits", {"icp": 1})
    assert refused("digits", {"method": {"name": "dn"}})
    assert refused("digits", {"evaluate": {"seeds": 0}})
    assert refused("my_images", {}) == ["$.config: 'uri' is a required property"]
    assert refused("my_images", {"uri": "s3://key:secret@bucket/x"})
    assert refused("published_recipe", {"recipe": "digits"}), "it states nothing that was published"
    assert refused("sweep_values", {"keep": [0.5, 1.5]}) == ["$.config.keep[1]: 1.5 is greater than the maximum of 1.0"]


@pytest.mark.parametrize(
    ("kind", "typed", "line"),
    [
        (DataSetForm, {"dataset": "digits", "recipe": "published/dc/cifar10-ipc1"}, "is made for cifar10, not for digits"),
        (DigitsForm, {"distill": {"rounds": 9, "iterations": 3}}, "rounds = 9 exceeds iterations = 3: lower rounds"),
        (DigitsForm, {"distill": {"iteratons": 3}}, "distill.iteratons: no such setting; did you mean distill.iterations?"),
        (DigitsForm, {"ingest": {"uri": "x"}}, "source 'digits' brings its own data"),
        (OwnImagesForm, {"uri": "x", "ingest": {"config": "large"}}, "does not read config"),
    ],
)
def test_what_does_not_fit_together_is_one_line(kind: type[Any], typed: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        kind.model_validate(typed).config()
    assert line in str(refused.value) and "\n" not in str(refused.value)


def name_of(flow: Any, form: Any, drawn: str = "lush-lynx") -> str:
    """What a run of the form is called whose name was typed, or else drawn by Prefect's server."""
    with FlowRunContext.model_construct(flow_run=FlowRun(flow_id=uuid4(), name=drawn), parameters={"config": form}):
        return str(flow.flow_run_name())


def test_a_run_has_the_name_of_its_pipeline_unless_somebody_typed_one() -> None:
    typed = DigitsForm.model_validate({"ipc": 2, "keep": 0.5})
    assert name_of(start.digits, typed) == run_texts.run_name(typed.config()) == "digits dm ipc 2 keep=0.5"
    assert name_of(start.digits, typed, "for the paper") == "for the paper"
    wrong = DigitsForm.model_validate({"distill": {"iterations": 2, "rounds": 3}})
    with pytest.raises(ConfigError):
        wrong.config()
    assert name_of(start.digits, wrong) == "start", "the run itself says what is wrong"


def test_a_sweep_has_lists_of_their_types_and_says_what_a_wrong_name_could_mean() -> None:
    typed = SweepForm.model_validate({"keep": [0.3, 0.5], "ipc": [1, 2], "vary": {"distill.iterations": [5]}, "method": {"name": "dc"}})
    configs = combinations(typed.given(), typed.lists())
    assert [(config.keep, config.ipc, config.distill.iterations, config.method) for config in configs] == [
        (0.3, 1, 5, "dc"),
        (0.3, 2, 5, "dc"),
        (0.5, 1, 5, "dc"),
        (0.5, 2, 5, "dc"),
    ]
    assert name_of(start.sweep_values, typed) == "sweep digits over keep = 0.3, 0.5, ipc = 1, 2, distill.iterations = 5"
    with pytest.raises(ConfigError, match=r"^kepp: no such setting; did you mean keep\?$"):
        combinations({}, {"kepp": [0.5]})


def test_a_published_recipe_is_scaled_as_the_command_does() -> None:
    assert "published/dc/cifar10-ipc1" in form("published_recipe")["recipe"]["enum"]
    typed = PublishedForm.model_validate({"recipe": "published/dc/cifar10-ipc1", "scale": 0.1, "experiments": 2, "distill": None})
    assert typed.given() == {"experiments": 2}
    assert name_of(start.published_recipe, typed) == "reproduce published/dc/cifar10-ipc1 x 0.1"


def test_a_study_is_one_that_comes_with_the_program_or_a_text() -> None:
    assert study_of(*StudyForm().definition()) == load_study("wrong-labels")[0], "the usual one"
    text = "name: mine\narms: {unpruned: {}, bilp: {keep: 0.3}}"
    typed = StudyForm.model_validate({"file": text, "ipc": 2, "method": {"name": "dc"}})
    definition, place = typed.definition()
    assert study_of(definition, place).arms["bilp"].settings == {"keep": 0.3}
    assert typed.given() == {"ipc": 2, "method": "dc"}
    assert name_of(start.study_of_arms, typed) == "study mine"
    assert refused("study_of_arms", {"study": "wrong"}) and refused("study_of_arms", {"processes": 0})


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ({"file": "name: mine\narms: {}", "study": "wrong-labels"}, r"leave one of them empty$"),
        ({"file": "name: [mine"}, r"^the given study"),
        ({"study": "no.yaml"}, r"^no study is called 'no.yaml'"),
    ],
)
def test_what_is_no_study_is_one_line(typed: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        StudyForm.model_validate(typed).definition()
    assert name_of(start.study_of_arms, StudyForm.model_validate(typed)) == "start", "the run itself says what is wrong"


def test_what_a_server_keeps_of_a_form_is_what_was_filled_in() -> None:
    form = DigitsForm.model_validate({"ipc": 2, "method": {"name": "dc"}})
    assert form.model_dump(mode="json") == {"ipc": 2, "method": {"name": "dc"}}
    assert DigitsForm().model_dump(mode="json") == {}
    assert name_of(start.digits, form) == "digits dc ipc 2"


def test_people_see_what_to_start_and_units_are_marked_as_inner_parts() -> None:
    tags = {(item["entrypoint"], item["name"]): item["tags"] for item in DEPLOYED}
    for (entrypoint, _), found in tags.items():
        expected = "start" if entrypoint.startswith("flows/start.py:") else "internal"
        assert expected in found or "for-programs" in found, entrypoint
        if entrypoint.startswith("flows/units/"):
            assert found == ["internal"]
    started = {item["name"] for item in DEPLOYED if item["entrypoint"].startswith("flows/start.py:")}
    assert started == {"digits", "data-set", "my-images", "my-images-on-a-schedule", "published-recipe", "sweep", "study"}
    for item in DEPLOYED:
        if "start" in item["tags"]:
            assert {"How long", "What you get"} <= set(re.findall(r"\*\*([^*]+)\*\*", item["description"])), item["name"]
    assert len({path for path, _ in leaves(get(DEPLOYED[0], "parameters") or {})}) == 0, "nothing is filled in beforehand"
