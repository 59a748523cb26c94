"""Copies of objects: what may be in the folder of copies, whose it is, and what its disk says. The store here is a local folder."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bilp.errors import DamagedArtifact, StorageError, StorageRefused
from bilp.storage import copies, local, objects

DATA = b"pixels" * 100
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(DATA)
    return file


def copied(source: Path, sha256: str | None = DIGEST) -> Path:
    return copies.copy_of(local, str(source), f"s3://bucket/{source.name}", sha256, None)


def files(cache: Path) -> list[Path]:
    """What lies there but for locks, which are empty and stay."""
    return sorted(path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.fixture(params=[0o022, 0o002, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("sha256", [DIGEST, None])
def test_copies_are_for_one_user_whatever_the_umask(source: Path, cache: Path, sha256: str | None) -> None:
    assert copied(source, sha256).read_bytes() == DATA
    assert {path.stat().st_mode & 0o777 for path in files(cache)} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in [cache, *cache.iterdir()]} == {0o700}
    stamped = [DIGEST, f"{DIGEST}.stamp"]
    assert [path.name for path in files(cache) if path.suffix != ".digest"] == stamped, "nothing else is left there"
    assert len(files(cache)) == (2 if sha256 else 3)


def test_what_lies_there_already_is_taken_for_what_it_is(source: Path, cache: Path) -> None:
    """A file under the right name is used if its content has that checksum, and replaced if not."""
    copy = copied(source)
    for planted in (b"evil", DATA[:-1] + b"!"):
        copy.write_bytes(planted)
        assert copied(source).read_bytes() == DATA
    copy.unlink()
    elsewhere = cache.parent / "elsewhere"
    elsewhere.write_bytes(DATA)
    copy.symlink_to(elsewhere)
    assert copied(source) == copy
    assert not copy.is_symlink(), "what a link leads to may change"
    copy.unlink()
    os.mkfifo(copy)
    assert copied(source).read_bytes() == DATA


def test_without_a_checksum_the_one_of_the_first_download_counts(source: Path, cache: Path) -> None:
    copy = copied(source, None)
    assert copy.name == DIGEST
    copy.write_bytes(b"evil")
    assert copied(source, None).read_bytes() == DATA
    (noted,) = (path for path in files(cache) if path.suffix == ".digest")
    assert noted.read_text() == DIGEST
    for content in ("", "0" * 64, "../../etc/passwd", DIGEST.upper(), "x" * 10_000):
        noted.write_text(content)
        assert copied(source, None).read_bytes() == DATA
        assert noted.read_text() == DIGEST


def test_a_changed_object_has_a_copy_of_its_own(source: Path) -> None:
    first = copied(source, None)
    source.write_bytes(DATA[::-1])
    assert copied(source, None).read_bytes() == DATA[::-1]
    assert first.read_bytes() == DATA


def test_a_file_that_was_changed_after_it_was_compared_is_compared_again(source: Path) -> None:
    """With its size and its modification time kept."""
    for ask in (lambda: copied(source), lambda: objects.localize(str(source), DIGEST)):
        file = ask()
        facts = file.stat()
        file.write_bytes(b"P" + DATA[1:])
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
        if file == source:
            with pytest.raises(DamagedArtifact):
                ask()
        else:
            assert ask().read_bytes() == DATA


def test_content_of_another_checksum_is_refused_and_does_not_stay(source: Path, cache: Path) -> None:
    with pytest.raises(DamagedArtifact, match=f"expected sha256 {'0' * 64}, found {DIGEST}"):
        copied(source, "0" * 64)
    assert files(cache) == []


def give_away(folder: Path) -> None:
    os.chown(folder, 12345, -1)


def link(folder: Path) -> None:
    folder.rmdir()
    target = folder.parent / f"{folder.name} of somebody"
    target.mkdir()
    folder.symlink_to(target)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


@pytest.mark.parametrize("inner", [False, True], ids=["the folder", "one in it"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: folder.chmod(0o770), "others may write into"),
        (lambda folder: folder.chmod(0o1777), "others may write into"),
        pytest.param(give_away, "belongs to another user", marks=as_root),
    ],
)
def test_a_folder_that_others_can_change_is_refused(
    source: Path, cache: Path, change: Callable[[Path], None], told: str, inner: bool
) -> None:
    folder = cache / DIGEST[:2] if inner else cache
    folder.mkdir(parents=True)
    change(folder)
    for sha256 in (DIGEST, None) if not inner else (DIGEST,):
        with pytest.raises(StorageRefused, match=rf"{told}.*set BILP_CACHE") as caught:
            copied(source, sha256)
        assert str(folder) in str(caught.value)
        assert "AWS" not in str(caught.value)
    assert files(cache) == []


def test_a_link_in_the_folder_is_not_followed(source: Path, cache: Path) -> None:
    inner = cache / DIGEST[:2]
    inner.mkdir(parents=True)
    link(inner)
    with pytest.raises(StorageRefused, match="is a link, and copies would land where it points"):
        copied(source)
    assert list(inner.resolve().iterdir()) == []


def test_the_folder_itself_may_be_a_link_of_this_user(source: Path, cache: Path) -> None:
    cache.mkdir()
    link(cache)
    assert copied(source).read_bytes() == DATA
    assert files(cache.resolve())


@as_root
def test_but_not_one_of_another_user(source: Path, cache: Path) -> None:
    cache.mkdir()
    link(cache)
    os.lchown(cache, 12345, -1)
    with pytest.raises(StorageRefused, match="is a link"):
        copied(source)
    assert files(cache.resolve()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_errors_of_the_local_disk_are_told_as_such(source: Path, cache: Path, code: int) -> None:
    """Not as what the store refuses, which has other remedies."""

    def fails(path: str, target: Path, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    store = SimpleNamespace(**vars(local) | {"download": fails})
    with pytest.raises(StorageError, match=rf"cannot keep a copy of s3://bucket/source in .*{os.strerror(code)}.*set BILP_CACHE"):
        copies.copy_of(store, str(source), "s3://bucket/source", DIGEST, None)
    assert files(cache) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_named(source: Path, cache: Path) -> None:
    (cache / DIGEST[:2]).mkdir(parents=True)
    (cache / DIGEST[:2]).chmod(0o500)
    with pytest.raises(StorageError, match=r"cannot keep a copy .*Permission denied.*set BILP_CACHE"):
        copied(source)
    (cache / DIGEST[:2]).chmod(0o700)
