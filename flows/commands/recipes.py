"""bilp recipes published/dc

The recipes that come with the program: their names, the accuracies that papers report for them, and what they are. With the name of
one, what it says; with the beginning of names, those alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bilp.config.methods import METHODS
from bilp.config.recipes import RECIPES, read_recipe, recipe_names
from bilp.config.sources import SOURCES
from bilp.errors import ConfigError
from flows import program

COMMAND = "# bilp "
"""How the first line of a recipe begins: the program that runs it."""


@dataclass(frozen=True)
class Recipe:
    """A recipe as the list shows it."""

    name: str
    published: str
    """The published accuracy with its spread, empty where none is stated."""
    title: str
    """Its first comment."""
    lacks: str
    """The data set or method that this installation does not have, empty where it can run."""

    @classmethod
    def read(cls, name: str) -> Recipe:
        """The recipe of that name in recipes/."""
        values = read_recipe(name)
        published = values.get("published") or {}
        spread = f" ± {published['spread']}" if "spread" in published else ""
        value = f"{published['value']}{spread} %" if "value" in published else ""
        comments = [line.removeprefix("# ") for line in _lines(name) if line.startswith("#") and not line.startswith(COMMAND)]
        return cls(name, value, next(iter(comments), ""), _lacks(values))


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    parser = program.Parser(prog=name, description=description, allow_abbrev=False)
    parser.add_argument("recipe", nargs="?", default="", metavar="NAME", help="a recipe, or the beginning of names")
    asked = parser.typed(arguments).recipe.strip("/")
    program.guarded(name, lambda: list(found(asked)), program.show_text)


def found(asked: str) -> Iterator[str]:
    """Lines about the recipe `asked`, or about all whose names begin so. Raises ConfigError if there are none."""
    names = recipe_names()
    if asked in names:
        yield from _one(asked)
        return
    chosen = [name for name in names if name.startswith(asked)]
    if not chosen:
        raise ConfigError(f"no recipe is called {asked!r} or begins so: without a name, all are listed")
    recipes = [Recipe.read(name) for name in chosen]
    widths = [max(len(row) for row in column) for column in ([each.name for each in recipes], [each.published for each in recipes])]
    for each in recipes:
        lacks = f" (needs {each.lacks}, which is not here)" if each.lacks else ""
        yield f"{each.name:{widths[0]}}  {each.published:{widths[1]}}  {each.title}{lacks}".rstrip()


def _one(name: str) -> Iterator[str]:
    """The recipe as it is written, and the commands that run it."""
    recipe = Recipe.read(name)
    yield from (line for line in _lines(name) if not line.startswith(COMMAND))
    yield ""
    if recipe.lacks:
        yield f"It needs {recipe.lacks}, which is not here; --dataset folder runs it on images of your own."
    yield f"bilp run --recipe {name}"
    if recipe.published:
        yield f"bilp reproduce {name} --scale 0.1    # and how far from the published value it is"


def _lines(name: str) -> list[str]:
    return (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()


def _lacks(values: dict[str, Any]) -> str:
    asked = (("data set", SOURCES, values.get("dataset")), ("method", METHODS, values.get("method")))
    return " and ".join(f"{what} {name}" for what, known, name in asked if name is not None and name not in known)


if __name__ == "__main__":
    main(sys.argv[1:])
