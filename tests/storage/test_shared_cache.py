"""The cache of copies, shared by processes: one download for all, stamps, a limit, room, and deaths. The store here is a local folder."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bilp.errors import ConfigError, DamagedArtifact, StorageError
from bilp.storage import copies, local, objects, room, stamps, verification
from bilp.storage.backend import Store

SIZE = 1 << 20
IO = Path("/proc/self/io")
counts_reads = pytest.mark.skipif(not IO.exists(), reason="only Linux tells what a process has read")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def source(folder: Path, fill: int = 0) -> tuple[Path, str]:
    """A file of a storage, and its checksum."""
    file = folder / f"source-{fill}"
    file.write_bytes(bytes([fill]) * SIZE)
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


def copied(file: Path, sha256: str, store: Store = local, size: int | None = SIZE) -> Path:  # type: ignore[assignment]
    return copies.copy_of(store, str(file), f"s3://bucket/{file.name}", sha256, None, size)


def counting(log: list[str], before: Callable[[str, Path], object] = lambda path, target: None) -> Store:
    """The local store, which notes what is fetched, and does something before."""

    def download(path: str, target: Path, *arguments: Any, **options: Any) -> None:
        log.append(path)
        before(path, target)
        local.download(path, target, *arguments, **options)

    found: Any = SimpleNamespace(**vars(local) | {"download": download})
    return found


def never(path: str, target: Path) -> None:
    raise AssertionError(f"{path} is fetched again")


def as_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process found out is forgotten; what lies on the disk is all that a new one has."""
    monkeypatch.setattr(verification, "_verified", set())


def bytes_read(work: Callable[[], object]) -> int:
    def total() -> int:
        return int(IO.read_text().split("rchar: ")[1].split()[0])

    before = total()
    work()
    return total() - before


@counts_reads
def test_another_process_trusts_what_was_verified_without_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, sha256 = source(tmp_path)
    copied(file, sha256)
    as_another_process(monkeypatch)
    assert bytes_read(lambda: copied(file, sha256, counting([], never))) < SIZE // 4
    monkeypatch.setenv("BILP_VERIFY", "1")
    assert bytes_read(lambda: copied(file, sha256, counting([], never))) > SIZE


@counts_reads
def test_a_large_file_of_a_local_storage_is_trusted_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "LARGE", SIZE)
    file, sha256 = source(tmp_path)
    assert bytes_read(lambda: objects.localize(str(file), sha256)) > SIZE
    as_another_process(monkeypatch)
    assert bytes_read(lambda: objects.localize(str(file), sha256)) < SIZE // 4
    assert bytes_read(lambda: objects.localize(str(file), sha256, thorough=True)) > SIZE
    facts = file.stat()
    file.write_bytes(bytes(SIZE - 1) + b"!")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(DamagedArtifact):
        objects.localize(str(file), sha256)


def test_decay_that_the_file_system_does_not_record_is_found_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, sha256 = source(tmp_path)
    copy = copied(file, sha256)
    copy.write_bytes(b"!" + copy.read_bytes()[1:])
    stamps.write(Path(f"{copy}.stamp"), copy, sha256)  # as if it had been like this when it was compared
    as_another_process(monkeypatch)
    assert copied(file, sha256, counting([], never)).read_bytes() != file.read_bytes()
    monkeypatch.setenv("BILP_VERIFY", "1")
    assert copied(file, sha256).read_bytes() == file.read_bytes()


def old(told: dict[str, Any]) -> object:
    return told | {"at": told["at"] - stamps.TRUSTED - 60}


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "old": old,
    "of tomorrow": lambda told: told | {"at": told["at"] + 86400},
    "another inode": lambda told: told | {"inode": told["inode"] + 1},
    "another size": lambda told: told | {"size": told["size"] + 1},
    "another time": lambda told: told | {"changed": told["changed"] + 1},
    "another checksum": lambda told: told | {"sha256": "0" * 64},
    "a list": lambda told: [told],
    "no time": lambda told: {name: value for name, value in told.items() if name != "at"},
}


@counts_reads
@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_stamp_that_does_not_fit_is_as_good_as_none(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, sha256 = source(tmp_path)
    stamp = Path(f"{copied(file, sha256)}.stamp")
    stamp.write_text(json.dumps(change(json.loads(stamp.read_text()))))
    for ask in (True, False):  # the second time it has a stamp that fits
        as_another_process(monkeypatch)
        assert (bytes_read(lambda: copied(file, sha256, counting([], never))) > SIZE) == ask


def test_of_several_that_want_the_same_file_one_fetches_it(tmp_path: Path) -> None:
    files, log = [source(tmp_path, fill) for fill in range(3)], []
    store = counting(log)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda number: copied(*files[number % 3], store), range(24)))
    assert sorted(log) == sorted(str(file) for file, _ in files)
    assert [copy.read_bytes() for copy in found] == [files[number % 3][0].read_bytes() for number in range(24)]


PROGRAM = """
import sys
from pathlib import Path
from types import SimpleNamespace
from bilp.storage import copies, local

log = open(sys.argv[1], "ab", buffering=0)

def download(path, target, *arguments, **options):
    log.write(path.encode() + b"\\n")
    local.download(path, target, *arguments, **options)

store = SimpleNamespace(**vars(local) | {"download": download})
for given in sys.argv[2:]:
    path, sha256 = given.split(",")
    copy = copies.copy_of(store, path, "s3://bucket/file", sha256, None, None)
    assert copy.read_bytes() == Path(path).read_bytes()
"""


@pytest.mark.slow
def test_four_processes_fetch_each_file_once(tmp_path: Path) -> None:
    log, files = tmp_path / "log", [source(tmp_path, fill) for fill in range(6)]
    command = [sys.executable, "-P", "-c", PROGRAM, str(log), *(f"{file},{sha256}" for file, sha256 in files)]
    processes = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert sorted(log.read_text().split()) == sorted(str(file) for file, _ in files)


def killed(work: Callable[[], object]) -> None:
    """Carry out something in a process that must end by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("known", [True, False], ids=["with a checksum", "without"])
def test_what_a_killed_process_had_under_way_is_no_copy(tmp_path: Path, cache: Path, known: bool) -> None:
    file, sha256 = source(tmp_path)

    def half(path: str, target: Path) -> None:
        target.write_bytes(bytes(SIZE // 2))
        os.kill(os.getpid(), signal.SIGKILL)

    def ask(store: Store) -> Path:
        return copies.copy_of(store, str(file), "s3://bucket/file", sha256 if known else None, None)

    killed(lambda: ask(counting([], half)))
    assert [path.stat().st_size for path in cache.rglob(".*.tmp")] == [SIZE // 2]
    log: list[str] = []
    assert ask(counting(log)).read_bytes() == file.read_bytes()
    assert len(log) == 1
    assert list(cache.rglob(".*.tmp")) == [], "it takes no room any more"


def test_a_copy_that_lost_its_process_before_its_stamp_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, sha256 = source(tmp_path)

    def dies(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patched:
        patched.setattr(stamps, "write", dies)
        killed(lambda: copied(file, sha256))
    assert copied(file, sha256, counting([], never)).read_bytes() == file.read_bytes()


def aged(copy: Path, seconds: float) -> None:
    """Let a copy be used so long ago."""
    stamp = Path(f"{copy}.stamp")
    at = stamp.stat().st_mtime - seconds
    os.utime(stamp, (at, at))


def test_beyond_the_limit_those_go_that_were_not_used_for_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [source(tmp_path, fill) for fill in range(5)]
    held = [copied(*each) for each in files[:4]]
    for copy, hours in zip(held, (2, 4, 3, 0), strict=True):
        aged(copy, 3600 * hours)
    monkeypatch.setenv("BILP_CACHE_BYTES", str(3 * SIZE))
    copied(*files[4])
    assert [copy.exists() for copy in held] == [True, False, False, True], "room for the new one within the limit, and no more"
    assert [Path(f"{copy}.stamp").exists() for copy in held] == [True, False, False, True]
    assert copied(*files[1]).read_bytes() == files[1][0].read_bytes()


def test_what_was_used_lately_or_is_mapped_stays_whatever_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [source(tmp_path, fill) for fill in range(4)]
    lately, seen, lost = (copied(*each) for each in files[:3])
    aged(seen, 7200)
    aged(lost, 3600)
    monkeypatch.setenv("BILP_CACHE_BYTES", "1")
    with seen.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        copied(*files[3])
        assert (lately.exists(), lost.exists()) == (True, False)
        assert pages[:] == files[1][0].read_bytes()
        if IO.exists():
            assert seen.exists()
    aged(seen, 7200)
    copied(*files[2])
    assert not seen.exists()


def test_a_copy_in_use_by_the_time_it_would_go_stays(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds its lock, or has used it since the copies were listed."""
    first, second = (copied(*source(tmp_path, fill)) for fill in range(2))
    listed = room.copies_in(cache)
    aged(first, 3600)
    aged(second, 3600)
    stamps.used(Path(f"{second}.stamp"))
    monkeypatch.setattr(room, "copies_in", lambda place: [copy._replace(used=0.0) for copy in listed])
    with room.lock_of(first.name):
        room._evict(SIZE, 1, cache)
    assert first.exists() and second.exists()
    room._evict(SIZE, 1, cache)
    assert not first.exists() and second.exists()


def test_what_killed_processes_left_counts_and_goes(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied(*source(tmp_path))
    left = cache / "ab" / f".{'ab' * 32}.{'0' * 32}.tmp"
    left.parent.mkdir(mode=0o700)
    left.write_bytes(bytes(SIZE))
    os.utime(left, (0, 0))
    monkeypatch.setenv("BILP_CACHE_BYTES", str(2 * SIZE))
    copied(*source(tmp_path, 1))
    assert not left.exists()


@pytest.mark.parametrize("text", ["many", "-1", "1e9", "²", "1 GB"])
def test_a_limit_that_is_no_number_is_refused(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_CACHE_BYTES", text)
    with pytest.raises(ConfigError, match="BILP_CACHE_BYTES is .*whole number of bytes"):
        copied(*source(tmp_path))


def test_what_finds_no_room_is_not_begun(tmp_path: Path, cache: Path) -> None:
    file, sha256 = source(tmp_path)
    with pytest.raises(StorageError, match=r"copies of s3://bucket/source-0 take 1,000,000.0 GB, and .* are free in .*BILP_CACHE_BYTES"):
        copied(file, sha256, counting([], never), size=10**15)
    assert not any(path.name == sha256 for path in cache.rglob("*"))


def test_copying_within_a_storage_reads_nothing_and_never_half(root: str) -> None:
    there, here = objects.join(root, "deep/there"), objects.join(root, "here")
    objects.write(there, b"content")
    objects.copy(there, here)
    objects.copy(there, here)
    objects.delete(there)
    assert objects.read(here) == b"content"
    with pytest.raises(StorageError, match="nothing lies there"):
        objects.copy(there, here)
    assert objects.read(here) == b"content"
    if objects.can_copy(here, there):
        assert objects.create_copy(here, there)
        assert not objects.create_copy(here, there)
        assert Path(there).samefile(here)
