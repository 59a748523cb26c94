"""Finding the report of a pipeline that has nothing to do, without computing what the pipeline would look for.

A pipeline whose results are all there computes the key of every stage, and looks at every artifact. Here it is remembered, in the cache
of this user (`bilp.storage.copies`), what one pipeline was given and what it found on this machine. If all of that is the same
still, down to inode and time of change of every file, the pipeline would do the same again: end with the same report. What it was given:

* every setting and where it came from, the storage root, the signature of the source, as ingestion itself asks for it;
* the source code of this package, the versions of what it computes with, the keys for signatures;
* the environment's variables that this package or Prefect reads, and Prefect's own files.

Where not all of that can be known for a moment's work, nothing is remembered and nothing is found: with settings of other packages, and
with storage, source or lists that are not on this machine. A file that was touched, copied or replaced is one that has changed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bilp.artifacts import signing
from bilp.artifacts.artifact import plain
from bilp.artifacts.layout import relative
from bilp.config import PipelineConfig
from bilp.data.listing import plain as absolute
from bilp.data.sources import open_source
from bilp.errors import BilpError
from bilp.registry import plugins_in
from bilp.report.settings import origins_of
from bilp.storage import copies, objects
from bilp.storage.strict_json import parse
from bilp.storage.trace import Trace, state, tracing
from bilp.storage.verification import digest

FORMAT = 2
MOST_FILES = 50_000
"""Paths that are remembered of one pipeline."""

_CODE = Path(__file__).resolve().parents[2]
_PACKAGES = ("bilp", "tasks", "flows")
_SUFFIXES = (".py", ".j2", ".css")
_VERSIONS = ("numpy", "pandas", "pillow", "prefect", "pyarrow", "pydantic", "scikit-learn", "scipy", "torch", "torchvision")
_VARIABLES = ("BILP_", "PREFECT_", "OMP_", "CUDA_")
_FILES = ("prefect.toml", "pyproject.toml", ".env")


@dataclass(frozen=True)
class Finished:
    """A report that is there, and lines about its source, which are said of every pipeline."""

    report: str
    lines: tuple[str, ...]
    outcome: Mapping[str, Any]
    """What is printed of it, as JSON would hold it: to read that from its tables takes longer than everything else."""


@dataclass(frozen=True)
class Question:
    """What a pipeline is given."""

    name: str
    """A digest of everything."""
    root: str
    source: str | None
    """Where its images lie, if that is a place."""
    lists: tuple[str, ...]
    """Files of labels and scores that settings name: the source's signature may not tell of them, wherever they lie."""
    variables: Mapping[str, str]
    """Of the environment, as they were at the beginning: Prefect is told of its private server by some."""


def question(config: PipelineConfig, root: str, variables: Mapping[str, str]) -> Question | None:
    """What the pipeline of these settings is given now, with these variables in its environment; None if that cannot be known cheaply."""
    if "://" in root or plugins_in(plain(config)):
        return None
    source = absolute(config.ingest.uri) if config.ingest.uri else None
    if source is not None and "://" in source:
        return None
    try:
        signature, keys = open_source(config.ingest).signature(), signing.keys()
    except BilpError:  # the pipeline will say it
        return None
    given = {
        "format": FORMAT,
        "config": plain(config),
        "origins": dict(origins_of(config)),
        "root": root,
        "source": [source, signature],
        "keys": [key.hex() for key in keys],
        "program": program(),
        "environment": dict(_environment(variables)),
    }
    named = (config.ingest.label_noise.file, config.ingest.corrections, config.prune.score_list)
    lists = tuple(absolute(place) for place in named if place is not None)
    return Question(digest(json.dumps(given, sort_keys=True).encode()), root, source, lists, dict(variables))


def finished(asked: Question | None) -> Finished | None:
    """The report that the pipeline would end with, if everything that it looked at when it was asked last is unchanged."""
    if asked is None:
        return None
    try:
        content = copies.noted(asked.name)
        if content is None:
            return None
        known = parse(content)
        lines, report, files = tuple(known["lines"]), objects.join(asked.root, known["report"]), known["files"]
        outcome = dict(known["outcome"])
        same = all(state(path) == found for path, found in files.items())
    except (BilpError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return Finished(report, lines, outcome) if same else None


@contextmanager
def remembering(asked: Question | None, config: PipelineConfig) -> Iterator[list[Finished]]:
    """Follow the pipeline that is carried out in the block, and remember what it ended with if that is put into the list.

    Nothing is remembered of one that fails, nor if anything that it was given or looked at has changed meanwhile.
    """
    ended: list[Finished] = []
    if asked is None:
        yield ended
        return
    with tracing() as trace:
        yield ended
    if ended and question(config, asked.root, asked.variables) == asked:
        with suppress(BilpError, OSError):  # who cannot keep this goes the long way again
            _remember(asked, trace, ended[-1])


def _remember(asked: Question, trace: Trace, end: Finished) -> None:
    trace.seen = {path: found for path, found in trace.seen.items() if path in asked.lists or not _below(path, asked.source)}
    files = trace.settled()
    if files is None or len(files) > MOST_FILES or not any(path.startswith(f"{asked.root}/") for path in files):
        return
    known = {"report": relative(end.report, asked.root), "lines": list(end.lines), "outcome": dict(end.outcome), "files": dict(files)}
    copies.note(asked.name, json.dumps(known, sort_keys=True).encode())


def _below(path: str, folder: str | None) -> bool:
    """Whether the source's signature tells of a path."""
    return folder is not None and (path == folder or path.startswith(f"{folder.rstrip('/')}/"))


def _environment(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables by name, and digests of the files that Prefect reads settings from."""
    for name, value in sorted(variables.items()):
        if name.startswith(_VARIABLES) and name != "BILP_STORAGE":
            yield name, value
    home = Path(variables.get("PREFECT_HOME") or "~/.prefect").expanduser()
    for file in (home / "profiles.toml", *map(Path, _FILES)):
        with suppress(OSError):
            yield str(file.absolute()), digest(file.read_bytes())


@cache
def program() -> Mapping[str, Any]:
    """The code that runs: a digest of this package's own, versions of what it computes with."""
    hashed = hashlib.sha256()
    for name, content in _code():
        hashed.update(f"{name}\0{len(content)}\0".encode())
        hashed.update(content)
    return {"code": hashed.hexdigest(), "python": sys.version, "versions": {name: _version(name) for name in _VERSIONS}}


def _code() -> Iterator[tuple[str, bytes]]:
    for package in _PACKAGES:
        for folder, folders, names in os.walk(_CODE / package):
            folders.sort()
            for name in sorted(names):
                if name.endswith(_SUFFIXES):
                    path = Path(folder, name)
                    yield str(path.relative_to(_CODE)), path.read_bytes()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def lines_of(report_parents: Mapping[str, str]) -> Sequence[str]:
    """What there is to say of the source of a report, whose parents these are."""
    from bilp.data.source_record import open_record

    record = report_parents.get("source")
    return open_record(record).lines() if record else ()
