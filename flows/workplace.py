"""What every flow does first: settle where artefacts lie and make sure that work can be kept there."""

from __future__ import annotations

import os
from functools import cache
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from bilp.allocator import keep_freed_memory
from bilp.storage import Uri, as_uri, check_storage, storage_root

Root = Annotated[
    Uri, BeforeValidator(lambda value: as_uri(value) if isinstance(value, os.PathLike) else value), WithJsonSchema({"type": "string"})
]
"""A storage root as a parameter of a flow; a form shows a text."""


def workplace(root: Uri | None) -> str:
    """The storage root: the given one, or $BILP_STORAGE. Raises StorageError if nothing can be published there."""
    keep_freed_memory()
    return _checked(as_uri(root) if root else storage_root())


@cache
def _checked(root: str) -> str:
    check_storage(root)
    return root
