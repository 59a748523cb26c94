from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.errors import ImpossibleUri
from bilp.storage import objects

NAMES = st.text(st.characters(whitelist_categories=("Ll", "Nd"), whitelist_characters="=-_ "), min_size=1, max_size=12)


@pytest.mark.parametrize("base", ["s3://bucket/prefix", "s3://bucket", "/data/store", "file:///data/store", "relative"])
@settings(deadline=None, max_examples=30)
@given(parts=st.lists(NAMES, min_size=1, max_size=4))
def test_join_appends_names(base: str, parts: list[str]) -> None:
    joined = objects.join(base, *parts)
    assert joined == objects.join(f"{base}/", "/".join(parts))
    assert joined == base + "/" + "/".join(parts)


@pytest.mark.parametrize("part", ["", ".", "..", "a//b", "/a", "a/", "a/../b"])
def test_join_refuses_parts_that_lead_elsewhere(part: str) -> None:
    with pytest.raises(ImpossibleUri, match="is not a name below"):
        objects.join("s3://bucket/prefix", part)


def test_the_same_place_by_path_and_by_file_uri(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    objects.write(objects.join(str(folder), "a"), b"x")
    assert objects.read(objects.join(folder.as_uri(), "a")) == b"x"
    assert objects.read(f"file://localhost{folder.as_uri()[len('file://') :]}/a") == b"x"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://", "names no bucket"),
        ("s3:///", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://bucket//prefix/", "write s3://bucket/prefix"),
        ("s3://bucket/a/../b", "write s3://bucket/a/b"),
        ("s3://bucket/./b", "write s3://bucket/b"),
        ("s3:/bucket/prefix", "one slash after the scheme"),
        ("gs://bucket/a", "unknown scheme gs://"),
        ("file://elsewhere/a", "not a local path"),
    ],
)
def test_uris_that_lead_nowhere_are_named(uri: str, reason: str) -> None:
    for attempt in (objects.read, objects.children, objects.check_storage):
        with pytest.raises(ImpossibleUri, match=reason):
            attempt(uri)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, "{here}/bilp-storage"),
        ("", "{here}/bilp-storage"),
        ("out/../kept", "{here}/kept"),
        ("file:///data/store/", "/data/store"),
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
        ("s3://bucket", "s3://bucket"),
    ],
)
def test_storage_root_comes_from_the_environment(
    setting: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if setting is None:
        monkeypatch.delenv("BILP_STORAGE", raising=False)
    else:
        monkeypatch.setenv("BILP_STORAGE", setting)
    assert objects.storage_root() == expected.format(here=tmp_path)


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BILP_STORAGE", "~/store")
    assert objects.storage_root() == str(tmp_path / "store")


def test_local_use_does_not_load_the_s3_client(tmp_path: Path) -> None:
    program = f"""
import sys
from bilp.storage import objects as storage
storage.write({str(tmp_path / "a")!r}, b"x")
storage.check_storage({str(tmp_path)!r})
print(sorted(name for name in ("s3fs", "fsspec", "botocore", "torch") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("s3://bucket/prefix//", "s3://bucket/prefix"),
        ("S3://bucket", "s3://bucket"),
        (Path("s3://bucket/prefix"), "s3://bucket/prefix"),
        (Path("/data/store"), "/data/store"),
        (Path("store"), "{here}/store"),
        ("./store/", "{here}/store"),
        ("file:///data/store/", "/data/store"),
    ],
)
def test_a_place_is_written_in_one_way(given: objects.Uri, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert objects.as_uri(given) == uri.format(here=tmp_path)
    assert objects.as_uri(objects.as_uri(given)) == objects.as_uri(given)


@pytest.mark.parametrize("given", ["", 3, None, b"/data"])
def test_what_names_no_place_is_refused(given: object) -> None:
    with pytest.raises(ImpossibleUri, match="give a path or s3://bucket/prefix"):
        objects.as_uri(given)  # type: ignore[arg-type]
