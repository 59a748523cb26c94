"""Which Parquet files of a listing are the training images and which may be the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bilp.data.sources.parquet.configurations import only_configuration, wanted_configuration
from bilp.data.sources.parquet.file_names import Part
from bilp.data.sources.parquet.patterns import listed, matching
from bilp.data.sources.parquet.shards import check_given, check_whole
from bilp.data.split_names import TEST_ROLES, Role, by_role, named
from bilp.errors import DataError

HELD_OUT = "held_out"


@dataclass(frozen=True)
class Asked:
    """What the settings say: patterns of the training and of the test files, and the configuration; None leaves it to the names."""

    train: str | None = None
    test: str | None = None
    config: str | None = None


@dataclass(frozen=True)
class Files:
    """Files that belong together. `setting` is the one that chooses among them; `given` if it did."""

    parts: tuple[Part, ...]
    setting: str
    given: bool = False

    def shown(self) -> str:
        """The files' paths as patterns, for a message."""
        return _patterns(self.parts)

    def checked(self, where: str) -> list[str]:
        """Notes about the shards. Raises DataError if they are no single whole upload."""
        if self.given:
            return check_given(self.parts, self.setting, where)
        names = sorted({part.name for part in self.parts if part.split is not None})
        if len(names) > 1:
            found = [sorted({part.pattern for part in self.parts if part.name == name})[0] for name in names]
            every = "{" + ",".join(found) + "}"
            raise DataError(
                f"{where}: {listed(found)} could each be meant: set {self.setting} to one of them, or to {every} to take all of them"
            )
        return check_whole(self.parts, self.setting, where)


@dataclass(frozen=True)
class Choice:
    """The training files; the files that may be the test images, best first; and what was chosen or passed over."""

    train: Files
    tests: tuple[Files, ...]
    notes: tuple[str, ...]


def choose(parts: Sequence[Part], asked: Asked, where: str) -> Choice:
    """Choose by the settings, else by names. Raises DataError where neither decides."""
    notes: list[str] = []
    if asked.config is not None:
        parts, notes = wanted_configuration(parts, asked.config, where)
    train = _given(parts, asked.train, "ingest.train", where)
    test = _given(parts, None if asked.test == HELD_OUT else asked.test, "ingest.test", where)
    both = {part.path for part in train} & {part.path for part in test}
    if both:
        raise DataError(f"{where}: ingest.train and ingest.test both match {listed(sorted(both))}: give each images of its own")
    taken = {part.path for part in (*train, *test)}
    pool = [part for part in parts if part.path not in taken]
    if train:
        configs = {part.config for part in train}
        pool = [part for part in pool if part.config in configs]
        files = Files(tuple(train), "ingest.train", given=True)
    else:
        if asked.config is None:
            pool, told = only_configuration(pool, where)
            notes += told
        files, told = _training(pool, where)
        notes += told
    tests = [Files(tuple(test), "ingest.test", given=True)] if test else _tests(pool, train)
    chosen = {part.path for group in (files, *tests) for part in group.parts}
    rest = [part for part in pool if part.path not in chosen]
    if asked.test == HELD_OUT:
        notes += [f"passed over {found.shown()}: ingest.test is {HELD_OUT}" for found in tests]
        tests = []
    if rest:
        notes.append(f"passed over {_patterns(rest)}: other images by name (ingest.train and ingest.test can take them)")
    return Choice(files, tuple(tests), tuple(notes))


def _given(parts: Sequence[Part], pattern: str | None, setting: str, where: str) -> list[Part]:
    """The files that a setting names, none without it."""
    if pattern is None:
        return []
    found = matching(parts, pattern)
    if not found:
        raise DataError(f"{where}: {setting} {pattern!r} matches no Parquet file: there are {_patterns(parts)}")
    return found


def _training(parts: Sequence[Part], where: str) -> tuple[Files, list[str]]:
    """The training files by their names, all files if no name speaks of a split; and a note."""
    contradictory = [part.path for part in parts if part.contradicts]
    if contradictory:
        raise DataError(f"{where}: folder and file speak of different splits: {listed(contradictory)}: set ingest.train and ingest.test")
    if all(part.split is None for part in parts):
        if len({part.base for part in parts}) > 1:
            raise DataError(f"{where}: no name speaks of a split: {_patterns(parts)}: set ingest.train (and ingest.test) to the files")
        return Files(tuple(parts), "ingest.train"), [f"{_patterns(parts)}: training images, since no name speaks of a split"]
    names = by_role({part.name for part in parts}).get("train", [])
    if not names:
        raise DataError(f"{where}: no training images among {_patterns(parts)}: set ingest.train to the files of the training images")
    files = Files(tuple(_members(parts, names)), "ingest.train")
    said = [found.pattern for name in names if (found := named(name)) is not None and not found.alone]
    if "partial *" in said:
        raise DataError(
            f"{where}: {files.shown()} holds only the beginning of the training images, as the hub's converter leaves them of large data "
            f"sets: fetch the original files, or set ingest.train to {files.parts[0].folder} to take this part"
        )
    return files, [f"{files.shown()}: training images"] if said else []


def _tests(pool: Sequence[Part], train: Sequence[Part]) -> list[Files]:
    """What may hold test images by name, best first, beside training files that were found by name or are given."""
    roles: Mapping[Role, list[str]] = by_role({*(part.name for part in (*pool, *train)), *(["train"] if train else [])})
    found = [_members(pool, roles.get(role, [])) for role in TEST_ROLES]
    return [Files(tuple(members), "ingest.test") for members in found if members]


def _members(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    return [part for part in parts if part.split is not None and part.name in names]


def _patterns(parts: Sequence[Part]) -> str:
    return listed(sorted({part.pattern for part in parts}))
