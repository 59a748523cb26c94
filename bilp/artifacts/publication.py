"""How an artifact becomes visible: its files first, last the manifest, which names them; everything by create-only writes.

Several processes may publish the same artifact at the same time, and what they computed may differ in its bytes: other
versions of this program, of PyTorch or of Arrow, other devices or numbers of threads round and encode otherwise. Whatever
their order and wherever any of them is killed, a manifest that is there names files that are there, with these bytes:

* A file is created under its own name (`losses.parquet`) if nothing lies there, and taken as it is if equal bytes lie there.
  Where other bytes lie, left by an interrupted publication or put there by somebody who is publishing just now, it is created
  under a name that carries the beginning of its sha256 (`losses.1f3a9c02.parquet`), and where even that is taken by other
  bytes, or where the storage cannot create a file of this size on condition, under a name that carries the whole of it. Only
  the last is written without a condition: who else writes that name writes the same bytes.
* So no name is ever given other bytes, and a publisher knows, before it creates its manifest, that every file that it is
  going to name is there: it has created it, or has read it and compared. A name that vanished in between counts as taken.
* The manifest is created last, and of several exactly one comes first. It stays: nobody overwrites or removes it.
* Who comes second takes the artifact of the first, after comparing what it did not write or compare itself.
* Once a manifest stands, a file that it does not name can never be named by another one: whoever has it in mind is going to
  come second. Therefore every publisher that is through, first or second, removes the files that it created or found on its
  way and that the manifest does not name. Before a manifest stands nothing is removed, also by one that fails: somebody may
  have compared it and be about to name it. What publishers leave that were killed is taken or passed over by the next one.

A record that has become wrong can be replaced (`replace`): under names that nobody else has, with a manifest that takes the
place of the former in one step, so that a manifest stands at any time and the above holds.

All of this supposes that nobody deletes an artifact while it is being published.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import BaseModel

from bilp.artifacts import duration, layout, lease, signing, usage
from bilp.artifacts.artifact import Artifact, find, plain, there_already
from bilp.artifacts.manifest_file import MANIFEST, FileEntry, Manifest
from bilp.artifacts.parquet import encode
from bilp.artifacts.provenance import provenance
from bilp.artifacts.row_groups import RowGroups
from bilp.errors import DamagedArtifact, MissingArtifact, StorageError, StorageRefused
from bilp.registry import plugins_in
from bilp.storage import objects
from bilp.storage.scratch import scratch_folder
from bilp.storage.verification import again, digest, file_digest

if TYPE_CHECKING:
    import torch

SHORT = 8
"""Hexadecimal digits of the sha256 in a name, where that is enough."""

Content = bytes | Path | objects.Known
"""Of a file: its bytes, a local file, which is given away as for `bilp.storage.objects.upload`, or a verified one that lies in a storage
already, from which it is copied without moving through this machine (`bilp.storage.objects.copy`)."""


def publish(
    uri: str,
    kind: str,
    key: str,
    files: Mapping[str, Content],
    *,
    config: Mapping[str, Any] | BaseModel,
    parents: Mapping[str, str],
    facts: Mapping[str, Any] = {},
    device: torch.device | str | None = None,
) -> Artifact:
    """Make an artifact visible at `uri`: its files first, the manifest last.

    If a complete artifact with this key lies there already, or another publisher completes it first, that one is
    returned.

    Args:
        uri: folder of the artifact.
        kind: stage that made it.
        key: content key of everything that determines it.
        files: contents by name; a name may lead into folders.
        config: settings of the stage.
        parents: URIs of its inputs by role.
        facts: what whoever opens it may rely on.
        device: where its tensors were computed, for its provenance; None if it holds none.

    Raises DamagedArtifact if something else or a damaged artifact lies there, and LeaseLost if this process works under a
    lease (`bilp.artifacts.lease`) that was given to another.
    """
    there = there_already(uri, kind, key)
    if there:
        return there
    manifest = _manifest(uri, kind, key, files, config, parents, facts, device)
    lease.check()
    placing = _Placing(uri)
    manifest = _with_places(manifest, {name: placing.put(name, files[name], entry) for name, entry in manifest.files.items()})
    lease.check()
    if objects.create(objects.join(uri, MANIFEST), _encode(manifest, uri)):
        artifact = Artifact(uri, manifest)
    else:
        artifact = _published_by_another(uri, manifest)
    placing.tidy(artifact.manifest)
    usage.made(objects.join(uri, MANIFEST))
    return artifact


@dataclass(frozen=True)
class TableFile:
    """A table as a Parquet file of an artifact (`bilp.artifacts.parquet.encode`)."""

    name: str
    table: pa.Table | RowGroups
    schema: pa.Schema
    origin: Mapping[str, Any] = field(default_factory=dict)
    """What the file itself says of where it comes from, besides the kind and the key of the artifact."""


def publish_table(
    uri: str,
    kind: str,
    key: str,
    file: TableFile,
    *,
    config: Mapping[str, Any] | BaseModel,
    parents: Mapping[str, str],
    facts: Mapping[str, Any] = {},
    device: torch.device | str | None = None,
    others: Mapping[str, Content] = {},
) -> str:
    """`publish` an artifact whose content is a table; its URI.

    Args:
        uri: folder of the artifact.
        kind: stage that made it.
        key: content key of everything that determines it.
        file: the table.
        config: settings of the stage.
        parents: URIs of its inputs by role.
        facts: what whoever opens it may rely on.
        device: where its numbers were computed, for its provenance.
        others: contents of further files by name.
    """
    origin = {"stage": kind, "key": key, **file.origin}
    with ExitStack() as until_published:
        content: Content
        if isinstance(file.table, RowGroups):
            content = until_published.enter_context(scratch_folder("table")) / file.name
            file.table.write(content, file.schema, origin)
        else:
            content = encode(file.table, file.schema, origin)
        return publish(uri, kind, key, {file.name: content, **others}, config=config, parents=parents, facts=facts, device=device).uri


def replace(
    former: Artifact, files: Mapping[str, Content], *, config: Mapping[str, Any], parents: Mapping[str, str], facts: Mapping[str, Any]
) -> Artifact:
    """Put an artifact in the place of one with the same kind and key that has become wrong; what `publish` says otherwise.

    Of several that replace the same one, the last stays. The files of the former stay too: somebody may be reading them.

    Args:
        former: What is replaced.
        files: Contents by name.
        config: The settings that the new one was made with.
        parents: URIs of its inputs by role.
        facts: What its kind promises about it.
    """
    manifest = _manifest(former.uri, former.manifest.kind, former.manifest.key, files, config, parents, facts, None)
    own = uuid.uuid4().hex  # an identifier, not a random draw
    places = {name: _marked(name, own) for name in files}
    lease.check()
    for name, content in files.items():
        _write(objects.join(former.uri, places[name]), content)
    manifest = _with_places(manifest, places)
    lease.check()
    objects.write(objects.join(former.uri, MANIFEST), _encode(manifest, former.uri))
    return Artifact(former.uri, manifest)


@dataclass
class _Placing:
    """Where the files of one publication come to lie."""

    uri: str
    met: set[str] = field(default_factory=set)
    """Names of the files that were created or found on the way."""

    def put(self, name: str, content: Content, entry: FileEntry) -> str:
        """Make sure that a file lies in the artifact's folder; the name under which it does."""
        for place in _candidates(name, entry) if _can_create(self.uri, content, entry) else ():
            try:
                created = _create(objects.join(self.uri, place), content)
            except StorageRefused:
                if not objects.exists(objects.join(self.uri, place)):
                    raise
                continue  # a folder is in the way
            if created:
                self.met.add(place)
                return place
            if self._holds(place, entry):
                return place
        place = _marked(name, entry.sha256)
        if not self._holds(place, entry):
            _write(objects.join(self.uri, place), content)
            self.met.add(place)
        return place

    def tidy(self, standing: Manifest) -> None:
        """Remove what the manifest that stands now does not name."""
        for place in sorted(self.met - {entry.stored or name for name, entry in standing.files.items()}):
            with suppress(StorageError):  # who may not delete has published nevertheless
                objects.delete(objects.join(self.uri, place))

    def _holds(self, place: str, entry: FileEntry) -> bool:
        """Whether a file of this very content lies under a name."""
        try:
            equal = objects.holds(objects.join(self.uri, place), entry.sha256, entry.size)
        except MissingArtifact:  # somebody else who was through has removed it, or it is a folder
            return False
        self.met.add(place)
        return equal


def _manifest(
    uri: str,
    kind: str,
    key: str,
    files: Mapping[str, Content],
    config: Mapping[str, Any] | BaseModel,
    parents: Mapping[str, str],
    facts: Mapping[str, Any],
    device: torch.device | str | None,
) -> Manifest:
    """What is going to be published, as if each file lay under its own name. Raises for what cannot be, before anything is written."""
    root = layout.root_of(uri)
    for name in files:
        objects.join(uri, name)
    if MANIFEST in files:
        raise StorageError(f"{uri}: a file cannot be called {MANIFEST}")
    settings = plain(config, "config")
    return Manifest(
        kind=kind,
        key=key,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        parents=dict(parents) if root is None else {role: layout.relative(parent, root) for role, parent in parents.items()},
        config=settings,
        facts=plain(facts, "facts"),
        files={name: _entry_of(content) for name, content in files.items()},
        provenance={**plugins_in(settings), **provenance(device), **duration.told()},
    )


def _entry_of(content: Content) -> FileEntry:
    if isinstance(content, objects.Known):
        return FileEntry(sha256=content.sha256, size=content.size)
    if isinstance(content, Path):
        return FileEntry(sha256=file_digest(content), size=content.stat().st_size)
    return FileEntry(sha256=digest(content), size=len(content))


def _with_places(manifest: Manifest, places: Mapping[str, str]) -> Manifest:
    entries = {
        name: entry if places[name] == name else entry.model_copy(update={"stored": places[name]}) for name, entry in manifest.files.items()
    }
    return manifest.model_copy(update={"files": entries})


def _candidates(name: str, entry: FileEntry) -> Iterator[str]:
    """Names that a file may be created under, the best first."""
    yield name
    yield _marked(name, entry.sha256[:SHORT])


def _marked(name: str, mark: str) -> str:
    """'deep/losses.parquet' as 'deep/losses.MARK.parquet'."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}.{mark}{path.suffix}"))


def _can_create(uri: str, content: Content, entry: FileEntry) -> bool:
    return objects.can_copy(content.uri, uri) if isinstance(content, objects.Known) else objects.can_create(uri, entry.size)


def _create(uri: str, content: Content) -> bool:
    if isinstance(content, objects.Known):
        return objects.create_copy(content.uri, uri)
    return objects.create_from(content, uri) if isinstance(content, Path) else objects.create(uri, content)


def _write(uri: str, content: Content) -> None:
    if isinstance(content, objects.Known):
        objects.copy(content.uri, uri)
    elif isinstance(content, Path):
        objects.upload(content, uri)
    else:
        objects.write(uri, content)


def _encode(manifest: Manifest, uri: str) -> bytes:
    """The manifest as it is stored at `uri`, signed if this process has a key."""
    content = manifest.model_dump(mode="json", exclude={"signature"})
    for entry in content["files"].values():
        if entry["stored"] is None:
            del entry["stored"]
    return signing.sealed(json.dumps(content, sort_keys=True, indent=1, allow_nan=False).encode(), uri, MANIFEST)


def _published_by_another(uri: str, ours: Manifest) -> Artifact:
    """The artifact whose manifest came first, compared with what it says; also our own, if the answer to our first attempt was lost."""
    first = find(uri, ours.kind, ours.key)
    if first is None:
        raise MissingArtifact(f"{uri} was deleted while it was being published: publish it again")
    first.check_sizes()
    for name, entry in first.manifest.files.items():
        # Those that are ours as well lie where we wrote or compared them.
        place = first.place(name)
        if ours.files.get(name) == entry or objects.holds(place, entry.sha256, entry.size):
            continue
        if not (objects.look_again(place) and objects.holds(place, entry.sha256, entry.size)):
            raise DamagedArtifact(f"{place} is not what was published: {again(uri)}")
    return first
