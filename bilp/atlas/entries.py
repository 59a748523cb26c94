"""Entries of an atlas in a folder or a bucket: published once by whoever comes first, listed, opened, copied."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from bilp.artifacts import parquet
from bilp.artifacts.table_rules import check_rows
from bilp.atlas.entry import ENTRIES, ENTRY, KEY, LARGEST_ENTRY, TABLE, Entry, parse, place_of, split
from bilp.errors import BilpError, DamagedArtifact, IncompatibleArtifact, MissingArtifact, StorageRefused
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri, join
from bilp.storage.verification import digest

MOST_ENTRIES = 10_000
README = """# An atlas of scores

Tables of scores of training images, for `bilp run --prune.scores URI`. Each folder of `entries` holds `entry.json` (which data set, which
criteria, how they were made, on which terms they may be used, checksum) and `scores.parquet` (sample_id, label, scores; a row for each
image, in the order of the data set). Folders are named by their content, and nothing in them changes.
"""


@dataclass(frozen=True)
class Opened:
    """An entry, its table still unread."""

    uri: str
    entry: Entry

    def table(self) -> pa.Table:
        """Its table, verified. Raises DamagedArtifact or IncompatibleArtifact if it is not what the entry says."""
        entry, uri = self.entry, join(self.uri, TABLE)
        data = objects.read(uri, expected=True, most=entry.table.size)
        if digest(data) != entry.table.sha256:
            raise DamagedArtifact(f"{uri} is not the table that its entry names: fetch it again, or ask who published it")
        try:
            return checked_table(data, entry)
        except (DamagedArtifact, IncompatibleArtifact) as error:
            raise type(error)(f"{uri}: {error}") from error


@dataclass(frozen=True)
class Unreadable:
    """Something among the entries of an atlas that is none, and why."""

    uri: str
    reason: str


def checked_table(data: bytes, entry: Entry) -> pa.Table:
    """The table in these bytes. Raises DamagedArtifact or IncompatibleArtifact if it is not what the entry says."""
    table = parquet.decode(data, entry.schema, rows=entry.dataset.samples)
    check_rows(table, entry.rules, {})
    counts = table.group_by("label").aggregate([([], "count_all")])
    found = dict(zip(counts["label"].to_pylist(), counts["count_all"].to_pylist(), strict=True))
    if tuple(found.get(label, 0) for label in range(len(entry.dataset.class_names))) != entry.dataset.images_per_class:
        raise DamagedArtifact("the table has other numbers of images of each class than its entry says: ask who published it")
    return table


def put(atlas: Uri, entry: Entry, data: bytes) -> str:
    """Publish an entry and its table; the entry's URI. What is there already stays.

    Raises DamagedArtifact if something else lies at its place, and StorageRefused if nothing can be published there.
    """
    atlas = as_uri(atlas)
    objects.require_usable(atlas, "the entry is not there yet")
    checked_table(data, entry)
    objects.create(join(atlas, "README.md"), README.encode())
    uri = place_of(atlas, entry.key)
    table = join(uri, TABLE)
    if not objects.can_create(table, len(data)):
        objects.write(table, data)  # whoever else writes it writes the same bytes: its checksum is in the key
    elif not objects.create(table, data) and not objects.holds(table, entry.table.sha256, entry.table.size):
        raise DamagedArtifact(f"{table} is there and holds something else: remove the folder, or publish to another atlas")
    if not objects.create(join(uri, ENTRY), entry.encoded()):
        open_entry(uri)
    return uri


def open_entry(uri: Uri) -> Opened:
    """The entry at a URI. Raises MissingArtifact if none lies there, and DamagedArtifact if it is not what its name says."""
    uri = as_uri(uri)
    _, key = split(uri)
    if key is None:
        raise MissingArtifact(f"{uri} is no entry of an atlas: give ATLAS/{ENTRIES}/KEY; bilp atlas list ATLAS lists them")
    place = join(uri, ENTRY)
    try:
        data = objects.read(place, expected=True, most=LARGEST_ENTRY)
    except MissingArtifact:
        raise MissingArtifact(f"there is no entry at {uri}: bilp atlas list lists those of an atlas") from None
    return Opened(uri, parse(data, place, key))


def entries(atlas: Uri) -> tuple[list[Opened], list[Unreadable]]:
    """Every entry of an atlas, by title, and what is there and cannot be read. Raises MissingArtifact if there is no atlas."""
    atlas = as_uri(atlas)
    names = objects.children(join(atlas, ENTRIES))
    if not names:
        raise MissingArtifact(f"there is no atlas at {atlas}: bilp atlas publish KEY --to {atlas} begins one")
    if len(names) > MOST_ENTRIES:
        raise StorageRefused(f"{atlas} has {len(names):,} entries, {MOST_ENTRIES:,} are the most that are listed: give the URI of one")
    found: list[Opened] = []
    wrong: list[Unreadable] = []
    for name in names:
        uri = f"{join(atlas, ENTRIES)}/{name}"
        try:
            if not KEY.fullmatch(name):
                raise DamagedArtifact("its name is none of an entry")
            found.append(open_entry(uri))
        except BilpError as error:
            wrong.append(Unreadable(uri, str(error)))
    return sorted(found, key=lambda each: (each.entry.dataset.name, each.entry.title, each.entry.key)), wrong


def find_entry(atlas: Uri, key: str) -> Opened:
    """The entry of an atlas whose key begins like this. Raises MissingArtifact if it is not exactly one."""
    atlas = as_uri(atlas)
    if KEY.fullmatch(key):
        return open_entry(place_of(atlas, key))
    fitting = [name for name in objects.children(join(atlas, ENTRIES)) if KEY.fullmatch(name) and key and name.startswith(key)]
    if len(fitting) != 1:
        which = "no entry" if not fitting else f"{len(fitting)} entries"
        raise MissingArtifact(f"{which} of {atlas} begin with {key[:64]!r}: bilp atlas list {atlas} lists them")
    return open_entry(place_of(atlas, fitting[0]))


def fetch(opened: Opened, to: Uri) -> str:
    """Copy an entry, verified, to another atlas; its URI there."""
    opened.table()
    return put(to, opened.entry, objects.read_checked(join(opened.uri, TABLE), opened.entry.table.sha256))
