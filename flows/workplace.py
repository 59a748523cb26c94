"""What every flow does first: settle where artifacts lie."""

from __future__ import annotations

import os
from functools import cache
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from bilp.storage.objects import Uri, as_uri, check_storage, exists, storage_root
from bilp.storage.uris import NO_SECRET

Root = Annotated[
    Uri,
    BeforeValidator(lambda value: as_uri(value) if isinstance(value, os.PathLike) else value),
    WithJsonSchema({"type": "string", "pattern": NO_SECRET}),
]
"""A storage root as a parameter of a flow; a form shows a text."""


def workplace(root: Uri | None) -> str:
    """The storage root: the given one, or $BILP_STORAGE. Raises StorageError if nothing lies there and nothing can be published.

    A place with results in it may hold everything that is needed, and be read-only: it is asked whether it takes new ones when
    something has to be computed (`bilp.artifacts.artifact.there_already`).
    """
    return _checked(as_uri(root) if root else storage_root())


@cache
def _checked(root: str) -> str:
    if not exists(root):
        check_storage(root)
    return root
