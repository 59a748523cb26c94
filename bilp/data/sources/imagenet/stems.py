"""The names by which a picture of ImageNet is known in every copy: n01440764_10026, ILSVRC2012_val_00000293."""

from __future__ import annotations

import re

IMAGENET1K = "imagenet1k"
"""The list of its classes."""
WNID = re.compile(r"n\d{8}")
_CANONICAL = re.compile(r"((?P<train>n\d{8})_\d+|ILSVRC2012_val_\d{8})(_(?P<appended>n\d{8}))?")


def stem_of(path: str) -> str:
    """The file's name without its suffix, and without the class that the hub's copies append to it."""
    name = path.rpartition("/")[2].partition(".")[0]
    found = _CANONICAL.fullmatch(name)
    return found[1] if found else name


def is_canonical(stem: str) -> bool:
    """Whether a name is that of a picture of the original."""
    return _CANONICAL.fullmatch(stem) is not None


def wnid_in(path: str) -> str | None:
    """The class that a path or name says: appended to its name, the directory around it, or the beginning of a training picture's."""
    *folders, name = path.split("/")
    found = _CANONICAL.fullmatch(name.partition(".")[0])
    if found and (found["appended"] or found["train"]):
        return found["appended"] or found["train"]
    return folders[-1] if folders and WNID.fullmatch(folders[-1]) else None
