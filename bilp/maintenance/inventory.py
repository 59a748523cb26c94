"""What lies in a storage: every artifact, run and folder of trainings with its files, and what is none of ours."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from bilp.artifacts import layout
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.report_places import is_derived
from bilp.artifacts.run_layout import RECORD
from bilp.errors import MissingArtifact, StorageError
from bilp.maintenance.recognized import HALF, JOURNAL, LEASES, is_ours, temporary
from bilp.results.places import RUN, TRAININGS, enclosing
from bilp.storage import objects, strict_json
from bilp.storage.backend import Written
from bilp.storage.objects import Uri, as_uri
from bilp.storage.uris import parse

THREADS = 16
"""Requests at the same time: on S3 each waits for its answer."""


@dataclass
class Item:
    """An artifact, a run or a folder of trainings, with the files that are its own: those of artifacts inside of it are theirs."""

    kind: str
    place: str
    """Relative to the root."""
    files: dict[str, Written] = field(default_factory=dict)
    """By their name relative to the place; what is none of ours is in `foreign`."""
    foreign: dict[str, Written] = field(default_factory=dict)
    content: dict[str, Any] | None = None
    """The manifest or the record; None if there is none, or it cannot be read."""
    problem: str = ""
    """Why it cannot be read."""

    @property
    def document(self) -> str | None:
        """Name of the file without which nothing is there; trainings and temporary files have none."""
        return {RUN: RECORD, TRAININGS: None, HALF: None}.get(self.kind, MANIFEST)

    @property
    def whole(self) -> bool:
        """Whether that file is there."""
        return self.document is None or self.document in self.files

    @property
    def size(self) -> int:
        """Bytes of its own files."""
        return sum(file.size for file in self.files.values())

    @property
    def at(self) -> float:
        """When anything of it was written or used last, by the clock of the storage."""
        return max((file.at for file in self.files.values()), default=0.0)

    def recorded(self, name: str) -> Mapping[str, Any]:
        """A mapping of the manifest or record; empty if it has none of that name."""
        found = (self.content or {}).get(name)
        return found if isinstance(found, dict) else {}


@dataclass
class Inventory:
    """A storage at the time at which it was listed."""

    root: str
    items: dict[str, Item]
    """By place, in its order."""
    leases: dict[str, dict[str, Written]]
    """Files of each lease, by the place that is worked on."""
    foreign: dict[str, Written]
    """Files that are none of ours, by their path below the root."""

    def uri(self, place: str) -> str:
        """Where something lies."""
        return objects.join(self.root, place)

    @property
    def size(self) -> int:
        """Bytes of all items."""
        return sum(item.size for item in self.items.values())


def take_inventory(root: Uri) -> Inventory:
    """List a storage and read every manifest and record in it. Raises MissingArtifact if nothing lies there."""
    root = as_uri(root)
    listed = objects.listing(root)
    if not listed and not objects.exists(root):
        raise MissingArtifact(f"there is no storage at {root}: set BILP_STORAGE, or give --storage")
    found = Inventory(root, {}, {}, {})
    for path in sorted(listed):
        _sort_in(found, path, listed[path])
    read_documents(found, found.items.values())
    for item in found.items.values():
        _tell_apart(found, item)
    found.items = {place: item for place, item in found.items.items() if item.files}
    return found


def read_documents(inventory: Inventory, items: Iterable[Item]) -> None:
    """Read the manifests and records, several at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda item: _read(inventory, item), items))


def named_files(item: Item) -> dict[str, str]:
    """Names that an artifact's files lie under, with their checksums; empty where the manifest cannot be read."""
    found = {}
    for name, entry in item.recorded("files").items():
        if isinstance(entry, dict):
            found[str(entry.get("stored") or name)] = str(entry.get("sha256"))
    return found


def place_in(inventory: Inventory, recorded: object) -> str | None:
    """The place below this root that a recorded place or URI means (`bilp.artifacts.layout.resolve`); None if it is elsewhere."""
    if not isinstance(recorded, str) or not recorded:
        return None
    try:
        place = layout.place_of(recorded) if layout.root_of(recorded) is not None else recorded
    except StorageError:
        return None
    return place if place in inventory.items else None


def same_folders(inventory: Inventory, places: Iterable[str], others: Iterable[str]) -> set[str]:
    """Those of the `places` that are the folder of another one as well, by a link of the file system; a bucket has none."""
    if parse(inventory.root)[0] != "file":
        return set()
    folders = {os.path.realpath(inventory.uri(other)) for other in others}
    return {place for place in places if os.path.realpath(inventory.uri(place)) in folders}


def _sort_in(found: Inventory, path: str, written: Written) -> None:
    if path.startswith(LEASES):
        place, _, name = path.removeprefix(LEASES).rpartition("/")
        found.leases.setdefault(place, {})[name] = written
        return
    half = temporary(path)
    if half is not None:
        item = found.items.setdefault(half, Item(HALF, half))
        item.files[path.removeprefix(half).lstrip("/")] = written
        return
    inside = enclosing(path.rpartition("/")[0])
    if inside is None:
        if path != JOURNAL and not is_derived(path):
            found.foreign[path] = written
        return
    kind, place = inside[0].kind, inside[1]
    item = found.items.setdefault(place, Item(kind, place))
    item.files[path.removeprefix(f"{place}/")] = written


def _read(inventory: Inventory, item: Item) -> None:
    if item.document is None or not item.whole:
        return
    try:
        content = strict_json.parse(objects.read(objects.join(inventory.uri(item.place), item.document), most=strict_json.LARGEST))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        if item.kind != RUN and not all(isinstance(content.get(name), dict) for name in ("parents", "files")):
            raise ValueError("it states neither parents nor files")
        item.content = content
    except MissingArtifact:
        del item.files[item.document]  # removed since it was listed
    except (ValueError, StorageError) as error:
        item.problem = str(error)


def _tell_apart(found: Inventory, item: Item) -> None:
    """Take what is none of ours out of an item's files."""
    if item.kind == HALF:
        return
    named = named_files(item)
    for name in [name for name in item.files if name not in named and not is_ours(item.kind, name)]:
        item.foreign[name] = found.foreign[f"{item.place}/{name}"] = item.files.pop(name)
