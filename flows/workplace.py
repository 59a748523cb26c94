"""What every flow does first: settle where artifacts lie."""

from __future__ import annotations

from functools import cache

from bilp.storage.objects import Uri, as_uri, check_storage, exists, storage_root


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
