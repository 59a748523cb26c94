"""Where artifacts lie: a local folder or S3, behind one set of functions over full URIs.

A URI is a plain path, `file:///...` or `s3://bucket/prefix`. Everything a function here raises is a `StorageError`
that names the URI and what to do; its subclass `MissingArtifact` says that nothing lies there.
"""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from bilp.errors import BilpError, DamagedArtifact, ImpossibleUri, MissingArtifact, StorageError, StorageRefused
from bilp.storage import copies, local, room, transient
from bilp.storage.backend import Known as Known
from bilp.storage.backend import Oversized, Store, Version, Written
from bilp.storage.scratch import require_room, scratch_folder
from bilp.storage.trace import followed
from bilp.storage.uris import Uri as Uri
from bilp.storage.uris import as_uri as as_uri
from bilp.storage.uris import join as join
from bilp.storage.uris import optional_uri as optional_uri
from bilp.storage.uris import parse, refuse_secret
from bilp.storage.verification import again, damaged, digest, file_digest
from bilp.text.redaction import redacted

T = TypeVar("T")

FILES_AT_ONCE = 8
"""Of one artifact that come to this machine, or are compared with their checksums, at the same time."""

_WRITING = ("write", "create", "delete")
# Roots of which this process knows that results can be published there.
_usable: set[str] = set()


def storage_root() -> str:
    """The root of all artifacts: $BILP_STORAGE, or the folder bilp-storage below the working directory."""
    return as_uri(refuse_secret(os.environ.get("BILP_STORAGE") or "bilp-storage", "BILP_STORAGE"))


def exists(uri: str) -> bool:
    """Whether a file, or anything below the URI, is there."""
    with _reaching("look for", uri) as (store, path):
        return store.exists(path)


def read(uri: str, expected: bool = False, most: int | None = None) -> bytes:
    """The whole content, never a mixture of two versions. Raises MissingArtifact if no file lies there.

    Where one is `expected`, a storage that may have given a wrong answer is asked once more before that. Raises DamagedArtifact, and
    reads nothing, if the file has more than `most` bytes.
    """

    def ask() -> bytes:
        with _reaching("read", uri, reading=True) as (store, path):
            try:
                return store.read(path, most)
            except Oversized as error:
                raise DamagedArtifact(
                    f"{uri} has {error.size:,} bytes, at most {most:,} are read: {again(uri.rpartition('/')[0])}"
                ) from None

    return _twice(uri, ask) if expected else ask()


def read_checked(uri: str, sha256: str, artifact: str | None = None) -> bytes:
    """The whole content of a file with this checksum. Raises DamagedArtifact, also if no file lies there."""
    try:
        data = read(uri, expected=True)
        if digest(data) != sha256 and look_again(uri):
            data = read(uri)
    except MissingArtifact as error:
        raise damaged(uri, sha256, "no file", artifact) from error
    if digest(data) != sha256:
        raise damaged(uri, sha256, digest(data), artifact)
    return data


def version(uri: str) -> Version:
    """Which content lies there, and its bytes. Raises MissingArtifact if no file does."""

    def ask() -> Version:
        with _reaching("measure", uri, reading=True) as (store, path):
            return store.version(path)

    return _twice(uri, ask)


def span(uri: str, start: int, stop: int, stamp: str) -> bytes:
    """Bytes `start` to `stop` of the version with this stamp, by one request. Raises MissingArtifact if no file lies there."""
    with _reaching("read", uri, reading=True) as (store, path):
        return store.span(path, start, stop, stamp)


def look_again(uri: str) -> bool:
    """Whether asking the storage once more may show something else than it just did, which then takes a new connection.

    A local disk says the same again. On the way to S3 are networks, proxies and caches, and one wrong answer is no verdict.
    """
    store, _ = _locate(uri)
    return store.reconnect()


def size(uri: str) -> int:
    """Bytes of the file. Raises MissingArtifact if none lies there."""

    def ask() -> int:
        with _reaching("measure", uri, reading=True) as (store, path):
            return store.size(path)

    return _twice(uri, ask)


def sizes(uri: str, names: Iterable[str]) -> dict[str, int]:
    """Bytes of those of the files called `names` (with slashes where they lie deeper) below the URI that are there.

    On S3 one listing of everything below the URI, so a request for a thousand files rather than one for each.
    """
    with _reaching("measure", uri) as (store, path), ExitStack() as stack:
        asked = list(names)
        for name in asked if store is local else ():
            stack.enter_context(followed("measure", f"{path}/{name}"))
        return store.sizes(path, asked)


def objects(uri: str) -> dict[str, Version]:
    """Every file below the URI by its name, with slashes where it lies deeper, its bytes, and a stamp that changes with its content."""
    with _reaching("list", uri) as (store, path):
        return store.objects(path)


def listing(uri: str) -> dict[str, Written]:
    """Every file below the URI by its name, its bytes, and when it was written or touched last; temporary files are among them."""
    with _reaching("list", uri) as (store, path):
        return store.listing(path)


def written_at(uri: str) -> float:
    """When a file was written or touched last, in seconds by the clock of the storage. Raises MissingArtifact if none lies there."""

    def ask() -> float:
        with _reaching("measure", uri, reading=True) as (store, path):
            return store.written_at(path)

    return _twice(uri, ask)


def touch(uri: str) -> None:
    """Let a file count as written now, its content unchanged: `written_at` tells. Raises MissingArtifact if none lies there."""
    with _reaching("write", uri, reading=True) as (store, path):
        store.touch(path)


def write(uri: str, data: bytes) -> None:
    """Replace the content at once: readers see the old or the new whole content, also if this process is killed."""
    with _reaching("write", uri) as (store, path):
        store.write(path, data)


def upload(source: Path, uri: str) -> None:
    """As `write`, from a local file that need not fit into memory. It is given away: do not change it afterwards, only remove it."""
    if not source.is_file():
        raise StorageError(f"cannot upload {source} to {uri}: it is not a file")
    if not os.access(source, os.R_OK):
        raise StorageError(f"cannot upload {source} to {uri}: this user may not read it")
    with _reaching("write", uri) as (store, path):
        store.upload(path, source)


def create(uri: str, data: bytes) -> bool:
    """Write only if nothing lies there, decided by the storage in one step: of several writers exactly one gets True.

    On S3 at most 90 MiB, and False can also mean that this call's own first attempt succeeded but its answer was lost;
    whoever must know compares the content.
    """
    with _reaching("create", uri) as (store, path):
        return store.create(path, data)


def create_from(source: Path, uri: str) -> bool:
    """As `create`, from a local file that is given away as for `upload`."""
    if not source.is_file():
        raise StorageError(f"cannot create {uri} from {source}: it is not a file")
    with _reaching("create", uri) as (store, path):
        return store.create_from(path, source)


def can_create(uri: str, size: int) -> bool:
    """Whether so many bytes can be written below the URI on the condition that nothing lies there."""
    store, _ = _locate(uri)
    return store.can_create(size)


def copy(source: str, uri: str) -> None:
    """As `write`, with the content of another file of the same storage, which moves none of its bytes through this machine: a second name
    for it in a folder, where the disk has such, and on S3 a copy that the store makes by itself.

    Neither is changed afterwards. Raises MissingArtifact if nothing lies there.
    """
    if parse(source)[0] != parse(uri)[0]:
        with fetched(source) as file:
            upload(file, uri)
        return
    with _reaching("copy", source, reading=True) as (store, path), _followed_both(store, path, parse(uri)[1]):
        store.copy(path, parse(uri)[1])


def create_copy(source: str, uri: str) -> bool:
    """As `create`, with the content of another file likewise, where `can_copy` says so."""
    with _reaching("create", uri) as (store, target), _followed_both(store, parse(source)[1], target):
        return store.create_copy(parse(source)[1], target)


@contextmanager
def _followed_both(store: Store, source: str, target: str) -> Iterator[None]:
    """A second name changes what the file system tells of the first one, too."""
    with followed("write", source if store is local else None), followed("write", target if store is local else None):
        yield


def can_copy(source: str, uri: str) -> bool:
    """Whether a file can be copied on the condition that nothing lies there yet."""
    store, _ = _locate(uri)
    return store.can_copy() and parse(source)[0] == parse(uri)[0]


def holds(uri: str, sha256: str, size: int) -> bool:
    """Whether the file at the URI has this content now, read in whole unless its size tells. Raises MissingArtifact if none is there."""
    with _reaching("read", uri, reading=True) as (store, path):
        return store.size(path) == size and store.digest(path) == sha256


def children(uri: str) -> list[str]:
    """Sorted names directly below the URI; empty if nothing lies there. Temporary files are left out."""
    with _reaching("list", uri) as (store, path):
        return sorted({name for name in store.names(path) if name and not local.TEMPORARY.fullmatch(name)})


def delete(uri: str) -> None:
    """Remove a file or everything below the URI; no error if nothing lies there."""
    with _reaching("delete", uri) as (store, path):
        store.delete(path)


def tidy(uri: str) -> None:
    """Remove a folder in which nothing lies, and those around it likewise; on S3 there are none."""
    with _reaching("delete", uri) as (store, path):
        store.tidy(path)


def localize(uri: str, sha256: str | None = None, artifact: str | None = None, size: int | None = None, thorough: bool = False) -> Path:
    """A local file with the content, for memory mapping: the file itself, or a copy in the cache ($BILP_CACHE).

    With `sha256` the content is verified, unless this process did before, or an earlier one did with a copy or a large file that was not
    touched since (`bilp.storage.stamps`). Without it, the copy is of the object's present version.

    Args:
        uri: the file.
        sha256: its checksum, where it is known.
        artifact: the folder that an error says to delete.
        size: its bytes, where they are known; otherwise a store may have to be asked for them.
        thorough: verify it whatever an earlier process found.

    Raises MissingArtifact if no file lies there, DamagedArtifact if the checksum differs, and StorageError if a copy finds no room.
    """

    def ask() -> Path:
        with _reaching("read", uri, reading=True) as (store, path):
            if store is not local:
                return copies.copy_of(store, path, uri, sha256, artifact, size, thorough)
            file = Path(path)
            store.size(path)  # a regular file is there
            if sha256:
                copies.check(file, sha256, uri, artifact, thorough)
            return file

    return _twice(uri, ask)


def localize_all(files: Sequence[Known], artifact: str) -> list[Path]:
    """`localize` for the files of an artifact, several at a time; whether all copies find room is known before the first byte."""
    lacking = [file for file in files if _locate(file.uri)[0] is not local and not copies.is_there(file.sha256)]
    if lacking:
        room.make_room(sum(file.size for file in lacking), f"{len(lacking)} files of {artifact}")
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        return list(pool.map(lambda file: localize(file.uri, file.sha256, artifact, file.size), files))


@contextmanager
def fetched(uri: str, sha256: str | None = None, artifact: str | None = None, size: int | None = None) -> Iterator[Path]:
    """As `localize`, for a file that is read once: what comes from S3 lies in a temporary folder, and is gone after the block.

    What was mapped or opened in the block stays readable.
    """
    if _locate(uri)[0] is local:
        yield localize(uri, sha256, artifact)
        return
    with scratch_folder("bilp-fetched-") as folder:
        file = folder / "file"

        def ask() -> None:
            with _reaching("read", uri, reading=True) as (store, path):
                bytes_there = store.size(path) if size is None else size
                require_room(folder, bytes_there, uri)
                for at_once in (False, True):
                    store.download(path, file, at_once=at_once, size=bytes_there)
                    found = file_digest(file) if sha256 else None
                    if found == sha256:
                        return
                    store.reconnect()
                assert sha256 is not None
                raise damaged(uri, sha256, str(found), artifact)

        _twice(uri, ask)
        yield file


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


def _twice(uri: str, ask: Callable[[], T]) -> T:
    """What `ask` returns, which looks again once before it is believed that nothing lies there."""
    try:
        return ask()
    except MissingArtifact:
        if not look_again(uri):
            raise
    return ask()


def _locate(uri: str) -> tuple[Store, str]:
    """The kind of storage and the path in it."""
    scheme, path = parse(uri)
    return (local if scheme == "file" else _s3(uri)), path


def _s3(uri: str) -> Store:
    """Imported only when needed: the S3 client is heavy, and a local user does not need it."""
    try:
        module: Store = importlib.import_module("bilp.storage.s3")
    except ImportError as error:
        raise ImpossibleUri(f"{uri} needs the S3 client: python -m pip install s3fs, the extra [s3] ({error})") from error
    return transient.patient(module)


@contextmanager
def _reaching(action: str, uri: str, reading: bool = False) -> Iterator[tuple[Store, str]]:
    """Locate the URI, and put whatever the storage raises into words: file systems, botocore and aiohttp share no base class."""
    store, path = _locate(uri)
    try:
        with followed(action, path if store is local else None):
            yield store, path
    except BilpError:
        raise
    except Exception as error:
        if reading and store.missing(error):
            raise MissingArtifact(f"cannot {action} {uri}: nothing lies there") from error
        kind = StorageRefused if action in _WRITING and store.refused(error) else transient.kind(store, error)
        # The client's words may hold the address of an endpoint or a proxy, with a login that a configuration file gave.
        raise kind(f"cannot {action} {uri}: {redacted(str(error), {})}; {store.remedy(error)}") from error
