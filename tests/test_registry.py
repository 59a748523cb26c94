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
from bilp.errors import ConfigError
from bilp.registry import EntryName, Plugin, Registry

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

    def put(distribution: str, points: str, **modules: str) -> None:
        information = tmp_path / f"{distribution}-1.5.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n", encoding="utf-8")
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
