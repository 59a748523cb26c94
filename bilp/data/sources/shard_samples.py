"""Samples of a webdataset: adjacent members of a tar whose names are the same up to the first dot of their last component."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bilp.data import label_files
from bilp.data.listing import Entry
from bilp.data.sources.layouts import View
from bilp.data.split_names import Role, by_role
from bilp.data.tar import Member, Problem, is_tar
from bilp.data.tar_indexes import indexes
from bilp.errors import DataError
from bilp.text.escaping import shown

IMAGES = frozenset(["jpg", "jpeg", "png", "ppm", "pgm", "pbm", "pnm", "webp", "bmp", "gif", "tif", "tiff"])
CLIPS = frozenset(["mp4", "avi", "webm", "mkv", "mov"])
TEXTS = frozenset(("cls", "json"))
_NUMBER = re.compile(r"[-_. ]*\d+(?:[-_. ]?of[-_. ]?\d+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Sample:
    """A picture or clip of a shard: its key, the member that holds it, the text of its .cls (None without one), what its .json says."""

    key: str
    member: Member
    cls: str | None
    described: dict[str, Any]

    @property
    def number(self) -> int | None:
        """The class as a number, of .cls or else of `label` in .json; None if neither is one."""
        for value in (self.cls, self.described.get("label")):
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value):
                return int(value)
        return None

    @property
    def label(self) -> str | None:
        """The class as text: a number without leading zeros, or a name; None for a negative number, or none at all."""
        if (number := self.number) is not None:
            return str(number) if number >= 0 else None
        text = self.cls or self.described.get("label")
        return text.strip() or None if isinstance(text, str) else None


def shards_by_role(view: View) -> dict[Role, list[Entry]]:
    """The tars of each split, in the order of their names; by the words in the names of files, or else of folders.

    All are training data if no name speaks of a split.
    """
    tars = [entry for entry in view.listing.files if is_tar(entry.path)]
    for part in (_file_word, _folder_word):
        words = {entry.path: part(entry.path) for entry in tars}
        roles = by_role(words.values())
        if roles:
            return {role: [entry for entry in tars if words[entry.path] in names] for role, names in roles.items()}
    return {"train": tars} if tars else {}


def samples(view: View, shards: Sequence[Entry], media: frozenset[str]) -> Iterator[tuple[Entry, Sample | Problem]]:
    """The samples of shards whose member has a suffix in `media`, in order, and what of them is no sample, or cannot be read; each with
    the shard that it lies in."""
    found = indexes(view.uri, [entry.path for entry in shards], content_of=lambda name: _suffix(name) in TEXTS)
    for entry, index in zip(shards, found, strict=True):
        where = f"{view.where}/{shown(entry.path)}"
        for key, members in groupby(index.members, lambda member: _key(member.name)):
            yield entry, _sample(key, list(members), media, where)
        for problem in index.problems:
            yield entry, problem


def _sample(key: str, members: Sequence[Member], media: frozenset[str], where: str) -> Sample | Problem:
    pictures = [each for each in members if _suffix(each.name) in media]
    if len(pictures) != 1:
        kinds = ", ".join(shown(each.name.rpartition("/")[2]) for each in members[:4])
        if not pictures and (others := [each for each in members if _suffix(each.name) in (IMAGES | CLIPS) - media]):
            has, lacks = ("a clip", "an image") if _suffix(others[0].name) in CLIPS else ("an image", "a clip")
            return Problem(key, f"holds {has} and not {lacks}: {kinds}")
        if not pictures:
            return Problem(key, f"holds none of {', '.join(sorted(media)[:4])}, ...: {kinds}")
        return Problem(key, f"holds {len(pictures)} items under one key, which ends at the first dot: {kinds}")
    contents = {_suffix(each.name): each.content or b"" for each in members if _suffix(each.name) in TEXTS}
    try:
        cls = label_files.text_of(contents["cls"], f"{where}: {shown(key)}.cls").strip() if "cls" in contents else None
        described = label_files.json_value(contents["json"], f"{where}: {shown(key)}.json") if "json" in contents else {}
    except DataError as error:
        return Problem(pictures[0].name, str(error))
    return Sample(key, pictures[0], cls or None, described if isinstance(described, dict) else {})


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _suffix(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2].lower()


def _file_word(path: str) -> str:
    """The name of a shard without its suffix and its number."""
    return _NUMBER.sub("", path.rpartition("/")[2].partition(".")[0])


def _folder_word(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]
