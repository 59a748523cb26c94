"""Artefacts: what travels with every result of a stage, and how a result becomes visible.

An artefact is a folder of files and a manifest that names each with its checksum. The manifest is written last, by a
create-only write, and marks the artefact as complete: without it nothing is there, whatever files lie around.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from bilp import layout, lease, storage, tables
from bilp.config import Frozen
from bilp.errors import ConfigError, DamagedArtefact, IncompatibleArtefact, MissingArtefact, StorageError
from bilp.fields import unused

# The underscore makes Parquet readers (pandas, DuckDB, Athena) pass over it when they read a folder.
MANIFEST = "_manifest.json"


class FileEntry(Frozen):
    """What a file must be."""

    sha256: str
    """Checksum of the content, in hexadecimal digits."""
    size: int
    """Bytes."""


class Manifest(Frozen):
    """What an artefact is, where it comes from and what its files must be."""

    kind: str
    """Stage that made it, such as 'selection'."""
    key: str
    """Content key of everything that determines it."""
    created_at: str
    """When it was published (UTC, ISO 8601); the only place where a clock enters an artefact."""
    parents: dict[str, str]
    """Inputs: role, and place relative to the storage root, or absolute URI of what does not lie below it."""
    config: dict[str, Any]
    """Settings of the stage."""
    facts: dict[str, Any]
    """What whoever opens it may rely on: class names and their order, shape, normalisation, counts."""
    files: dict[str, FileEntry]
    """Every file below the artefact's URI except the manifest."""
    provenance: dict[str, Any]
    """Versions of the software that made it."""


@dataclass(frozen=True)
class Artefact:
    """A complete artefact: its manifest is there. Every way to its files verifies them."""

    uri: str
    manifest: Manifest

    @property
    def identity(self) -> dict[str, Any]:
        """Key and checksums, for keys of what is made of tables and pages alone: what was deleted and computed again on another
        device may differ in its last digits, and both are shown."""
        return {"key": self.manifest.key, "files": {name: entry.sha256 for name, entry in self.manifest.files.items()}}

    @cached_property
    def parents(self) -> dict[str, str]:
        """Inputs: role and URI, as they lie now; the storage may have been moved since they were recorded."""
        root = layout.root_of(self.uri)
        recorded = self.manifest.parents
        return dict(recorded) if root is None else {role: layout.resolve(place, root) for role, place in recorded.items()}

    def read(self, name: str) -> bytes:
        """The content of a file. Raises DamagedArtefact, with both checksums, if it is not what was published."""
        entry = self._entry(name)
        return storage.read_checked(storage.join(self.uri, name), entry.sha256, self.uri)

    def local(self, name: str) -> Path:
        """A local file that may be memory-mapped; verified once per process, from S3 through the cache."""
        entry = self._entry(name)
        uri = storage.join(self.uri, name)
        try:
            return storage.localise(uri, entry.sha256, self.uri)
        except MissingArtefact as error:
            raise self._gone(uri, entry) from error

    def check_sizes(self) -> None:
        """Raise DamagedArtefact if a file is missing or of another size than was published."""
        check_sizes(self.uri, [self])

    def check_content(self) -> None:
        """Compare the checksum of every file with the manifest's, as `local` does; DamagedArtefact names the first that differs."""
        for name in self.manifest.files:
            self.local(name)

    def fact(self, name: str) -> Any:
        """A fact of the manifest; raises IncompatibleArtefact if it has none of that name."""
        if name not in self.manifest.facts:
            known = ", ".join(sorted(self.manifest.facts)) or "none"
            raise IncompatibleArtefact(f"{self.uri} states no fact {name!r} (it states: {known}): {_REMEDY}")
        return self.manifest.facts[name]

    def table(self, name: str, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file as a table; raises IncompatibleArtefact with the difference if it has another schema."""
        file = self.local(name)
        try:
            return tables.decode(file, schema, columns)
        except (IncompatibleArtefact, DamagedArtefact) as error:
            raise type(error)(f"{storage.join(self.uri, name)}: {error}") from error

    def _entry(self, name: str) -> FileEntry:
        if name not in self.manifest.files:
            known = ", ".join(sorted(self.manifest.files)) or "none"
            raise MissingArtefact(f"{self.uri} has no file {name!r}; it has: {known}")
        return self.manifest.files[name]

    def _gone(self, uri: str, entry: FileEntry) -> DamagedArtefact:
        return storage.damaged(uri, entry.sha256, "no file", self.uri)


_REMEDY = "use an artefact made for this, or delete this one and compute it again"


def digest(data: bytes) -> str:
    """The sha256 of some content, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def content_key(stage: str, version: int, **parts: Any) -> str:
    """16 hexadecimal digits that stand for a stage's algorithm (`version`) and everything that goes into it.

    Equal content gives equal keys whatever the order of its mappings. Parts are JSON-like values and pydantic models;
    raises ConfigError for anything else, and for numbers that are not finite.
    """
    content = {"stage": stage, "version": version, "parts": plain(parts)}
    return digest(_as_json(content).encode())[:16]


def plain(value: Any, path: str = "value") -> Any:
    """`value` as JSON would give it back: models and mappings become dictionaries, tuples become lists.

    Models leave out what is `later` and unused.
    """
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json", exclude=unused(value)), path)
    if isinstance(value, Mapping):
        if not all(type(key) is str for key in value):
            raise ConfigError(f"{path} has keys that are not text: {[key for key in value if type(key) is not str]}")
        return {key: plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if value is None or type(value) in (str, bool, int) or (type(value) is float and math.isfinite(value)):
        return value
    raise ConfigError(f"{path} is {value!r} of type {type(value).__name__}: only text, finite numbers, lists and mappings can be recorded")


def publish(
    uri: str,
    kind: str,
    key: str,
    files: Mapping[str, bytes | Path],
    *,
    config: Mapping[str, Any] | BaseModel,
    parents: Mapping[str, str],
    facts: Mapping[str, Any] = {},
) -> Artefact:
    """Make an artefact visible at `uri`: its files first, the manifest last. Contents are bytes or local files.

    If a complete artefact with this key lies there already, or another publisher completes it first, that one is
    returned. Raises DamagedArtefact if something else lies there, or if the other publisher's files differed from ours
    and were overwritten, and LeaseLost if this process works under a lease (`bilp.lease`) that was given to another.
    """
    there = there_already(uri, kind, key)
    if there:
        return there
    root = layout.root_of(uri)
    targets = {name: storage.join(uri, name) for name in files}
    if MANIFEST in targets:
        raise StorageError(f"{uri}: a file cannot be called {MANIFEST}")
    manifest = Manifest(
        kind=kind,
        key=key,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        parents=dict(parents) if root is None else {role: layout.relative(parent, root) for role, parent in parents.items()},
        config=plain(config, "config"),
        facts=plain(facts, "facts"),
        files={name: _entry_of(content) for name, content in files.items()},
        provenance=provenance(),
    )
    lease.check()
    for name, content in files.items():
        if isinstance(content, Path):
            storage.upload(content, targets[name])
        else:
            storage.write(targets[name], content)
    lease.check()
    marker = json.dumps(manifest.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False)
    if storage.create(storage.join(uri, MANIFEST), marker.encode()):
        return Artefact(uri, manifest)
    return _published_by_another(uri, manifest)


def find(uri: str, kind: str, key: str | None = None) -> Artefact | None:
    """The complete artefact at `uri`, or None if there is none (nothing at all, or files without a manifest).

    Raises DamagedArtefact if the manifest cannot be read, or belongs to another kind or key.
    """
    manifest = _manifest_at(uri)
    if manifest is None:
        return None
    for name, expected, found in (("kind", kind, manifest.kind), ("key", key, manifest.key)):
        if expected is not None and expected != found:
            raise DamagedArtefact(f"{uri} holds an artefact of {name} {found!r}, expected {expected!r}: move or delete it")
    return Artefact(uri, manifest)


def there_already(uri: str, kind: str, key: str, shown: bool = False) -> Artefact | None:
    """The artefact that a stage need not compute again, or None: as `find`, and every file has the size that was published.

    With `shown`, checksums are compared too: for what people are shown without anything else that reads it. Whoever gets None
    is about to compute, so the storage is asked first whether it takes results. Raises DamagedArtefact, naming what is wrong,
    and StorageRefused if the artefact is not there and cannot be published.
    """
    artefact = find(uri, kind, key)
    if artefact is not None:
        artefact.check_sizes()
        if shown:
            artefact.check_content()
        return artefact
    root = layout.root_of(uri)
    if root is not None:
        storage.require_usable(root, f"there is no {kind} at {uri} yet")
    return None


def is_whole(uri: str) -> bool:
    """Whether a complete artefact of any kind lies at `uri`. Raises DamagedArtefact if a file is missing or of another size."""
    manifest = _manifest_at(uri)
    if manifest is not None:
        Artefact(uri, manifest).check_sizes()
    return manifest is not None


def check_sizes(below: str, artefacts: Sequence[Artefact]) -> None:
    """Raise DamagedArtefact if a file of the artefacts, all of which lie at or below a URI, is missing or of another size.

    One look at the storage for all of them.
    """
    below = below.rstrip("/")
    expected = {
        storage.join(artefact.uri, name).removeprefix(f"{below}/"): (artefact, entry)
        for artefact in artefacts
        for name, entry in artefact.manifest.files.items()
    }
    found = storage.sizes(below, expected)
    if any(found.get(name) != entry.size for name, (_, entry) in expected.items()) and storage.look_again(below):
        found = storage.sizes(below, expected)
    for name, (artefact, entry) in expected.items():
        if found.get(name) != entry.size:
            problem = f"has {found[name]} bytes instead of {entry.size}" if name in found else "is missing"
            raise DamagedArtefact(f"{storage.join(below, name)} {problem}: {storage.again(artefact.uri)}")


def open_artefact(uri: str, kind: str, expect: Mapping[str, Any] | None = None) -> Artefact:
    """The complete artefact at `uri`, after comparing its facts with what the caller expects.

    Raises MissingArtefact if there is none, and IncompatibleArtefact with every difference and the remedy.
    """
    manifest = _manifest_at(uri, expected=True)
    if manifest is None:
        raise MissingArtefact(f"no complete {kind} at {uri}: run the stage that makes it, or correct the URI")
    if manifest.kind != kind:
        raise IncompatibleArtefact(f"{uri} is of kind {manifest.kind}, and {kind} is needed here: give the URI of one")
    expected = {**plain(expect or {}, "expect"), "kind": kind}
    found = {**manifest.facts, "kind": manifest.kind}
    differences = [
        f"{name}: expected {_as_json(value)}, found {_as_json(found[name]) if name in found else 'nothing'}"
        for name, value in expected.items()
        if name not in found or _as_json(found[name]) != _as_json(value)
    ]
    if differences:
        raise IncompatibleArtefact(f"{uri} is not what is expected here ({'; '.join(differences)}): {_REMEDY}")
    return Artefact(uri, manifest)


def manifest_kind(uri: str) -> str | None:
    """Kind of the complete artefact at `uri`, or None if there is none. Raises DamagedArtefact if its manifest cannot be read."""
    manifest = _manifest_at(uri)
    return None if manifest is None else manifest.kind


def provenance() -> dict[str, Any]:
    """Versions of bilp and of what it computes with, the commit of a checkout and the platform; no clock, no host."""
    return dict(_provenance())


@cache
def _provenance() -> dict[str, Any]:
    return {
        **{name: _version(name) for name in ("bilp", "numpy", "pyarrow", "torch")},
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "commit": _commit(Path(__file__).resolve().parent),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    """The checkout's commit, marked if the package's own files differ from it; None outside a checkout."""

    def git(*command: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An installed package may lie inside the checkout of another project, which does not know its files.
    if not git("ls-files", "."):
        return None
    commit = git("rev-parse", "HEAD")
    return f"{commit}-modified" if commit and git("status", "--porcelain", ".") else commit


def _entry_of(content: bytes | Path) -> FileEntry:
    if isinstance(content, Path):
        return FileEntry(sha256=storage.file_digest(content), size=content.stat().st_size)
    return FileEntry(sha256=digest(content), size=len(content))


def _manifest_at(uri: str, expected: bool = False, last: bool = False) -> Manifest | None:
    try:
        data = storage.read(storage.join(uri, MANIFEST), expected)
    except MissingArtefact:
        return None
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        if not last and storage.look_again(uri):
            return _manifest_at(uri, expected, last=True)
        reason = _first(str(item["msg"]) for item in error.errors(include_url=False))
        raise DamagedArtefact(
            f"{uri}/{MANIFEST} cannot be read ({len(data)} bytes, {reason}): {storage.again(uri)}, "
            "or open it with the version of bilp that wrote it"
        ) from error


def _published_by_another(uri: str, ours: Manifest) -> Artefact:
    """The artefact whose manifest came first; also our own, if the answer to our first attempt was lost."""
    winner = find(uri, ours.kind, ours.key)
    if winner is None:
        raise MissingArtefact(f"{uri} was deleted while it was being published: publish it again")
    for name in [name for name, entry in winner.manifest.files.items() if ours.files.get(name) != entry]:
        # Two publishers computed different bytes from the same inputs, and ours may have come down on top of theirs.
        winner.read(name)
    return winner


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _first(items: Iterable[str]) -> str:
    return next(iter(items), "no reason given")
