"""Types of parameters that many flows and tasks have, each with the sentence that Prefect's form shows beside it.

Prefect takes the descriptions of parameters from docstrings alone and drops what pydantic's `Field` says of an annotation; what an
annotation adds to its JSON schema stays.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.storage.objects import Uri, as_uri
from bilp.storage.uris import NO_SECRET


@dataclass(frozen=True)
class Described:
    """Annotation of a parameter: what its field of a form says."""

    text: str

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the type, described."""
        return {**handler(core_schema), "description": self.text}


_Place = Annotated[
    Uri,
    BeforeValidator(lambda value: as_uri(value) if isinstance(value, os.PathLike) else value),
    WithJsonSchema({"type": "string", "pattern": NO_SECRET}),
]

Root = Annotated[_Place | None, Described("Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.")]
DatasetUri = Annotated[str, Described("The dataset, as ingest published it.")]
RunUri = Annotated[str, Described("A run that a pipeline registered.")]
RunsByArm = Annotated[dict[str, list[str]], Described("URIs of runs by arm.")]
Label = Annotated[str, Described("The display name.")]
