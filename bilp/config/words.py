"""Settings that hold a number or, in its place, a word that says how the number is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from bilp.config.base import Dropped, Fraction, Kept
from bilp.errors import ConfigError

AUTO = "auto"
"""A stage computes the number from the scores that it reads."""
SEARCH = "search"
"""A search before any stage tries numbers and puts in the best (`bilp.search`)."""
WORDS = (AUTO, SEARCH)


@dataclass(frozen=True)
class OrWord:
    """Annotation of such a setting: `Annotated[float, OrWord(Kept)]` takes what `Kept` takes, or one of WORDS."""

    number: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = handler.generate_schema(self.number)
        as_it_is = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(_read, number, serialization=as_it_is)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        number = handler(schema["schema"]) if "schema" in schema else handler(schema)
        return {"anyOf": [number | {"title": "a number"}, {"type": "string", "enum": list(WORDS), "title": "a word"}]}


KeptShare = Annotated[float, OrWord(Kept)]
"""Share of samples that are kept, or how it is found."""
DroppedShare = Annotated[float, OrWord(Dropped)]
"""Share of samples that are dropped, likewise."""
FractionOrWord = Annotated[float, OrWord(Fraction)]
"""A part of something, likewise."""


def is_word(value: object) -> bool:
    """Whether a setting holds a word."""
    return isinstance(value, str)


def is_search(value: object) -> bool:
    """Whether a setting asks for a search."""
    return value == SEARCH


def require_numbers(**values: object) -> None:
    """Raise ConfigError for the first of these settings, by name, that holds a word where a number is needed."""
    for name, value in values.items():
        if is_word(value):
            raise ConfigError(f"{name} = {value}: a pipeline (bilp run) finds the number; give one here")


def told_share(value: float | str) -> str:
    """'50 %', or what a word stands for."""
    return f"a share that is found ({value})" if isinstance(value, str) else f"{100 * value:g} %"


def _read(given: Any, number: core_schema.ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(given, str) or _is_number(given):
        return number(given)
    if given not in WORDS:
        raise PydanticKnownError("literal_error", {"expected": f"a number, {AUTO!r} or {SEARCH!r}"})
    return given


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
