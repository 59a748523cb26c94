"""Settings of a method that another package offers: in models, on the command line, in recipes, forms and keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bilp import registry
from bilp.artifacts.artifact import plain
from bilp.config import METHODS, DistillConfig, PipelineConfig
from bilp.config.command_line import configure, parse
from bilp.config.explain import explain, problems
from bilp.errors import PluginMissing

MODULE = '''
from bilp.config.base import Frozen, Positive, Rate
from bilp.config.methods import Method, PluginConfig

class Inner(Frozen):
    """Deeper ones."""
    depth: Positive = 3
    """How deep."""

class Settings(PluginConfig):
    """Of the toy."""
    by_rule = frozenset({"power"})
    power: Rate = 2.0
    """Exponent."""
    rates: tuple[float, ...] = (0.5,)
    """One per layer."""
    inner: Inner = Inner()
    """Deeper ones."""

TOY = Method(
    name="toy", title="toy matching", paper="nobody", venue="nowhere", matching="no_module:matching", settings={"plugin": Settings},
    values=lambda cell: {"distill": {"iterations": 20, "plugin": {"power": 3.0 * cell.ipc}}},
)
'''


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package that offers the method, installed for one test."""
    information = tmp_path / "toy_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text("[bilp.methods]\ntoy = toy_of_settings:TOY\n", encoding="utf-8")
    (tmp_path / "toy_of_settings.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield
    sys.modules.pop("toy_of_settings", None)
    monkeypatch.undo()
    forget()


def forget() -> None:
    """What was found out about installed packages."""
    registry._entry_points.cache_clear()
    METHODS.__dict__.pop("_offered", None)


def test_rules_and_what_is_given_reach_the_model_of_the_method() -> None:
    config = PipelineConfig.model_validate({"method": "toy", "ipc": 2, "distill": {"plugin": {"inner": {"depth": "4"}}}})
    assert config.distill.plugin.model_dump() == {"power": 6.0, "rates": (0.5,), "inner": {"depth": 4}}
    assert (config.origins or {})["distill.plugin.power"] == "method toy at ipc 2"
    assert DistillConfig.model_validate_json(config.distill.model_dump_json()) == config.distill
    rows = {row.path: (row.value, row.origin) for row in explain({"method": "toy", "distill": {"plugin": {"rates": [1]}}})}
    assert rows["distill.plugin.rates"] == ([1.0], "given")
    assert rows["distill.plugin.inner.depth"] == (3, "default")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "toy", "distill": {"plugin": {"powr": 1}}}, "distill.plugin.powr: no such setting; did you mean distill.plugin.power?"),
        ({"method": "toy", "distill": {"plugin": {"power": -1}}}, "distill.plugin.power = -1: input should be greater than 0"),
        ({"method": "dm", "distill": {"plugin": {"power": 1}}}, "distill.plugin: method dm has no settings of this kind: leave power out"),
        ({"method": "toy", "distill": {"plugin": 3}}, "distill.plugin = 3: input should be a valid dictionary or instance of PluginConfig"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_path(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PipelineConfig.model_validate(values)
    assert problems(caught.value, values) == [said]


def test_a_distillation_of_its_own_takes_no_default_that_the_method_overrules() -> None:
    with pytest.raises(ValidationError, match="method toy at ipc 1 decides plugin.power: give each"):
        DistillConfig(method="toy", iterations=20)


def test_each_is_an_option_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["--method", "toy", "--distill.plugin.power", "5", "--distill.plugin.rates", "1,2", "--distill.plugin.inner.depth=7"]
    assert configure(typed, "program", "").distill.plugin.model_dump() == {"power": 5.0, "rates": (1.0, 2.0), "inner": {"depth": 7}}
    for arguments, said in (
        (["--help", "distill"], "--distill.plugin.power float"),
        (["--distill.plugin.powr", "1"], "mean --distill.plugin.power"),
    ):
        with pytest.raises(SystemExit):
            parse(arguments, "program", "")
        assert said in "".join(capsys.readouterr())


def test_a_form_offers_them_without_their_defaults() -> None:
    models = PipelineConfig.model_json_schema()["$defs"]
    none, toy = models["DistillConfig"]["properties"]["plugin"]["anyOf"]
    assert none == {"$ref": "#/$defs/PluginConfig"}
    assert models["PluginConfig"]["properties"] == {}
    assert set(toy["properties"]) == {"power", "rates", "inner"}
    assert toy["properties"]["power"] == {"description": "Exponent.", "exclusiveMinimum": 0.0, "title": "Power", "type": "number"}


def test_they_are_part_of_a_key_where_there_are_any() -> None:
    assert "plugin" not in plain(PipelineConfig(method="dm").distill)
    given = PipelineConfig.model_validate({"method": "toy", "distill": {"plugin": {"power": 4}}}).distill
    assert plain(given)["plugin"] == {"power": 4.0, "rates": [0.5], "inner": {"depth": 3}}


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("bilp-nowhere", r"'grand' of package bilp-nowhere 1.5 is not installed: install it \(pip install bilp-nowhere==1.5\)"),
        ("torch", "'grand' of package torch 1.5 is asked for, and .* is installed: install that version, or give the name alone"),
    ],
)
def test_a_pipeline_asks_for_the_package_that_its_settings_were_recorded_with(package: str, said: str) -> None:
    recorded = {"name": "grand", "package": package, "version": "1.5"}
    for values in ({"prune": {"criterion": recorded}}, {"method": {**recorded, "name": "dm"}}):
        with pytest.raises(PluginMissing, match=said if "prune" in values else said.replace("grand", "dm")):
            PipelineConfig.model_validate(values)
