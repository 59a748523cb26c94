"""What the configuration models are made of: their base class and the ranges of their values."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

GpuArithmetic = Literal["float32", "tf32", "tf32_channels_last"]
ImageOperation = Literal["crop", "scale", "rotate", "noise"]
AugmentFamily = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]

Location = Annotated[str, BeforeValidator(lambda value: os.fsdecode(value) if isinstance(value, os.PathLike) else value)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0.0)]


class Frozen(BaseModel):
    """Base of every model: immutable, and an unknown key is an error."""

    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that came when results existed already: at their defaults they are part of no content key, so that these stay valid."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A schema for forms. Defaults are told but not set: a form hands them all in, and nothing would be left to derive.

        Switches keep theirs, as a form knows no third position; no rule derives one.
        """
        schema = handler(core_schema)
        for value in handler.resolve_ref_schema(schema)["properties"].values():
            if value.get("type") == "boolean":
                continue
            default = value.pop("default", None)
            if isinstance(default, str | int | float):
                value["description"] += f" If empty, usually {default}."
        return schema


def unused(model: BaseModel) -> dict[str, Any]:
    """The later fields, of a model and of those in it, that are at their defaults: nested, as `model_dump` takes them to exclude."""
    found: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(model, Frozen) and name in model.later and value == field.default:
            found[name] = True
        elif isinstance(value, BaseModel) and (inner := unused(value)):
            found[name] = inner
    return found
