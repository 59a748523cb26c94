"""What only a local folder can get wrong: temporary files, file systems without links, damage, missing rights."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from bilp.errors import DamagedArtifact, StorageError, StorageRefused
from bilp.storage import objects, verification

# Processes that begin when the last of them is there.
RACE = """
import os, sys
from bilp.storage import objects as storage
reading, writing = os.pipe()
for mine in range(4):
    if not os.fork():
        os.close(writing)
        os.read(reading, 1)
        create = lambda name: storage.create(storage.join(sys.argv[1], name), str(mine).encode())
        os.write(1, f"{' '.join([str(mine), *(name for name in map(str, range(200)) if create(name))])}\\n".encode())
        os._exit(0)
os.close(writing)
for _ in range(4):
    os.wait()
"""


def test_of_several_processes_each_name_is_created_by_one(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", RACE, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True)
    won = {index: names for index, *names in map(str.split, done.stdout.splitlines())}
    assert set(won) == {"0", "1", "2", "3"}
    assert sorted(int(name) for names in won.values() for name in names) == list(range(200))
    assert all((tmp_path / name).read_text() == index for index, names in won.items() for name in names)


def test_left_over_temporary_files_are_neither_listed_nor_in_the_way(tmp_path: Path) -> None:
    left_over = [tmp_path / f".a.{os.getpid()}.{number}.tmp" for number in range(10_000) if number % 2]
    for path in left_over[:200]:
        path.write_bytes(b"half")
    objects.write(str(tmp_path / "a"), b"whole")
    assert objects.children(str(tmp_path)) == ["a"]
    assert objects.read(str(tmp_path / "a")) == b"whole"


def test_hidden_files_of_others_are_listed(tmp_path: Path) -> None:
    (tmp_path / ".note.tmp").write_bytes(b"x")
    assert objects.children(str(tmp_path)) == [".note.tmp"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_create_without_hard_links(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    uri = str(tmp_path / "marker")
    assert objects.create(uri, b"first")
    assert not objects.create(uri, b"second")
    assert objects.read(uri) == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["marker"]


def test_an_uploaded_file_is_kept_itself_where_the_file_system_allows_it(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "store" / "folder" / "large"
    for content in (b"first", b"second"):
        source.write_bytes(content)
        objects.upload(source, str(target))
        assert target.samefile(source)
        source.unlink()
        assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["large"]
    target.rename(source)
    objects.upload(source, str(target))
    objects.upload(source, str(target))  # to rename a file to another name of itself does nothing
    assert [path.name for path in target.parent.iterdir()] == ["large"]


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP])
def test_an_uploaded_file_is_copied_where_links_do_not_lead(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "source", tmp_path / "store" / "large"
    source.write_bytes(b"0123456789" * 300_000)
    objects.upload(source, str(target))
    assert target.read_bytes() == source.read_bytes()
    assert not target.samefile(source)
    assert [path.name for path in target.parent.iterdir()] == ["large"]


def test_files_of_a_shared_folder_belong_to_its_group(tmp_path: Path) -> None:
    others = [54321] if os.geteuid() == 0 else [group for group in os.getgroups() if group != os.getegid()]
    if not others:
        pytest.skip("this user is in one group alone")
    source, team = tmp_path / "source", tmp_path / "team"
    source.write_bytes(b"made elsewhere")
    team.mkdir()
    os.chown(team, -1, others[0])
    team.chmod(0o2770)
    objects.upload(source, str(team / "runs" / "uploaded"))
    assert objects.create_from(source, str(team / "runs" / "created"))
    objects.write(str(team / "runs" / "written"), b"")
    assert {file.stat().st_gid for file in team.rglob("*")} == {others[0]}
    assert (team / "runs" / "uploaded").read_bytes() == (team / "runs" / "created").read_bytes() == b"made elsewhere"


@pytest.mark.skipif(sys.platform != "linux", reason="writes an access list as Linux keeps it")
def test_files_of_a_shared_folder_get_its_access_list(tmp_path: Path) -> None:
    nobody = 0xFFFFFFFF
    entries = [(1, 6, nobody), (2, 6, 54321), (4, 0, nobody), (16, 6, nobody), (32, 0, nobody)]  # owner, user 54321, group, mask, others
    listed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    source, team = tmp_path / "source", tmp_path / "team"
    source.write_bytes(b"made elsewhere")
    team.mkdir()
    try:
        os.setxattr(team, "system.posix_acl_default", listed)
    except OSError:
        pytest.skip("this file system keeps no access lists")
    objects.upload(source, str(team / "uploaded"))
    assert objects.create_from(source, str(team / "created"))
    assert all("system.posix_acl_access" in os.listxattr(team / name) for name in ("uploaded", "created"))


@pytest.mark.parametrize("code", [None, errno.EXDEV, errno.EPERM])
def test_a_file_is_created_from_another_only_once(code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "store" / "large"
    link = os.link

    def refuse(given: Path, name: Path) -> None:
        if code == errno.EPERM or (code == errno.EXDEV and given == source):
            raise OSError(code, os.strerror(code))
        link(given, name)

    monkeypatch.setattr(os, "link", refuse)
    source.write_bytes(b"0123456789" * 300_000)
    assert objects.create_from(source, str(target))
    assert target.samefile(source) == (code is None)
    source.rename(tmp_path / "first")
    source.write_bytes(b"other")
    assert not objects.create_from(source, str(target))
    assert target.read_bytes() == b"0123456789" * 300_000
    assert [path.name for path in target.parent.iterdir()] == ["large"]


def test_a_full_disk_leaves_the_old_content_and_no_rest(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, folder = str(tmp_path / "a"), tmp_path_factory.mktemp("source")
    objects.write(uri, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for attempt in (objects.write, objects.create):
        with pytest.raises(StorageError, match=r"No space left .* free some space"):
            attempt(uri, b"new")
    (folder / "new").write_bytes(b"new")
    with pytest.raises(StorageError, match=r"No space left .* free some space"):
        objects.upload(folder / "new", uri)
    assert objects.read(uri) == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_root_that_is_a_file_is_refused_for_good(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageRefused, match=r"cannot be written to .*a file lies where a folder is needed.*BILP_STORAGE"):
        objects.check_storage(str(tmp_path / root))
    for attempt in (objects.write, objects.create):
        with pytest.raises(StorageRefused, match="a file lies where a folder is needed"):
            attempt(str(tmp_path / root / "result"), b"new")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="give this user read and write permission"):
            objects.check_storage(str(tmp_path / "store"))
    finally:
        tmp_path.chmod(0o700)


def test_localise_gives_the_file_itself_and_notices_later_damage(tmp_path: Path) -> None:
    path, checksum = tmp_path / "shard", hashlib.sha256(b"good").hexdigest()
    path.write_bytes(b"good")
    assert objects.localize(str(path), checksum) == path
    path.write_bytes(b"evil")
    os.utime(path, ns=(0, 0))
    with pytest.raises(DamagedArtifact):
        objects.localize(str(path), checksum)


def test_localise_verifies_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, checksum = tmp_path / "shard", hashlib.sha256(b"good").hexdigest()
    path.write_bytes(b"good")
    objects.localize(str(path), checksum)
    monkeypatch.setattr(verification, "file_digest", lambda file: pytest.fail("hashed a second time"))
    assert objects.localize(str(path), checksum) == path


def test_deleting_a_link_keeps_what_it_points_to(tmp_path: Path) -> None:
    objects.write(str(tmp_path / "kept/file"), b"x")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    objects.delete(str(tmp_path / "link"))
    assert objects.children(str(tmp_path)) == ["kept"]
    assert objects.read(str(tmp_path / "kept/file")) == b"x"
