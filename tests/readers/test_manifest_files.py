"""What a manifest may hold, whatever the kind of its artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tiny_world import World, edit

from bilp.artifacts.artifact import find, is_whole, manifest_kind, open_artifact
from bilp.artifacts.manifest_file import MANIFEST
from tasks.outcome import published_since

KIND, SHA = "robustness", "0" * 64
Change = Callable[[dict[str, Any]], object]


def with_(**values: Any) -> Change:
    return lambda manifest: manifest.update(values)


def files(*names: str, **entry: Any) -> Change:
    return with_(files={name: {"sha256": SHA, "size": 0} | entry for name in names})


WRONG: dict[str, tuple[Change, str]] = {
    "kind of another type": (with_(kind=3), "kind: Input should be a valid string"),
    "kind with a line break": (with_(kind="a\nb"), "kind: String should match"),
    "key of another type": (with_(key=None), "key: Input should be a valid string"),
    "key that is a path": (with_(key="../x"), "key: String should match"),
    "time without offset": (with_(created_at="2026-01-31T12:00:00"), "created_at: a date and time with its offset"),
    "time that is a word": (with_(created_at="yesterday"), "created_at: a date and time with its offset"),
    "time that is a number": (with_(created_at=1769860800), "created_at: Input should be a valid string"),
    "month 13": (with_(created_at="2026-13-31T12:00:00+00:00"), "created_at: .*month"),
    "offset of 99 hours": (with_(created_at="2026-01-31T12:00:00+99:00"), "created_at: "),
    "parents that are a list": (with_(parents=[]), "parents: Input should be (an object|a valid dictionary)"),
    "a parent with NUL": (with_(parents={"dataset": "a\0b"}), "parents.dataset: no path and no address holds NUL"),
    "a parent of 5000 letters": (with_(parents={"dataset": "a" * 5000}), "parents.dataset: String should have at most 4096"),
    "facts that are text": (with_(facts="none"), "facts: Input should be (an object|a valid dictionary)"),
    "config that is a list": (with_(config=[1]), "config: Input should be (an object|a valid dictionary)"),
    "a field of a later version": (with_(signed=True), "signed: this version knows nothing of that name"),
    "no files": (lambda manifest: manifest.pop("files"), "files: Field required"),
    "a file above": (files("../x"), r"files\.\.\./x.*: a name below the artifact is expected"),
    "a file with .. inside": (files("a/../../x"), "a name below the artifact is expected"),
    "an absolute file": (files("/etc/passwd"), "a name below the artifact is expected"),
    "a file with NUL": (files("a\0b"), "a name below the artifact is expected"),
    "a file of 5000 letters": (files("a" * 5000), "a name below the artifact is expected"),
    "a file with no name": (files(""), "a name below the artifact is expected"),
    "a file with two slashes": (files("a//b"), "a name below the artifact is expected"),
    "a file with .": (files("./a"), "a name below the artifact is expected"),
    "a hidden file": (files(".hidden"), "a name below the artifact is expected"),
    "a file with a backslash": (files("..\\x"), "a name below the artifact is expected"),
    "the manifest itself": (files(MANIFEST), "a name below the artifact is expected"),
    "files that differ in capitals": (files("a.bin", "A.bin"), "differ in capital letters alone"),
    "a short digest": (files("a", sha256="0" * 63), "sha256: String should match"),
    "a digest in capitals": (files("a", sha256="A" * 64), "sha256: String should match"),
    "a digest with a line break": (files("a", sha256="0" * 64 + "\n"), "sha256: String should match"),
    "a negative size": (files("a", size=-1), "size: Input should be greater than or equal to 0"),
    "a size that is text": (files("a", size="5"), "size: Input should be a valid integer"),
    "a size that is true": (files("a", size=True), "size: Input should be a valid integer"),
    "half a byte": (files("a", size=0.5), "size: Input should be a valid integer"),
}


@pytest.mark.parametrize(("change", "pattern"), WRONG.values(), ids=WRONG)
def test_a_manifest_with_one_wrong_field_is_refused_in_one_line(
    world: World, refused: Callable[..., str], change: Change, pattern: str
) -> None:
    uri = world.artifacts[KIND]
    edit(uri, change)
    line = refused(lambda: open_artifact(uri, KIND), f"cannot be read .*{pattern}")
    assert f"delete {uri}" in line and "open it with the version of bilp that wrote it" in line


def replaced(one: bytes, other: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(one, other, 1)


TEXTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "40 MB": (lambda data: data + b" " * 40_000_000, "at most 33,554,432 are read"),
    "20,000 levels": (replaced(b'"config": {', b'"config": {"a":' + b"[" * 20_000 + b"]" * 20_000 + b","), "64 deep"),
    "100 levels": (replaced(b'"config": {', b'"config": {"a":' + b"[" * 100 + b"]" * 100 + b","), "64 deep"),
    "100 levels of objects": (replaced(b'"config": {', b'"config": {"a":' + b'{"a":' * 100 + b"1" + b"}" * 100 + b","), "64 deep"),
    "a key twice": (replaced(b'"kind":', b'"kind": "report", "kind":'), "the key 'kind' twice"),
    "a key twice inside": (replaced(b'"config": {', b'"config": {"weight": 1, "weight": 1,'), "the key 'weight' twice"),
    "NaN": (replaced(b'"config": {', b'"config": {"a": NaN,'), "NaN is no number"),
    "Infinity": (replaced(b'"config": {', b'"config": {"a": -Infinity,'), "-Infinity is no number"),
    "a number beyond floats": (replaced(b'"config": {', b'"config": {"a": 1e999,'), "1e999 is beyond the range"),
    "a number of 5000 digits": (replaced(b'"config": {', b'"config": {"a": ' + b"9" * 5000 + b","), "limit"),
    "half a surrogate pair": (replaced(b'"config": {', b'"config": {"a": "\\ud800",'), "surrogate"),
    "no UTF-8": (replaced(b'"config": {', b'"config": {"\xff": 1,'), "is no UTF-8"),
    "a byte order mark": (lambda data: b"\xef\xbb\xbf" + data, "BOM"),
    "nothing": (lambda data: b"", "Expecting value"),
    "half": (lambda data: data[: len(data) // 2], "line"),
    "a list": (lambda data: b"[]", "valid dictionary|an object"),
    "null": (lambda data: b"null", "valid dictionary|an object"),
    "two objects": (lambda data: data + data, "Extra data"),
}


@pytest.mark.parametrize(("change", "pattern"), TEXTS.values(), ids=TEXTS)
def test_a_manifest_that_is_no_regular_json_is_refused_by_everybody_who_reads_it(
    world: World, refused: Callable[..., str], change: Callable[[bytes], bytes], pattern: str
) -> None:
    uri = world.artifacts[KIND]
    path = Path(uri) / MANIFEST
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    began = datetime.now(UTC)
    for read in (
        lambda: open_artifact(uri, KIND),
        lambda: find(uri, KIND),
        lambda: is_whole(uri),
        lambda: manifest_kind(uri),
        lambda: published_since(uri, began),
    ):
        refused(read, f"(cannot be read|has [0-9,]+ bytes).*({pattern})")


def test_what_manifests_are_written_as_is_read(world: World) -> None:
    uri = world.artifacts[KIND]
    path = Path(uri) / MANIFEST
    for created in ("2026-01-31T12:00:00+00:00", "2026-01-31T12:00:00.123456+05:30", "2026-01-31T12:00:00Z"):
        edit(uri, with_(created_at=created))
        assert open_artifact(uri, KIND).manifest.created_at == created
        assert not published_since(uri, datetime.now(UTC))
    content = json.loads(path.read_bytes())
    content["files"] |= {"deep/er/b.bin": {"sha256": SHA, "size": 0}}
    content["config"] |= {"umlaut": "\u00e4\U0001f600", "deep": [[[[1]]]], "large": 10**300, "nothing": None}
    for ascii_only in (True, False):
        path.write_text(json.dumps(content, ensure_ascii=ascii_only), encoding="utf-8")
        assert open_artifact(uri, KIND).manifest.config["umlaut"] == "\u00e4\U0001f600"


def test_an_artifact_in_the_folder_of_another_key_is_refused(world: World, refused: Callable[..., str]) -> None:
    one, other = world.artifacts["selection"], world.artifacts["selection other"]
    Path(one, MANIFEST).write_bytes(Path(other, MANIFEST).read_bytes())
    refused(lambda: open_artifact(one, "selection"), f"holds the artifact of key {other.rpartition('/')[2]}: move it")
