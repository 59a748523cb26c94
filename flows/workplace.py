"""What every flow does first: settle where artefacts lie and make sure that work can be kept there."""

from __future__ import annotations

from functools import cache

from bilp.storage import check_storage, storage_root


def workplace(root: str | None) -> str:
    """The storage root: the given one, or $BILP_STORAGE. Raises StorageError if nothing can be published there."""
    return _checked(root or storage_root())


@cache
def _checked(root: str) -> str:
    check_storage(root)
    return root
