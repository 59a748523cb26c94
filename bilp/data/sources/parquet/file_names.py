"""What the path of a Parquet file says: its split, its configuration, and its number among the shards.

`train-00000-of-00003-<hash>.parquet`, `Test_0.parquet`, `default/train/0000.parquet`, `plain_text/validation.parquet`,
`part-00000-<id>.snappy.parquet`. A folder `data` says nothing; other folders that name no split are the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bilp.data.listing import Entry
from bilp.data.split_names import Named, named
from bilp.text.escaping import shown

_SUFFIX = re.compile(r"(?:\.(?:snappy|gz|gzip|zst|zstd|lz4|br|brotli))?\.(?:parquet|parq|pq)", re.IGNORECASE)
_OF = re.compile(r"(?P<stem>.*?)[-_. ]*(?P<number>\d+)[-_. ]?of[-_. ]?(?P<total>\d+)(?P<tag>\D.*)?", re.IGNORECASE | re.DOTALL)
_PART = re.compile(r"(?P<stem>part)[-_.](?P<number>\d+)(?P<tag>[-_.].*)?", re.IGNORECASE | re.DOTALL)  # Spark, Dask
_NUMBERED = re.compile(r"(?P<stem>|.*[-_. (])(?P<number>\d+)(?P<tag>\))?", re.DOTALL)
_GLUED = re.compile(r"(?P<stem>(?:.*[^A-Za-z])?(?P<word>[A-Za-z]+))(?P<number>\d+)(?P<tag>)", re.DOTALL)  # train0


@dataclass(frozen=True)
class Part:
    """A Parquet file and what its path says.

    `split` is the name that speaks of a split ("train", "cifar10-train", "Testing"), None without one; `config` is ''
    for the top; `base` is what else the file's name says. `digits`, `total` and `tag` are those of
    `digits-of-total-tag`, or digits alone ('' and None for a name without a number). `pattern` is the path with * for
    the number and the tag. `contradicts` is true if folder and file name speak of different splits.
    """

    entry: Entry
    folder: str
    config: str
    split: str | None
    base: str
    digits: str
    total: int | None
    tag: str
    pattern: str
    named_by_folder: bool
    contradicts: bool

    @property
    def path(self) -> str:
        """Path of the file below the source."""
        return self.entry.path

    @property
    def name(self) -> str:
        """The name by which files are put together: that of the split, else what the file's name says."""
        return self.base if self.split is None else self.split

    @property
    def number(self) -> int:
        """The number among the shards; 0 for a name without one."""
        return int(self.digits or 0)

    @property
    def form(self) -> str:
        """How the files of one upload are numbered."""
        if self.total is not None:
            return f"of {self.total}"
        return "numbered" if self.digits else "single"


def is_parquet(path: str) -> bool:
    """Whether a path ends as those of Parquet files do."""
    _, dot, suffix = path.rpartition(".")
    return dot == "." and suffix.lower() in ("parquet", "parq", "pq")


def parse(entry: Entry) -> Part:
    """Read the path of a file for which `is_parquet` holds."""
    *folders, file = entry.path.split("/")
    body = re.sub(_SUFFIX.pattern + "$", "", file, flags=re.IGNORECASE)
    match = _match(body)
    stem = match["stem"].rstrip("-_. (") if match else body
    groups: dict[str, str | None] = match.groupdict() if match else {}
    inner = named(stem)
    place, contradicts = _split_folder(folders, inner)
    split = stem if inner else (_value(folders[place]) if place is not None else None)
    config = "/".join(name for position, name in enumerate(folders) if position != place and name.casefold() != "data")
    base = inner.pattern.replace("*", "").strip() if inner else stem.casefold()
    tag = groups.get("tag") or ""
    total = groups.get("total")
    return Part(
        entry=entry,
        folder="/".join(folders),
        config=config,
        split=split,
        base=base,
        digits=groups.get("number") or "",
        total=int(total) if total else None,
        tag=tag,
        pattern=shown("/".join([*folders, _pattern(file, match)])),
        named_by_folder=inner is None and split is not None,
        contradicts=contradicts,
    )


def _match(body: str) -> re.Match[str] | None:
    for pattern in (_OF, _PART, _NUMBERED):
        if match := pattern.fullmatch(body):
            return match
    glued = _GLUED.fullmatch(body)
    said = named(glued["word"]) if glued else None
    return glued if said is not None and said.alone else None


def _split_folder(folders: Sequence[str], inner: Named | None) -> tuple[int | None, bool]:
    """Position of the folder that names the split, and whether it contradicts the file's name.

    A folder that is the word alone counts always; one like seg_train only if the file's name says nothing, because it
    may be the name of a configuration.
    """
    said = [named(_value(name)) for name in folders]
    alone = [position for position, found in enumerate(said) if found is not None and found.alone]
    if alone:
        roles = {found.role for position in alone if (found := said[position]) is not None} | ({inner.role} if inner else set())
        return alone[-1], len(roles) > 1
    worded = [position for position, found in enumerate(said) if found is not None]
    return (worded[-1], False) if worded and inner is None else (None, False)


def _value(folder: str) -> str:
    """Of a folder `split=train` the value alone."""
    return folder.partition("=")[2] or folder


def _pattern(file: str, match: re.Match[str] | None) -> str:
    """The file's name with * for its number and its tag."""
    if match is None:
        return file
    number, end, tag = match.span("number"), match.end(), match["tag"] or ""
    of = file[number[1] : end - len(tag)]
    return f"{file[: number[0]]}*{of}{'*' if tag and of else ''}{file[end:]}"
