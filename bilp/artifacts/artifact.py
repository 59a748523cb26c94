"""Artifacts: what travels with every result of a stage, and how it is found and read; `bilp.artifacts.publication` makes them.

An artifact is a folder of files and a manifest that names each with its checksum. The manifest is written last and marks the
artifact as complete: without it nothing is there, whatever files lie around.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from bilp.artifacts import layout, signing, usage
from bilp.artifacts.facts import Facts
from bilp.artifacts.manifest_file import MANIFEST, FileEntry, Manifest, checked_facts, read_manifest
from bilp.config.base import as_recorded
from bilp.errors import ConfigError, DamagedArtifact, IncompatibleArtifact, MissingArtifact
from bilp.storage import objects, strict_json
from bilp.storage.verification import again, damaged, digest

if TYPE_CHECKING:
    import pyarrow as pa

F = TypeVar("F", bound=Facts)


@dataclass(frozen=True)
class Artifact:
    """A complete artifact: its manifest is there. Every way to its files verifies them."""

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
        """The content of a file. Raises DamagedArtifact, with both checksums, if it is not what was published."""
        return objects.read_checked(self.place(name), self._entry(name).sha256, self.uri)

    def local(self, name: str, thorough: bool = False) -> Path:
        """A local file that may be memory-mapped; verified once per process, from S3 through the cache (`objects.localize`)."""
        entry, uri = self._entry(name), self.place(name)
        try:
            return objects.localize(uri, entry.sha256, self.uri, entry.size, thorough)
        except MissingArtifact as error:
            raise self._gone(uri, entry) from error

    def locals(self, names: Sequence[str]) -> list[Path]:
        """As `local`, for several files at once, of which it is known before the first that they find room."""
        try:
            return objects.localize_all([self.known(name) for name in names], self.uri)
        except MissingArtifact as error:
            raise DamagedArtifact(f"{error}; {again(self.uri)}") from error

    def known(self, name: str) -> objects.Known:
        """A file as another artifact can have it, without its bytes moving through this machine (`bilp.artifacts.publication.Content`)."""
        return objects.Known(self.place(name), self._entry(name).sha256, self._entry(name).size)

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """A local file for as long as the block lasts, without a copy in the cache; verified as `local` does."""
        entry, uri = self._entry(name), self.place(name)
        with ExitStack() as stack:
            try:
                file = stack.enter_context(objects.fetched(uri, entry.sha256, self.uri, entry.size))
            except MissingArtifact as error:
                raise self._gone(uri, entry) from error
            yield file

    def place(self, name: str) -> str:
        """URI that a file lies at, for people and programs that open it themselves."""
        return objects.join(self.uri, self._entry(name).stored or name)

    def check_sizes(self) -> None:
        """Raise DamagedArtifact if a file is missing or of another size than was published."""
        check_sizes(self.uri, [self])

    def check_content(self) -> None:
        """Compare the checksum of every file with the manifest's, once per process; DamagedArtifact names the first that differs."""
        for name in self.manifest.files:
            self.local(name, thorough=True)

    def fact(self, name: str) -> Any:
        """A fact of the manifest; raises IncompatibleArtifact if it has none of that name."""
        if name not in self.manifest.facts:
            known = ", ".join(sorted(self.manifest.facts)) or "none"
            raise IncompatibleArtifact(f"{self.uri} states no fact {name!r} (it states: {known}): {_REMEDY}")
        return self.manifest.facts[name]

    def stated(self, model: type[F]) -> F:
        """All facts, as `model` has them. Raises IncompatibleArtifact for the model of another kind, and as `check`."""
        if not isinstance(self._facts, model):
            raise IncompatibleArtifact(f"{self.uri} is of kind {self.manifest.kind}, which has no {model.__name__}: {_REMEDY}")
        return self._facts

    def check(self) -> Artifact:
        """The artifact itself. Raises DamagedArtifact if what it states cannot be so."""
        _ = self._facts
        return self

    @cached_property
    def _facts(self) -> Facts | None:
        return checked_facts(self.manifest, self.uri)

    def table(
        self,
        name: str,
        schema: pa.Schema,
        columns: Sequence[str] | None = None,
        rows: int | None = None,
        below: Mapping[str, int] = {},
    ) -> pa.Table:
        """A Parquet file as a table with the invariants of its schema.

        Args:
            name: Of the file.
            schema: What the table must have; `bilp.artifacts.tables` holds those of all artifacts.
            columns: Those to read; all, if None.
            rows: How many there must be.
            below: Exclusive upper bounds of columns of whole numbers, by name.

        Raises IncompatibleArtifact with the difference if it has another schema, and DamagedArtifact if it is not what it should be.
        """
        from bilp.artifacts import parquet  # whoever lists what there is reads manifests alone, and starts without pyarrow

        file = self.local(name)
        try:
            return parquet.read(file, schema, columns, rows, below)
        except (IncompatibleArtifact, DamagedArtifact) as error:
            raise type(error)(f"{self.place(name)}: {error}") from error

    def _entry(self, name: str) -> FileEntry:
        if name not in self.manifest.files:
            known = ", ".join(sorted(self.manifest.files)) or "none"
            raise MissingArtifact(f"{self.uri} has no file {name!r}; it has: {known}")
        return self.manifest.files[name]

    def _gone(self, uri: str, entry: FileEntry) -> DamagedArtifact:
        return damaged(uri, entry.sha256, "no file", self.uri)


_REMEDY = "use an artifact made for this, or delete this one and compute it again"


def content_key(stage: str, version: int, **parts: Any) -> str:
    """16 hexadecimal digits that stand for a stage's algorithm (`version`) and everything that goes into it.

    Equal content gives equal keys whatever the order of its mappings. Parts are JSON-like values and pydantic models;
    raises ConfigError for anything else, and for numbers that are not finite.
    """
    content = {"stage": stage, "version": version, "parts": plain(parts)}
    return digest(_as_json(content).encode())[:16]


def plain(value: Any, path: str = "value") -> Any:
    """`value` as JSON would give it back: models and mappings become dictionaries, tuples become lists.

    Models leave out what is `later` and unused, and what was renamed has its former name (`Frozen.formerly`).
    """
    if isinstance(value, BaseModel):
        return plain(as_recorded(value), path)
    if isinstance(value, Mapping):
        if not all(type(key) is str for key in value):
            raise ConfigError(f"{path} has keys that are not text: {[key for key in value if type(key) is not str]}")
        return {key: plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if value is None or type(value) in (str, bool, int) or (type(value) is float and math.isfinite(value)):
        return value
    raise ConfigError(f"{path} is {value!r} of type {type(value).__name__}: only text, finite numbers, lists and mappings can be recorded")


def find(uri: str, kind: str, key: str | None = None) -> Artifact | None:
    """The complete artifact at `uri`, or None if there is none (nothing at all, or files without a manifest).

    Raises DamagedArtifact if the manifest cannot be read, or belongs to another kind or key.
    """
    manifest = _manifest_at(uri)
    if manifest is None:
        return None
    for name, expected, found in (("kind", kind, manifest.kind), ("key", key, manifest.key)):
        if expected is not None and expected != found:
            raise DamagedArtifact(f"{uri} holds an artifact of {name} {found!r}, expected {expected!r}: move or delete it")
    return Artifact(uri, manifest).check()


def there_already(uri: str, kind: str, key: str, shown: bool = False) -> Artifact | None:
    """The artifact that a stage need not compute again, or None: as `find`, and every file has the size that was published.

    With `shown`, checksums are compared too: for what people are shown without anything else that reads it. Whoever gets None
    is about to compute, so the storage is asked first whether it takes results. Before the look, the artifact is marked as used
    (`bilp.artifacts.usage`). Raises DamagedArtifact, naming what is wrong, and StorageRefused if the artifact is not there and
    cannot be published.
    """
    usage.note(objects.join(uri, MANIFEST))
    artifact = find(uri, kind, key)
    if artifact is not None:
        artifact.check_sizes()
        if shown:
            artifact.check_content()
        return artifact
    root = layout.root_of(uri)
    if root is not None:
        objects.require_usable(root, f"there is no {kind} at {uri} yet")
    return None


def is_whole(uri: str) -> bool:
    """Whether a complete artifact of any kind lies at `uri`. Raises DamagedArtifact if a file is missing or of another size."""
    manifest = _manifest_at(uri)
    if manifest is not None:
        Artifact(uri, manifest).check_sizes()
    return manifest is not None


def check_sizes(below: str, artifacts: Sequence[Artifact]) -> None:
    """Raise DamagedArtifact if a file of the artifacts, all of which lie at or below a URI, is missing or of another size.

    One look at the storage for all of them.
    """
    below = below.rstrip("/")
    expected = {
        artifact.place(name).removeprefix(f"{below}/"): (artifact, entry)
        for artifact in artifacts
        for name, entry in artifact.manifest.files.items()
    }
    found = objects.sizes(below, expected)
    if any(found.get(name) != entry.size for name, (_, entry) in expected.items()) and objects.look_again(below):
        found = objects.sizes(below, expected)
    for name, (artifact, entry) in expected.items():
        if found.get(name) != entry.size:
            problem = f"has {found[name]} bytes instead of {entry.size}" if name in found else "is missing"
            raise DamagedArtifact(f"{objects.join(below, name)} {problem}: {again(artifact.uri)}")


def open_artifact(uri: str, kind: str, expect: Mapping[str, Any] | None = None, one_of: Mapping[str, Sequence[Any]] = {}) -> Artifact:
    """The complete artifact at `uri`, after comparing its facts with what the caller expects: one value, or `one_of` several.

    Raises MissingArtifact if there is none, and IncompatibleArtifact with every difference and the remedy.
    """
    manifest = _manifest_at(uri, expected=True)
    if manifest is None:
        raise MissingArtifact(f"no complete {kind} at {uri}: run the stage that makes it, or correct the URI")
    if manifest.kind != kind:
        raise IncompatibleArtifact(f"{uri} is of kind {manifest.kind}, and {kind} is needed here: give the URI of one")
    wanted = {**{name: [value] for name, value in plain(expect or {}, "expect").items()}, **plain(one_of, "one_of")}
    expected = {name: [_as_json(value) for value in values] for name, values in wanted.items()}
    found = {name: _as_json(value) for name, value in manifest.facts.items() if name in expected}
    differences = [
        f"{name}: expected {' or '.join(values)}, found {found.get(name, 'nothing')}"
        for name, values in expected.items()
        if found.get(name) not in values
    ]
    if differences:
        raise IncompatibleArtifact(f"{uri} is not what is expected here ({'; '.join(differences)}): {_REMEDY}")
    return Artifact(uri, manifest).check()


def published_at(uri: str) -> str | None:
    """When the complete artifact at `uri` was published (ISO 8601), or None if there is none. Raises DamagedArtifact as `manifest_kind`."""
    manifest = _manifest_at(uri)
    return None if manifest is None else manifest.created_at


def manifest_kind(uri: str) -> str | None:
    """Kind of the complete artifact at `uri`, or None if there is none. Raises DamagedArtifact if its manifest cannot be read."""
    manifest = _manifest_at(uri)
    return None if manifest is None else manifest.kind


def _manifest_at(uri: str, expected: bool = False, last: bool = False) -> Manifest | None:
    signing.keys()  # whoever finds nothing here is about to compute: what is no key is refused before that
    try:
        data = objects.read(objects.join(uri, MANIFEST), expected, strict_json.LARGEST)
    except MissingArtifact:
        return None
    try:
        manifest = read_manifest(data, uri)
        signing.check(data, uri, MANIFEST)
    except DamagedArtifact:
        if not last and objects.look_again(uri):
            return _manifest_at(uri, expected, last=True)
        raise
    return manifest


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
