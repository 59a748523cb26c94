"""What fields of forms offer: data sets and recipes that can be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.config.methods import DEFAULT_METHOD, METHODS
from bilp.config.recipes import read_recipe, recipe_names
from bilp.config.sources import DEFAULT_SOURCE, OWN, SOURCES, UNKNOWN_DATA
from bilp.errors import ConfigError

OWN_DATA = (UNKNOWN_DATA, *(source.name for source in OWN if source.any_data and source.name != UNKNOWN_DATA))
"""The kinds of places where people have images of their own; the first is the usual one."""


@cache
def built_in() -> tuple[str, ...]:
    """The data sets that need no address, but for those whose package cannot be used, which is told whoever chooses one."""
    found = []
    for name in SOURCES:
        try:
            source = SOURCES[name]
        except ConfigError:
            continue
        if not (source.needs_uri or source.any_data):
            found.append(name)
    return tuple(found)


class OneOf:
    """Annotation of a field that offers some of the names that its type takes."""

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        self.names = names

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A choice."""
        return {"type": "string", "enum": list(self.names())}


class Recipe:
    """Annotation of a field that holds the name of a recipe whose method and data set exist here."""

    def __init__(self, *, published: bool = False) -> None:
        """`published` leaves those alone that state what a paper reports."""
        self.published = published

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A choice."""
        return {"type": "string", "enum": [name for name, values in _recipes().items() if "published" in values or not self.published]}


@cache
def _recipes() -> dict[str, dict[str, Any]]:
    stated = {name: read_recipe(name) for name in recipe_names()}
    known = {name: (values.get("method", DEFAULT_METHOD), values.get("dataset", DEFAULT_SOURCE)) for name, values in stated.items()}
    return {name: stated[name] for name, (method, dataset) in known.items() if method in METHODS and dataset in SOURCES}
