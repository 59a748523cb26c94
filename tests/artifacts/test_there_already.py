"""What a stage need not compute again: it is complete, and no file of it is missing or of another size."""

from __future__ import annotations

from pathlib import Path

import pytest

from bilp.artifacts import artifact
from bilp.artifacts.artifact import check_sizes, find, is_whole, there_already
from bilp.artifacts.publication import publish
from bilp.errors import DamagedArtifact, StorageError, StorageRefused
from bilp.storage import objects

KEY = "0123456789abcdef"
FILES: dict[str, bytes | Path] = {"a.bin": b"alpha", "deep/b.bin": b"beta" * 1000, "empty": b""}


def publish_one(root: str) -> str:
    parents = {"dataset": objects.join(root, "datasets", "digits", KEY), "list": "/lists/scores.json"}
    return publish(objects.join(root, "selections", KEY), "thing", KEY, FILES, config={}, parents=parents).uri


def test_sizes_are_those_of_the_files_that_are_there(root: str) -> None:
    uri = publish_one(root)
    assert objects.sizes(uri, [*FILES, "absent", "deep"]) == {"a.bin": 5, "deep/b.bin": 4000, "empty": 0}
    assert objects.sizes(root, [f"selections/{KEY}/a.bin"]) == {f"selections/{KEY}/a.bin": 5}
    assert objects.sizes(objects.join(root, "absent"), ["a.bin"]) == {}


def test_what_is_whole_is_there_already(root: str) -> None:
    uri = publish_one(root)
    assert there_already(uri, "thing", KEY) == there_already(uri, "thing", KEY, shown=True) == find(uri, "thing")
    assert is_whole(uri)
    assert not is_whole(objects.join(root, "selections", KEY[::-1]))


@pytest.mark.parametrize(("damage", "told"), [(None, "is missing"), (b"bet", "has 3 bytes instead of 4000"), (b"", "has 0 bytes")])
def test_a_file_that_is_missing_or_of_another_size_is_named(root: str, damage: bytes | None, told: str) -> None:
    uri = publish_one(root)
    file = objects.join(uri, "deep/b.bin")
    objects.delete(file)
    if damage is not None:
        objects.write(file, damage)
    artifact = find(uri, "thing")
    assert artifact is not None
    for attempt in (
        lambda: there_already(uri, "thing", KEY),
        lambda: is_whole(uri),
        lambda: check_sizes(root, [artifact]),
        lambda: publish_one(root),
    ):
        with pytest.raises(DamagedArtifact, match=rf"{file} {told}.*: delete {uri}, and the same command will compute it again"):
            attempt()
    objects.delete(uri)
    assert there_already(publish_one(root), "thing", KEY)


def test_the_content_of_what_is_shown_is_compared_too(root: str) -> None:
    uri = publish_one(root)
    objects.write(objects.join(uri, "a.bin"), b"alphb")
    assert there_already(uri, "thing", KEY)
    with pytest.raises(DamagedArtifact, match=rf"a\.bin is damaged: .* delete {uri}, and"):
        there_already(uri, "thing", KEY, shown=True)


def test_parents_are_stored_relative_to_the_root(root: str) -> None:
    artifact = find(publish_one(root), "thing")
    assert artifact is not None
    assert artifact.manifest.parents == {"dataset": f"datasets/digits/{KEY}", "list": "/lists/scores.json"}
    assert artifact.parents == {"dataset": objects.join(root, "datasets", "digits", KEY), "list": "/lists/scores.json"}


def test_storage_is_asked_once_whether_it_takes_results_and_only_for_what_is_lacking(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_usable", set())
    asked: list[str] = []
    monkeypatch.setattr(objects, "check_storage", asked.append)
    uri = publish_one(root)
    monkeypatch.setattr(objects, "_usable", set())
    asked.clear()
    there_already(uri, "thing", KEY)
    assert asked == []
    for _ in range(2):
        assert there_already(objects.join(root, "selections", KEY[::-1]), "thing", KEY) is None
    assert asked == [root]


def test_a_refusal_is_a_word_of_its_own_and_a_failure_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bilp.storage import local

    def fails(error: OSError) -> None:
        def create(path: str, data: bytes) -> bool:
            raise error

        monkeypatch.setattr(local, "create", create)

    uri = str(tmp_path / "selections" / KEY)
    fails(PermissionError(13, "Permission denied"))
    with pytest.raises(StorageRefused, match=rf"^there is no thing at {uri} yet, and nothing .* \(Permission denied\): give this user"):
        there_already(uri, "thing", KEY)
    fails(OSError(5, "Input/output error"))
    with pytest.raises(StorageError) as caught:
        there_already(uri, "thing", KEY)
    assert type(caught.value) is StorageError
    assert artifact.manifest_kind(uri) is None


@pytest.mark.s3
def test_sizes_of_a_thousand_files_cost_a_request(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bilp.storage import s3_client

    uri = publish_one(s3_root)
    files, requests = s3_client.files(), []
    call = files._call_s3

    async def counted(method: str, *arguments: object, **options: object) -> object:
        requests.append(method)
        return await call(method, *arguments, **options)

    monkeypatch.setattr(files, "_call_s3", counted)
    assert len(objects.sizes(uri, FILES)) == 3
    assert len(requests) <= 1
