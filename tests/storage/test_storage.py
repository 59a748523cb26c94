"""What storage promises, on a local folder and on S3 alike."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bilp.errors import DamagedArtifact, MissingArtifact, StorageError
from bilp.storage import objects


def test_content_comes_back_as_it_was_written(root: str) -> None:
    for name, data in {"empty": b"", "text": b"one\n", "deep/er/binary": bytes(range(256)) * 4097}.items():
        uri = objects.join(root, name)
        objects.write(uri, data)
        assert objects.read(uri) == data
        assert objects.size(uri) == len(data)
        assert objects.exists(uri)


def test_write_replaces(root: str) -> None:
    uri = objects.join(root, "a")
    objects.write(uri, b"a long first version")
    objects.write(uri, b"second")
    assert objects.read(uri) == b"second"
    assert objects.children(root) == ["a"]


def test_upload_replaces_with_the_content_of_a_file(root: str, tmp_path: Path) -> None:
    uri, source = objects.join(root, "folder/large"), tmp_path / "source"
    source.write_bytes(b"0123456789" * 300_000)
    objects.write(uri, b"before")
    objects.upload(source, uri)
    assert objects.read(uri) == source.read_bytes()
    assert objects.children(objects.join(root, "folder")) == ["large"]


def test_upload_of_nothing_is_refused(root: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot upload .*absent .* not a file"):
        objects.upload(tmp_path / "absent", objects.join(root, "a"))


def test_create_writes_only_once(root: str) -> None:
    uri = objects.join(root, "new/marker")
    assert objects.create(uri, b"first")
    assert not objects.create(uri, b"second")
    assert objects.read(uri) == b"first"
    assert objects.children(objects.join(root, "new")) == ["marker"]


def test_create_from_a_file_writes_only_once(root: str, tmp_path: Path) -> None:
    uri, source = objects.join(root, "deep/large"), tmp_path / "source"
    source.write_bytes(b"first" * 1000)
    assert objects.can_create(uri, 5000)
    assert objects.create_from(source, uri)
    (tmp_path / "other").write_bytes(b"second")
    assert not objects.create_from(tmp_path / "other", uri)
    assert objects.read(uri) == b"first" * 1000
    with pytest.raises(StorageError, match="is not a file"):
        objects.create_from(tmp_path / "absent", uri)


def test_what_lies_there_is_compared(root: str) -> None:
    uri, content = objects.join(root, "a"), b"some content" * 2_000_000
    objects.write(uri, content)
    sha256 = hashlib.sha256(content).hexdigest()
    assert objects.holds(uri, sha256, len(content))
    assert not objects.holds(uri, sha256, len(content) + 1)
    assert not objects.holds(uri, hashlib.sha256(b"other").hexdigest(), len(content))
    for nothing in (objects.join(root, "absent"), root):
        with pytest.raises(MissingArtifact):
            objects.holds(nothing, sha256, len(content))


def test_create_respects_what_was_written_otherwise(root: str) -> None:
    uri = objects.join(root, "marker")
    objects.write(uri, b"")
    assert not objects.create(uri, b"second")
    assert objects.read(uri) == b""


def test_of_twelve_creators_exactly_one_wins(root: str) -> None:
    writers = 12
    with ThreadPoolExecutor(writers) as pool:
        for round_ in range(5):
            uri, start = objects.join(root, f"race-{round_}"), threading.Barrier(writers)

            def attempt(writer: int, uri: str = uri, start: threading.Barrier = start) -> bool:
                start.wait()
                return objects.create(uri, b"%d" % writer)

            won = list(pool.map(attempt, range(writers)))
            assert won.count(True) == 1
            assert objects.read(uri) == b"%d" % won.index(True)


def test_a_reader_sees_one_version_while_others_write(root: str) -> None:
    uri, versions = objects.join(root, "contended"), [bytes([value]) * 400_000 for value in (1, 2, 3)]
    objects.write(uri, versions[0])
    done = threading.Event()

    def overwrite() -> None:
        for turn in range(12):
            objects.write(uri, versions[turn % 3])
        done.set()

    writer = threading.Thread(target=overwrite)
    writer.start()
    try:
        seen = [objects.read(uri)]
        while not done.is_set():
            seen.append(objects.read(uri))
    finally:
        writer.join()
    assert set(seen) <= set(versions)


def test_children_are_the_sorted_names_directly_below(root: str) -> None:
    for name in ("b", "a/1", "a/2/x", "c d", "B", "ab/1"):
        objects.write(objects.join(root, name), b"x")
    assert objects.children(root) == ["B", "a", "ab", "b", "c d"]
    assert objects.children(objects.join(root, "a")) == ["1", "2"]
    assert objects.children(objects.join(root, "a/2")) == ["x"]
    assert objects.children(objects.join(root, "b")) == []
    assert objects.children(objects.join(root, "absent")) == []


def test_listings_follow_writing_and_deleting(root: str) -> None:
    assert objects.children(root) == []
    assert not objects.exists(objects.join(root, "a"))
    objects.write(objects.join(root, "a"), b"x")
    assert objects.children(root) == ["a"]
    objects.delete(objects.join(root, "a"))
    assert objects.children(root) == []


def test_exists_counts_files_and_what_has_something_below(root: str) -> None:
    objects.write(objects.join(root, "run1/file"), b"x")
    found = {name: objects.exists(objects.join(root, name)) for name in ("run1", "run1/file", "run", "run1/fil", "run1/file/x")}
    assert found == {"run1": True, "run1/file": True, "run": False, "run1/fil": False, "run1/file/x": False}


def test_delete_removes_all_below_and_nothing_beside(root: str) -> None:
    for name in ("run1/a", "run1/b/c", "run10/a", "run2"):
        objects.write(objects.join(root, name), b"x")
    objects.delete(objects.join(root, "run1"))
    objects.delete(objects.join(root, "run2"))
    objects.delete(objects.join(root, "absent"))
    assert objects.children(root) == ["run10"]
    assert objects.read(objects.join(root, "run10/a")) == b"x"


@pytest.mark.parametrize("name", ["absent", "absent/deeper", "folder"])
def test_reading_what_is_not_there_says_so(root: str, name: str) -> None:
    objects.write(objects.join(root, "folder/file"), b"x")
    uri = objects.join(root, name)
    for attempt in (objects.read, objects.size, objects.localize):
        with pytest.raises(MissingArtifact, match="nothing lies there") as caught:
            attempt(uri)
        assert uri in str(caught.value)


def test_localise_gives_a_file_with_the_content(root: str) -> None:
    uri, data = objects.join(root, "shard"), b"pixels" * 1000
    objects.write(uri, data)
    assert objects.localize(uri).read_bytes() == data
    assert objects.localize(uri, hashlib.sha256(data).hexdigest()).read_bytes() == data


def test_localise_refuses_content_with_another_checksum(root: str) -> None:
    uri, promised = objects.join(root, "shard"), hashlib.sha256(b"good").hexdigest()
    objects.write(uri, b"bad")
    with pytest.raises(DamagedArtifact) as caught:
        objects.localize(uri, promised)
    for part in (uri, promised, hashlib.sha256(b"bad").hexdigest(), "compute it again"):
        assert part in str(caught.value)


def test_localise_without_a_checksum_follows_the_content(root: str) -> None:
    uri = objects.join(root, "list.json")
    for data in (b"[1, 2]", b"[3, 4]"):
        objects.write(uri, data)
        assert objects.localize(uri).read_bytes() == data


def test_a_usable_root_passes_the_check_and_stays_empty(root: str) -> None:
    objects.check_storage(root)
    assert objects.children(root) == []
