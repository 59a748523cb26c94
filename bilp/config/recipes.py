"""Recipes: YAML files of small differences over the defaults."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any

from bilp.config import recipe_yaml
from bilp.errors import ConfigError

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
MOST_BYTES = 1 << 20
"""What a recipe may hold: a thousand times what those in recipes/ do, and read in a second or two."""

_names_alone = False


def take_names_alone() -> None:
    """From now on this process takes recipes by their names in recipes/ and refuses paths.

    For processes that carry out what came through a server: whoever may start a run there may not name any file of the worker's
    machine, whose words an error would tell.
    """
    global _names_alone
    _names_alone = True


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
    is_path = name.endswith((".yaml", ".yml"))
    if is_path and _names_alone:
        raise ConfigError(f"recipe {name!r} is a path, and a run that a server starts takes the names of recipes alone: {_known()}")
    path = Path(name) if is_path else RECIPES / f"{name}.yaml"
    try:
        if "\0" in name or (not is_path and (name.startswith("/") or ".." in PurePosixPath(name).parts)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        content = _content(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"recipe {name!r}: no file {path}; {_known()}") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"recipe {path} cannot be read: {reason}: give the path of a YAML file that this user may read") from error
    return recipe_yaml.parse(content, f"recipe {path}")


def _content(path: Path) -> bytes:
    """The bytes of a file. Raises OSError, and ConfigError for what is no file or too large."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):  # reading might never end
        raise ConfigError(f"recipe {path} is a device, pipe or socket, not a file: save the recipe in a file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigError(f"recipe {path} holds more than {MOST_BYTES} bytes: a recipe is a file of a few settings; give its path")
    return content


def _known() -> str:
    known = ", ".join(known for known in recipe_names() if "/" not in known) or "none"
    return f"known recipes: {known}, and the cells in recipes/published"
