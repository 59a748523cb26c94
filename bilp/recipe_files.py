"""Recipes: YAML files of small differences over the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bilp import recipe_yaml
from bilp.errors import ConfigError

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def recipe_names() -> list[str]:
    """The recipes that come with the program, as `recipe` takes them."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def load_recipe(name: str) -> dict[str, Any]:
    """The nested settings of a recipe: a name in recipes/ or the path of a YAML file. What it states as published is no setting.

    Raises ConfigError if it cannot be read, or names a recipe itself.
    """
    values = read_recipe(name)
    if "recipe" in values:
        raise ConfigError(f"recipe {name} starts from another recipe, {values['recipe']}, which none can: copy what it says")
    return {key: value for key, value in values.items() if key != "published"}


def read_recipe(name: str) -> dict[str, Any]:
    """Everything that a recipe's file holds. Raises ConfigError in one line if it cannot be read as it is meant."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(known for known in recipe_names() if "/" not in known) or "none"
        raise ConfigError(f"recipe {name!r}: no file {path}; known recipes: {known}, and the cells in recipes/published")
    try:
        return recipe_yaml.parse(path.read_bytes(), f"recipe {path}")
    except OSError as error:
        raise ConfigError(f"recipe {path} cannot be read: {error.strerror}") from error
