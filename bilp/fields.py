"""What the configuration models are made of: their base class and the ranges of their values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

GpuArithmetic = Literal["float32", "tf32", "tf32_channels_last"]
ImageOperation = Literal["crop", "scale", "rotate", "noise"]
AugmentFamily = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0.0)]

EVERY_VALUE = "every value"
"""Context of `model_dump` for whoever shows settings: also those that are left out of records and keys while nothing sets them."""


class Frozen(BaseModel):
    """Base of every model: immutable, and an unknown key is an error."""

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
