"""Settings that hold a number or, in its place, a word that says how the number is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from bilp.errors import ConfigError

AUTO = "auto"
"""The stage itself computes the number from the scores that it reads."""
SEARCH = "search"
"""A search before any stage tries numbers and puts in the best."""

Word = Literal["auto", "search"]


@dataclass(frozen=True)
class NumberOrWord:
    """Annotation of such a setting, `Annotated[float | Word, NumberOrWord(gt=0.0, le=1.0)]`: the bounds are those of the number."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    words: tuple[str, ...] = (AUTO, SEARCH)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.float_schema(gt=self.gt, ge=self.ge, lt=self.lt, le=self.le, allow_inf_nan=False)
        as_it_is = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(self._read, number, serialization=as_it_is)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        bounds = {"exclusiveMinimum": self.gt, "minimum": self.ge, "exclusiveMaximum": self.lt, "maximum": self.le}
        number = {"type": "number", "title": "a number", **{name: bound for name, bound in bounds.items() if bound is not None}}
        return {"anyOf": [number, {"type": "string", "enum": list(self.words), "title": "a word"}]}

    def _read(self, given: Any, number: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(given, str) and not _is_number(given):
            if given not in self.words:
                expected = " or ".join(repr(word) for word in self.words)
                raise PydanticKnownError("literal_error", {"expected": f"a number, {expected}" if len(self.words) > 1 else expected})
            return given
        return number(given)


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


def _is_number(text: str) -> bool:
    """Whether it is one, of which the number's own validation says whether it will do."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def told_share(value: float | Word) -> str:
    """'50 %', or what a word stands for: 'a share that is found (auto)'."""
    return f"a share that is found ({value})" if isinstance(value, str) else f"{100 * value:g} %"


KeptShare = Annotated[float | Word, NumberOrWord(gt=0.0, le=1.0)]
"""Share of samples that are kept, or how it is found."""
DroppedShare = Annotated[float | Word, NumberOrWord(ge=0.0, lt=1.0)]
"""Share of samples that are dropped, likewise."""
FractionOrWord = Annotated[float | Word, NumberOrWord(ge=0.0, le=1.0)]
"""A part of something, likewise."""
