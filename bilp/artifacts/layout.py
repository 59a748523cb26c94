"""How a storage is laid out below its root, and how stored things name each other: by places relative to that root.

So a storage can be renamed, copied to another disk or bucket, or mounted elsewhere, and still hangs together. What was
stored before that rule names absolute places; these are understood as well.
"""

from __future__ import annotations

import re

from bilp.storage import objects

_KEY, _NUMBER = "[0-9a-f]{16}", r"\d{4,}"
# Folders of what is named by a key alone. A root may be called datasets; a data set called like one of these is told apart by
# what lies there (`resolve`).
_KEYED = "selections|runs|evaluations|teachers|robustness|reproductions|suspects|reports|searches|critical"
_ROUND = f"/rounds/{_NUMBER}(/reselect|/state)?"

# The kinds of places that artifacts and runs have, relative to the root; docs/results.md tells what lies there.
PLACES = (
    rf"datasets/(?!({_KEYED})/)[^/]+/{_KEY}",
    rf"datasets/[^/]+/({_KEY}/whitened|sources|truth|plans)/{_KEY}",
    rf"datasets/[^/]+/parts/{_KEY}/{_NUMBER}",
    rf"scores/{_KEY}/{_KEY}/((trials|predictions|networks)/{_NUMBER}|summary/{_KEY}|growth)",
    rf"experts/{_KEY}/{_KEY}/(trainings/{_NUMBER}|buffers/{_KEY})",
    rf"pretrained/{_KEY}/{_KEY}/{_NUMBER}",
    rf"runs/{_KEY}(/synthetic|/shards/{_NUMBER}|(/shards/{_NUMBER})?{_ROUND})",
    rf"(imported|resized)/{_KEY}/synthetic",
    rf"trainings/{_KEY}/[^/]+",
    rf"studies/{_KEY}(/parts/{_NUMBER})?",
    rf"({_KEYED})/{_KEY}",
)
# The root is as short as it can be: what is called like one of these inside of a place does not count.
_PLACED = re.compile(rf"(?:(?P<root>.*?)/)??(?P<place>{'|'.join(PLACES)})")


def root_of(uri: str) -> str | None:
    """The storage root below which an artifact or a run lies, or None if it is in no place that the layout has."""
    parts = _split(uri)
    return None if parts is None else parts[0]


def place_of(uri: str) -> str:
    """The place of an artifact or a run relative to its storage root, or the absolute URI of what is in no place that the layout has."""
    parts = _split(uri)
    return objects.as_uri(uri) if parts is None else parts[1]


def relative(uri: str, root: str) -> str:
    """The place of `uri` relative to `root`, or the absolute URI of something that does not lie below it."""
    place = objects.as_uri(uri)
    return place.removeprefix(objects.as_uri(root).rstrip("/") + "/")


def resolve(stored: str, root: str) -> str:
    """The URI of what `relative` gave when it was stored, now that the storage is at `root`.

    Absolute places were stored of what lay below another root, and in earlier versions of everything: what is at the same
    place below `root`, hence has the same key, is taken instead if it is there.
    """
    parts = _split(stored)
    foreign = "://" in stored or stored.startswith("/")
    if not foreign and (parts is None or parts[0] == "." or objects.exists(objects.join(root, stored))):
        return objects.join(root, stored)
    if parts is None or objects.as_uri(parts[0]) == objects.as_uri(root):
        return stored
    here = objects.join(root, parts[1])
    return here if objects.exists(here) else stored


def _split(uri: str) -> tuple[str, str] | None:
    """Root and place of a URI; the root of a relative place is '.'."""
    match = _PLACED.fullmatch(uri.rstrip("/"))
    if match is None:
        return None
    root = match["root"]
    return ("." if root is None else root or "/"), match["place"]
