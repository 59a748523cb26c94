"""Where artefacts lie: a local folder or S3, behind one set of functions over full URIs.

A URI is a plain path, `file:///...` or `s3://bucket/prefix`. Everything a function here raises is a `StorageError`
that names the URI and what to do; its subclass `MissingArtefact` says that nothing lies there.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from bilp import transient
from bilp.errors import BilpError, DamagedArtefact, ImpossibleUri, MissingArtefact, StorageError, StorageRefused
from bilp.stores import Store, local

T = TypeVar("T")

Uri = str | os.PathLike[str]
"""Where something lies, as people give it."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WRITING = ("write", "create", "delete")
_COLLAPSED = re.compile(r"(?:s3|file):/(?!/)", re.IGNORECASE)  # what pathlib makes of s3://

# Files whose checksum was compared in this process: path, sha256, size and modification time.
_verified: set[tuple[str, str, int, int]] = set()
# Roots of which this process knows that results can be published there.
_usable: set[str] = set()


def storage_root() -> str:
    """The root of all artefacts: $BILP_STORAGE, or the folder bilp-storage below the working directory."""
    return as_uri(os.environ.get("BILP_STORAGE") or "bilp-storage")


def as_uri(uri: Uri) -> str:
    """The one way to write where something lies: an absolute path, or s3://bucket/prefix without a slash at the end.

    Raises ImpossibleUri for what is neither.
    """
    if not isinstance(uri, str | os.PathLike):
        raise ImpossibleUri(f"{uri!r} is neither a path nor a URI: give a path or s3://bucket/prefix")
    text = os.fsdecode(uri)
    if not text:
        raise ImpossibleUri("an empty path names no place: give a path or s3://bucket/prefix")
    if isinstance(uri, os.PathLike):
        text = _COLLAPSED.sub(r"\g<0>/", text)
    scheme, path = _parse(text)
    return path if scheme == "file" else f"{scheme}://{path}"


def optional_uri(uri: Uri | None) -> str | None:
    """`as_uri`, where nothing may be given."""
    return None if uri is None else as_uri(uri)


def join(uri: str, *parts: str) -> str:
    """The URI of something below `uri`; a part may hold several names separated by slashes."""
    for part in parts:
        if any(name in ("", ".", "..") for name in part.split("/")):
            raise ImpossibleUri(f"{part!r} is not a name below {uri}: use non-empty names without '.' and '..'")
    _parse(uri)
    return "/".join([uri.rstrip("/"), *parts])


def exists(uri: str) -> bool:
    """Whether a file, or anything below the URI, is there."""
    with _reaching("look for", uri) as (store, path):
        return store.exists(path)


def read(uri: str) -> bytes:
    """The whole content, never a mixture of two versions. Raises MissingArtefact if no file lies there."""
    with _reaching("read", uri, reading=True) as (store, path):
        return store.read(path)


def size(uri: str) -> int:
    """Bytes of the file. Raises MissingArtefact if none lies there."""
    with _reaching("measure", uri, reading=True) as (store, path):
        return store.size(path)


def sizes(uri: str, names: Iterable[str]) -> dict[str, int]:
    """Bytes of those of the files called `names` (with slashes where they lie deeper) below the URI that are there.

    On S3 one listing of everything below the URI, so a request for a thousand files rather than one for each.
    """
    with _reaching("measure", uri) as (store, path):
        return store.sizes(path, names)


def write(uri: str, data: bytes) -> None:
    """Replace the content at once: readers see the old or the new whole content, also if this process is killed."""
    with _reaching("write", uri) as (store, path):
        store.write(path, data)


def upload(source: Path, uri: str) -> None:
    """As `write`, from a local file that need not fit into memory. It is given away: do not change it afterwards, only remove it."""
    if not source.is_file():
        raise StorageError(f"cannot upload {source} to {uri}: it is not a file")
    with _reaching("write", uri) as (store, path):
        store.upload(path, source)


def create(uri: str, data: bytes) -> bool:
    """Write only if nothing lies there, decided by the storage in one step: of several writers exactly one gets True.

    On S3 at most 90 MiB, and False can also mean that this call's own first attempt succeeded but its answer was lost;
    whoever must know compares the content.
    """
    with _reaching("create", uri) as (store, path):
        return store.create(path, data)


def asked(uri: str, request: Callable[[], T]) -> T:
    """The answer to a request of another client to the same storage: it is as patient, and its errors are in the same words."""
    with _reaching("list", uri) as (store, _):
        return transient.asked(store, request)


def children(uri: str) -> list[str]:
    """Sorted names directly below the URI; empty if nothing lies there. Temporary files are left out."""
    with _reaching("list", uri) as (store, path):
        return sorted({name for name in store.names(path) if name and not local.TEMPORARY.fullmatch(name)})


def delete(uri: str) -> None:
    """Remove a file or everything below the URI; no error if nothing lies there."""
    with _reaching("delete", uri) as (store, path):
        store.delete(path)


def localise(uri: str, sha256: str | None = None, artefact: str | None = None) -> Path:
    """A local file with the content, for memory mapping: the file itself, or a copy in the cache ($BILP_CACHE).

    With `sha256` the content is verified once per process. Without it, the copy is of the object's present version.
    `artefact` is the folder that an error says to delete.
    Raises MissingArtefact if no file lies there and DamagedArtefact if the checksum differs.
    """
    store, path = _locate(uri)
    if store is not local:
        return _cached_copy(uri, sha256, artefact)
    file = Path(path)
    if not file.is_file():
        raise MissingArtefact(f"cannot read {uri}: nothing lies there")
    if sha256 and not _is_verified(file, sha256):
        _verify(file, sha256, uri, artefact)
    return file


def damaged(uri: str, expected: str, found: str, artefact: str | None = None) -> DamagedArtefact:
    """The error for a file that differs from what was published in `artefact`, by default the folder that it lies in."""
    return DamagedArtefact(f"{uri} is damaged: expected sha256 {expected}, found {found}; {again(artefact or uri.rpartition('/')[0])}")


def again(artefact: str) -> str:
    """What to do about an artefact that is not what was published."""
    return f"delete {artefact}, and the same command will compute it again"


def file_digest(file: Path) -> str:
    """The sha256 of a local file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_usable(root: str, lacking: str) -> None:
    """`check_storage`, once per process and root, by whoever is about to compute what is `lacking` there, as its error says."""
    if root not in _usable:
        try:
            check_storage(root)
        except StorageRefused as error:
            raise StorageRefused(f"{lacking}, and nothing can be published: {error}") from error
        _usable.add(root)


def check_storage(root: str) -> None:
    """Make sure, before work starts, that results can be published below `root`.

    Writes one small object twice: the first must succeed and the second must be refused. Raises StorageRefused with the
    remedy if the storage is read-only, lies where a file is, or knows no conditional writes, and StorageError if it is out of
    reach. It cannot prove that a store decides atomically between writers of the same instant.
    """
    # Unique across machines, and of the form that `children` leaves out. An identifier, not a random draw.
    probe = join(root, f".probe-{uuid.uuid4().hex}.{os.getpid()}.0.tmp")
    try:
        create(probe, b"first")
    except StorageRefused as error:
        store, _ = _locate(root)
        cause = error.__cause__
        assert isinstance(cause, Exception)
        raise StorageRefused(f"{root} cannot be written to ({getattr(cause, 'strerror', None) or cause}): {store.remedy(cause)}") from error
    try:
        overwritten = create(probe, b"second")
    finally:
        delete(probe)
    if overwritten:
        raise StorageRefused(
            f"{root} ignores the condition If-None-Match, so publishing there is not safe: "
            "set AWS_ENDPOINT_URL to a store with conditional writes (AWS S3, Ceph, MinIO, SeaweedFS, R2), or BILP_STORAGE to a folder"
        )


def _cached_copy(uri: str, sha256: str | None, artefact: str | None) -> Path:
    with _reaching("read", uri, reading=True) as (store, path):
        key = sha256 or hashlib.sha256(f"{uri}\n{store.version(path)}".encode()).hexdigest()
        target = _cache_folder(key[:2]) / key
        # A copy that does not verify was damaged on the disk of the cache, not in the storage: fetch it again.
        if target.exists() and (sha256 is None or _is_verified(target, sha256) or file_digest(target) == sha256):
            _remember(target, sha256)
            return target
        arriving = target.with_name(f".{key}.{uuid.uuid4().hex}.tmp")
        try:
            store.download(path, arriving)
            if sha256 and (found := file_digest(arriving)) != sha256:
                raise damaged(uri, sha256, found, artefact)
            arriving.replace(target)
        finally:
            arriving.unlink(missing_ok=True)
        _remember(target, sha256)
    return target


def _verify(file: Path, sha256: str, uri: str, artefact: str | None) -> None:
    found = file_digest(file)
    if found != sha256:
        raise damaged(uri, sha256, found, artefact)
    _remember(file, sha256)


def _state(file: Path, sha256: str) -> tuple[str, str, int, int]:
    facts = file.stat()
    return str(file), sha256, facts.st_size, facts.st_mtime_ns


def _is_verified(file: Path, sha256: str) -> bool:
    return _state(file, sha256) in _verified


def _remember(file: Path, sha256: str | None) -> None:
    if sha256:
        _verified.add(_state(file, sha256))


def _cache_folder(name: str) -> Path:
    folder = Path(os.environ.get("BILP_CACHE") or Path.home() / ".cache" / "bilp").expanduser() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot use {folder} for copies: {error}; set BILP_CACHE to a folder where this user may write") from error
    return folder


def _parse(uri: str) -> tuple[str, str]:
    """The scheme ("file" or "s3") and the path without it."""
    match = _SCHEME.match(uri)
    scheme = match[1].lower() if match else ""
    if not scheme:
        if _COLLAPSED.match(uri):
            raise ImpossibleUri(f"{uri} has one slash after the scheme: write s3://bucket/prefix or file:///path")
        return "file", os.path.normpath(Path(uri).expanduser().absolute())
    if scheme == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise ImpossibleUri(f"{uri} is not a local path: write file:///absolute/path or a plain path")
        return "file", os.path.normpath(unquote(parts.path))
    if scheme != "s3":
        raise ImpossibleUri(f"{uri}: unknown scheme {scheme}://; use a path, file:///path or s3://bucket/prefix")
    path = uri[len("s3://") :].rstrip("/")
    if not path or path.startswith("/"):
        raise ImpossibleUri(f"{uri} names no bucket: write s3://bucket/prefix")
    if any(name in ("", ".", "..") for name in path.split("/")):
        right = "/".join(name for name in path.split("/") if name not in ("", ".", ".."))
        raise ImpossibleUri(f"{uri} has an empty name, '.' or '..' between two slashes, which a key keeps as it is: write s3://{right}")
    return "s3", path


def _locate(uri: str) -> tuple[Store, str]:
    """The kind of storage and the path in it."""
    scheme, path = _parse(uri)
    return (local if scheme == "file" else _s3(uri)), path


def _s3(uri: str) -> Store:
    """Imported only when needed: the S3 client is heavy, and a local user does not need it."""
    try:
        module: Store = importlib.import_module("bilp.stores.s3")
    except ImportError as error:
        raise ImpossibleUri(f"{uri} needs the S3 client: install s3fs ({error})") from error
    return transient.patient(module)


@contextmanager
def _reaching(action: str, uri: str, reading: bool = False) -> Iterator[tuple[Store, str]]:
    """Locate the URI, and put whatever the storage raises into words: file systems, botocore and aiohttp share no base class."""
    store, path = _locate(uri)
    try:
        yield store, path
    except BilpError:
        raise
    except Exception as error:
        if reading and store.missing(error):
            raise MissingArtefact(f"cannot {action} {uri}: nothing lies there") from error
        kind = StorageRefused if action in _WRITING and store.refused(error) else transient.kind(store, error)
        raise kind(f"cannot {action} {uri}: {error}; {store.remedy(error)}") from error
