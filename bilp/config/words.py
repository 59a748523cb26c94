"""Settings that are a number, or a word for one that is found: `reselect.beta: auto`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidatorFunctionWrapHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Word = Literal["auto", "search"]
"""auto: computed from the scores of the real samples; search: tried out on training samples that are held out."""

AUTO: Word = "auto"
SEARCH: Word = "search"
WORDS = (AUTO, SEARCH)


class OrWord:
    """Annotation of a number that may also be a word: `Annotated[float | Word, OrWord(Dropped)]`, where `Dropped` has the range.

    A wrong value is refused once, as the number would be, and not for each of the alternatives.
    """

    def __init__(self, number: Any) -> None:
        """`number` is the type of the number with its range."""
        self._number = number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(_read, handler.generate_schema(self._number), serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        number = handler(schema["schema"])
        return {"anyOf": [number | {"title": "Number"}, {"type": "string", "enum": list(WORDS), "title": "To be found"}]}


def _read(value: Any, number: ValidatorFunctionWrapHandler) -> Any:
    if value in WORDS:
        return value
    try:
        return number(float(value) if isinstance(value, str) else value)
    except ValueError as error:
        if isinstance(value, str) and type(error) is ValueError:
            raise PydanticCustomError(
                "number_or_word", "Input should be a number, {words}", {"words": " or ".join(WORDS)}
            ) from None
        raise
