"""What the configuration models are made of: their base class and the ranges of their values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.config.former import Former, recorded, renamed
from bilp.registry import EntryName
from bilp.storage.uris import NO_SECRET, refuse_secret

SourceName = Annotated[str, EntryName("bilp.config.sources:SOURCES")]
MethodName = Annotated[str, EntryName("bilp.config.methods:METHODS")]
ProtocolName = Annotated[str, EntryName("bilp.config.protocols:PROTOCOLS")]
GpuArithmetic = Annotated[
    str,
    EntryName("bilp.config.arithmetics:ARITHMETICS"),
    Field(
        description="Arithmetic on a GPU: float32, or with convolutions (papers, as in their programs) or all products (tf32) in "
        "TensorFloat-32; or as papers with channels last, and norm, ReLU and pooling in one kernel (fused). "
        "By default papers where a GPU computes, float32 elsewhere. "
        "A CPU computes in float32 whatever it says, and causal effects are measured in float32 everywhere."
    ),
]

GpuRevision = Annotated[
    int,
    Field(
        ge=0,
        description="Revision of how a GPU rounds: this version's where a GPU computes, 0 elsewhere. It is there to be part of the keys, "
        "and changes nothing that is computed.",
    ),
]

MOST_BITS = 63


def countable(number: int) -> int:
    """The number. Raises ValueError for one that takes more bits than counters and seeds have; Python alone knows no limit."""
    if number.bit_length() > MOST_BITS:
        raise ValueError(f"a whole number of {number.bit_length()} bits: give one of at most {MOST_BITS}")
    return number


Location = Annotated[
    str,
    BeforeValidator(lambda value: os.fsdecode(value) if isinstance(value, os.PathLike) else value),
    AfterValidator(refuse_secret),
    WithJsonSchema({"type": "string", "pattern": NO_SECRET}),
]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Kept = Annotated[float, Field(gt=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1), AfterValidator(countable)]
Count = Annotated[int, Field(ge=0), AfterValidator(countable)]
Several = Annotated[int, Field(ge=2), AfterValidator(countable)]
Seed = Annotated[int, AfterValidator(countable)]
Rate = Annotated[float, Field(gt=0.0)]
Dropped = Annotated[float, Field(ge=0.0, lt=1.0)]
# A class may be called 0, and a column 1: numbers are names there.
Text = Annotated[str, Field(coerce_numbers_to_str=True)]
# On the command line and in recipes none means nothing; where "none" is a choice, nothing means that one.
NoneIsAChoice = BeforeValidator(lambda value: "none" if value is None else value)

# Fields of every stage that trains something: rules fill them from the dials of the same names.
SHARED = frozenset({"gpu", "gpu_revision", "seed"})

# What a form offers for a setting that is true or false: empty, too, so that it can be left to a recipe.
SWITCH: list[dict[str, Any]] = [
    {"type": "string", "enum": ["yes", "no"], "title": "Yes or no"},
    {"type": "boolean", "title": "True or false"},
]


# Defaults that can be told in a few words.
Told = str | int | float | tuple[str | int | float, ...]


class Frozen(BaseModel):
    """Base of every model: immutable, and an unknown key is an error."""

    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that were added later: at their defaults they are part of no content key, so that results from before stay valid."""

    by_rule: ClassVar[frozenset[str]] = frozenset()
    """Fields whose default gives way to rules in a pipeline (`bilp.config.defaults`): nobody is told a default that may not be used."""

    formerly: ClassVar[Mapping[str, Former]] = {}
    """Fields that had another name, or other values, by their name: people may still write these, and results go on recording them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _as_fields(cls, given: Any) -> Any:
        """Former names are today's; `none`, which arrives as null (on a command line, of lists: as a list of it), empties a list,
        and is null elsewhere."""
        if not isinstance(given, dict):
            return given
        given = renamed(cls, given)
        empty = [name for name, value in given.items() if name in cls.model_fields and (value is None or value == [None])]
        return given | {name: () if get_origin(cls.model_fields[name].annotation) is tuple else None for name in empty}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A schema for forms. Defaults are told but not set: a form hands them all in, and nothing would be left to derive."""
        schema = handler(core_schema)
        if cls.formerly:  # parameters of deployments that exist already hold them; no form shows a pattern
            former_names: JsonSchemaValue = {f"^{former.name}$": {} for former in cls.formerly.values()}
            handler.resolve_ref_schema(schema)["patternProperties"] = former_names
        for name, value in handler.resolve_ref_schema(schema)["properties"].items():
            default = value.pop("default", None)
            if value.get("type") == "boolean":
                del value["type"]
                value["anyOf"] = list(SWITCH)
            if isinstance(default, str | int | float) and name not in cls.by_rule:
                value["description"] += f" Default: {told(default)}."
        return schema


def told(default: Told) -> str:
    """A default as forms and `--help` write it."""
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)


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


def unrevised(settings: Any) -> set[str]:
    """Fields of settings that are left out where they are written field by field: of what a CPU computes, the revision of rounding, which
    keys from before it do not have."""
    return set() if settings.gpu_revision else {"gpu_revision"}


def as_recorded(model: BaseModel, leave_out: Mapping[str, Any] = {}) -> dict[str, Any]:
    """A model as keys and stored files hold it: JSON of its fields but for unused later ones and those to `leave_out`, under the
    names that they always had there."""
    return recorded(model, model.model_dump(mode="json", exclude={**unused(model), **leave_out}))
