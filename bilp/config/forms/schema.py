"""JSON schemas as Prefect's form shows them: references resolved, groups folded, titles in words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler

from bilp.config.methods import METHODS

Schema = dict[str, Any]

ABBREVIATIONS = {word: word.upper() for word in ("ipc", "uri", "gpu", "ema", *METHODS)}


def in_words(name: str) -> str:
    """`batch_real` is "Batch real"."""
    words = [ABBREVIATIONS.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def inlined(schema: Schema, handler: GetJsonSchemaHandler) -> Schema:
    """A copy without references, so that the same group can be told differently in two places."""
    if "$ref" in schema:
        resolved = inlined(handler.resolve_ref_schema({"$ref": schema["$ref"]}), handler)
        return resolved | {name: value for name, value in schema.items() if name != "$ref"}
    found = copy.copy(schema)
    for name, value in schema.items():
        if name in ("properties", "patternProperties"):
            found[name] = {key: inlined(below, handler) for key, below in value.items()}
        elif name in ("anyOf", "oneOf", "allOf", "prefixItems"):
            found[name] = [inlined(below, handler) for below in value]
        elif name in ("items", "additionalProperties") and isinstance(value, dict):
            found[name] = inlined(value, handler)
    return found


def group_of(model: type[BaseModel], handler: GetJsonSchemaHandler) -> Schema:
    """A model's schema, inlined."""
    return inlined(model.__get_pydantic_json_schema__(model.__pydantic_core_schema__, handler), handler)


def folded(group: Schema, closed: str, opened: str) -> Schema:
    """A group that a form shows after a click on `opened`; untouched, it hands in null, which means nothing."""
    return {"anyOf": [{"type": "null", "title": closed}, group | {"title": opened}]}


def opened(schema: Schema) -> Schema:
    """What a choice between something and an untitled null offers besides null, if that is one thing; anything else as it is."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    only: Schema = kinds[0]
    return only | {name: value for name, value in schema.items() if name != "anyOf"}


def each_setting(schema: Schema, path: str, tell: Callable[[str, Schema], None]) -> None:
    """Call `tell` with every setting at or below the path, and number the properties of every group in their order.

    Forms sort by these numbers, and what has none comes last.
    """
    groups = [kind for kind in (schema, *schema.get("anyOf", [])) if "properties" in kind]
    if not groups:
        tell(path, schema)
    for group in groups:
        for position, (name, below) in enumerate(group["properties"].items()):
            below["position"] = position
            each_setting(below, f"{path}.{name}" if path else name, tell)
