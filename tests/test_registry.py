"""Registries: own entries, entries of installed packages, and what is said of those that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from bilp import registry
from bilp.artifacts.artifact import content_key
from bilp.artifacts.publication import publish
from bilp.config.nested import as_plain
from bilp.errors import ConfigError, PluginMissing
from bilp.registry import AS_TYPED, EntryName, Plugin, Registry, plugins_in

Install = Callable[..., None]


@dataclass(frozen=True)
class Fruit:
    name: str
    sweet: bool = True


FRUITS = Registry("fruit", Fruit, (Fruit("apple"), Fruit("lemon", sweet=False)))


def fruits() -> Registry[Fruit]:
    return Registry("fruit", Fruit, FRUITS.values(), group="bilp_tests.fruits")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with entry points where Python finds it, as an installer would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def put(distribution: str, points: str, version: str = "1.5", **modules: str) -> None:
        information = tmp_path / f"{distribution}.dist-info"
        information.mkdir(exist_ok=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8")
        (information / "entry_points.txt").write_text(f"[bilp_tests.fruits]\n{points}\n", encoding="utf-8")
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
            written.append(name)
        registry._entry_points.cache_clear()

    yield put
    registry._entry_points.cache_clear()
    for name in written:
        sys.modules.pop(name, None)


PEAR = "from test_registry import Fruit\nPEAR = Fruit('pear')\nOTHER = Fruit('plum')\nNONE = 3\n"


def test_entries_are_found_by_name_in_the_order_they_were_given() -> None:
    assert list(FRUITS) == ["apple", "lemon"]
    assert (FRUITS["lemon"].sweet, len(FRUITS), FRUITS.plugin("apple")) == (False, 2, None)
    with pytest.raises(ConfigError, match="fruit 'fig' is unknown: use one of apple, lemon; if a package offers it, install"):
        FRUITS.known("fig")
    with pytest.raises(ValueError, match="two entries"):
        Registry("fruit", Fruit, (Fruit("fig"), Fruit("fig")))


def test_a_package_adds_an_entry_that_is_loaded_when_it_is_asked_for(install: Install) -> None:
    install("pears", "pear = pears_entry:PEAR", pears_entry=PEAR)
    found = fruits()
    assert list(found) == ["apple", "lemon", "pear"]
    assert found.plugin("pear") == Plugin("pears", "1.5")
    assert "pears_entry" not in sys.modules
    assert found["pear"] == Fruit("pear")
    assert found.plugin("apple") is None


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ("pear = pears_entry:ABSENT", "the fruit 'pear' of package pears .* cannot be loaded .AttributeError"),
        ("pear = no_such_module:PEAR", "cannot be loaded .ModuleNotFoundError"),
        ("pear = pears_entry:NONE", "is a int, not a Fruit"),
        ("pear = pears_entry:OTHER", "calls itself 'plum'"),
    ],
)
def test_an_entry_that_cannot_be_used_is_said_in_one_line_and_hurts_no_other(points: str, said: str, install: Install) -> None:
    install("pears", points, pears_entry=PEAR)
    found = fruits()
    assert found["apple"] == Fruit("apple")
    with pytest.raises(ConfigError, match=said) as caught:
        found.known("pear")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["Pear", "1pear", "sweet pear", "../pear", "p" * 65])
def test_a_name_is_a_word_that_folders_and_options_can_hold(name: str, install: Install) -> None:
    install("pears", f"{name} = pears_entry:PEAR")
    with pytest.raises(ConfigError, match="package pears offers a fruit called .*: names are of a-z, 0-9 and _: update"):
        list(fruits())


def test_a_name_belongs_to_one_package(install: Install) -> None:
    install("apples", "apple = pears_entry:PEAR", pears_entry=PEAR)
    with pytest.raises(ConfigError, match="package apples offers a fruit called 'apple', and so does bilp itself: uninstall"):
        list(fruits())


def test_a_setting_holds_the_name_of_an_entry() -> None:
    class Basket(BaseModel):
        fruit: Annotated[str, EntryName("test_registry:FRUITS")] = "apple"

    assert Basket(fruit="lemon").fruit == "lemon"
    assert Basket.model_json_schema()["properties"]["fruit"]["enum"] == ["apple", "lemon"]
    with pytest.raises(ValidationError, match="Input should be 'apple' or 'lemon'"):
        Basket(fruit="fig")
    with pytest.raises(ValidationError):
        Basket.model_validate({"fruit": 3})


OFFERED = Registry("fruit", Fruit, FRUITS.values(), group="bilp_tests.fruits")


class Salad(BaseModel):
    fruit: Annotated[str, EntryName("test_registry:OFFERED")] = "apple"
    more: tuple[Annotated[str, EntryName("test_registry:OFFERED")], ...] = ()


class Meal(BaseModel):
    salad: Salad = Salad()


RECORDED = {"name": "pear", "package": "pears", "version": "1.5"}


@pytest.fixture
def offered(install: Install) -> Iterator[Install]:
    """Installs a package in the registry that the models above read."""

    def put(*arguments: str, **modules: str) -> None:
        install(*arguments, **modules)
        vars(OFFERED).pop("_offered", None)

    yield put
    vars(OFFERED).pop("_offered", None)


def test_names_of_our_own_are_written_as_they_are_and_those_of_a_package_with_its_version(offered: Install) -> None:
    offered("pears", "pear = pears_entry:PEAR", pears_entry=PEAR)
    assert Meal().model_dump(mode="json") == {"salad": {"fruit": "apple", "more": []}}
    meal = Meal(salad=Salad(fruit="pear", more=("lemon", "pear")))
    written = {"salad": {"fruit": RECORDED, "more": ["lemon", RECORDED]}}
    assert meal.model_dump(mode="json") == written
    assert Meal.model_validate(written) == Meal.model_validate_json(meal.model_dump_json()) == meal
    named = {"salad": {"fruit": "pear", "more": ["lemon", "pear"]}}
    assert meal.model_dump(mode="json", context=AS_TYPED) == named
    assert plugins_in(written) == {"pears": "1.5"}
    assert plugins_in(named) == {}
    assert as_plain(written["salad"])["fruit"] == "pear"
    assert "pears_entry" not in sys.modules


def test_the_version_of_a_package_belongs_to_the_key_of_what_names_its_entry(offered: Install) -> None:
    def keys() -> list[str]:
        meals = [Meal(), *(Meal(salad=Salad(**given)) for given in ({"fruit": "pear"}, {"more": ("pear",)}) if "pear" in OFFERED)]
        return [content_key("meal", 1, **parts) for meal in meals for parts in ({"meal": meal}, meal.model_dump(mode="json"))]

    (alone, _) = before = keys()
    offered("pears", "pear = pears_entry:PEAR", pears_entry=PEAR)
    first = keys()
    offered("pears", "pear = pears_entry:PEAR", "1.6", pears_entry=PEAR)
    second = keys()
    assert before == first[:2] == second[:2]
    assert len({alone, *first, *second}) == len(first) + len(second) - 2


def test_an_artifact_tells_the_package_that_had_a_part_in_it(offered: Install, tmp_path: Path) -> None:
    offered("pears", "pear = pears_entry:PEAR", pears_entry=PEAR)
    meal = Meal(salad=Salad(fruit="pear"))
    published = publish(str(tmp_path / "store" / "meal"), "meal", "k1", {"a": b"a"}, config=meal, parents={})
    assert published.manifest.provenance["pears"] == "1.5"
    assert published.manifest.config["salad"]["fruit"] == RECORDED


def test_what_was_written_with_a_package_is_refused_in_one_line_without_it(offered: Install) -> None:
    written = {"salad": {"fruit": RECORDED}}
    with pytest.raises(PluginMissing, match="^fruit 'pear' of package pears 1.5 is not installed: install it .pip install pears==1.5.$"):
        Meal.model_validate(written)
    offered("others", "pear = pears_entry:PEAR", pears_entry=PEAR)
    with pytest.raises(PluginMissing, match="package pears 1.5 is not installed"):
        Meal.model_validate(written)


def test_what_was_written_with_one_version_is_not_continued_with_another(offered: Install) -> None:
    offered("pears", "pear = pears_entry:PEAR", "1.6", pears_entry=PEAR)
    with pytest.raises(PluginMissing, match="'pear' of package pears 1.5 is needed .*, and 1.6 is installed: install that version"):
        Meal.model_validate({"salad": {"fruit": RECORDED}})
    Meal.model_validate({"salad": {"fruit": {**RECORDED, "version": "1.6"}}})
    for wrong in ({**RECORDED, "more": "1"}, {**RECORDED, "version": 1.6}, {"name": "pear"}):
        with pytest.raises(ValidationError, match="Input should be"):
            Meal.model_validate({"salad": {"fruit": wrong}})
