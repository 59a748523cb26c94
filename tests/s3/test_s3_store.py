"""What only S3 can get wrong: credentials, buckets, endpoints, conditions, the cache, forks."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import s3fs
from botocore.exceptions import ClientError
from fixtures_s3 import S3Server

from bilp.errors import StorageError, StorageMisconfigured
from bilp.storage import objects, s3, s3_client, transient
from bilp.storage.verification import file_digest

pytestmark = pytest.mark.s3


def test_a_store_without_conditional_writes_is_refused_with_the_remedy(s3_environment: S3Server) -> None:
    root = f"s3://{s3_environment.forgetful_bucket}/store"
    with pytest.raises(StorageError, match=r"ignores the condition If-None-Match.*set AWS_ENDPOINT_URL to a store with conditional writes"):
        objects.check_storage(root)
    assert objects.children(root) == []


def test_a_missing_bucket_is_named(s3_environment: S3Server) -> None:
    root = "s3://no-such-bucket/store"
    for attempt in (objects.check_storage, objects.children, objects.read, objects.delete):
        with pytest.raises(StorageError, match=r"the bucket does not exist at http.*create it") as caught:
            attempt(root)
        assert root in str(caught.value)
        assert type(caught.value) is StorageMisconfigured
    for place in (root, "s3://no-such-bucket"):
        assert not objects.exists(place)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", r"refuses the credentials \(SignatureDoesNotMatch\)"),
        ("AWS_ACCESS_KEY_ID", "nobody:here", r"refuses the credentials|denies access"),
        ("AWS_SECRET_ACCESS_KEY", None, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_credentials_are_named(s3_root: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, remedy: str) -> None:
    if value is None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=remedy):
        objects.check_storage(s3_root)
    with pytest.raises(StorageError, match=s3_root):
        objects.exists(objects.join(s3_root, "a"))


def test_an_endpoint_that_does_not_answer_is_named(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    minutes = itertools.count(0, 60)
    monkeypatch.setattr(transient, "outage", transient.Outage(clock=lambda: next(minutes), sleep=lambda seconds: None))
    with pytest.raises(StorageError, match=f"no answer from {endpoint}: start the service, or correct AWS_ENDPOINT_URL"):
        objects.check_storage(s3_root)


def test_the_endpoint_for_s3_alone_goes_first(s3_root: str, s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_environment.endpoint)
    objects.check_storage(s3_root)
    assert objects.children(s3_root) == [], "the store answered, and the check left nothing there"


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("http://127.0.0.1:9000", "when_required"), ("https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com", None), (None, None)],
)
def test_only_self_hosted_stores_get_older_checksums(endpoint: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"AWS_REGION": "eu-west-1", **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})}
    monkeypatch.setattr(os, "environ", environment)
    s3_client.prepare_environment()
    assert environment.get("AWS_REQUEST_CHECKSUM_CALCULATION") == expected
    assert environment.get("AWS_RESPONSE_CHECKSUM_VALIDATION") == expected
    assert environment.get("AWS_EC2_METADATA_DISABLED") == ("true" if expected else None)
    assert environment["AWS_DEFAULT_REGION"] == "eu-west-1"


def test_what_the_user_set_stays(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    objects.write(objects.join(s3_root, "a"), b"x")
    assert objects.read(objects.join(s3_root, "a")) == b"x"
    assert os.environ["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_supported"


def answer_with_conflicts(monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """Answer the first conditional writes as AWS does while another one is under way; returns the list of all attempts."""
    client, attempts = s3_client.files(), []
    original = client.pipe_file

    def pipe_file(path: str, data: bytes, **options: Any) -> Any:
        attempts.append(path)
        if len(attempts) <= times:
            raise OSError("conflict") from ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")
        return original(path, data, **options)

    monkeypatch.setattr(client, "pipe_file", pipe_file)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return attempts


def test_create_tries_again_while_another_creation_is_under_way(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = answer_with_conflicts(monkeypatch, times=2)
    uri = objects.join(s3_root, "a")
    assert objects.create(uri, b"x")
    assert len(attempts) == 3
    assert not objects.create(uri, b"y")
    assert objects.read(uri) == b"x"


def test_create_gives_up_on_endless_conflicts(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = answer_with_conflicts(monkeypatch, times=1000)
    with pytest.raises(StorageError, match="cannot create"):
        objects.create(objects.join(s3_root, "a"), b"x")
    assert len(attempts) == s3.CONFLICT_RETRIES


def test_create_refuses_what_would_need_several_requests(s3_root: str) -> None:
    with pytest.raises(StorageError, match="too many for one conditional write"):
        objects.create(objects.join(s3_root, "a"), bytes(s3.LARGEST_CREATE + 1))
    assert objects.children(s3_root) == []


def test_a_large_object_is_read_in_one_version(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger objects than the client's block are otherwise read as parallel ranges."""
    monkeypatch.setattr(s3_client.files(), "default_block_size", 1 << 16)
    uri, versions = objects.join(s3_root, "a"), [bytes([value]) * (1 << 20) for value in (1, 2)]
    objects.write(uri, versions[0])
    done = threading.Event()

    def overwrite() -> None:
        for turn in range(10):
            objects.write(uri, versions[turn % 2])
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


def test_a_large_file_is_uploaded_in_parts(s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: 5 << 20)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20) * 12)
    uri, checksum = objects.join(s3_root, "large"), file_digest(source)
    objects.upload(source, uri)
    assert objects.size(uri) == 12 << 20
    assert objects.localize(uri, checksum).read_bytes() == source.read_bytes()


def test_the_cache_is_keyed_by_content(s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, checksum = b"shared content", hashlib.sha256(b"shared content").hexdigest()
    one, two = objects.join(s3_root, "one"), objects.join(s3_root, "two")
    objects.write(one, data)
    copy = objects.localize(one, checksum)
    assert copy.is_relative_to(tmp_path / "cache")
    objects.delete(one)
    assert objects.localize(one, checksum) == copy == objects.localize(two, checksum)
    assert {path.stem for path in (tmp_path / "cache").rglob("*") if path.is_file()} == {checksum}


def test_a_damaged_copy_in_the_cache_is_fetched_again(s3_root: str) -> None:
    uri, checksum = objects.join(s3_root, "a"), hashlib.sha256(b"good").hexdigest()
    objects.write(uri, b"good")
    copy = objects.localize(uri, checksum)
    copy.write_bytes(b"evil!")
    assert objects.localize(uri, checksum).read_bytes() == b"good"


def test_a_refused_download_leaves_nothing_in_the_cache(s3_root: str, tmp_path: Path) -> None:
    uri = objects.join(s3_root, "a")
    objects.write(uri, b"evil")
    with pytest.raises(StorageError, match="is damaged"):
        objects.localize(uri, hashlib.sha256(b"good").hexdigest())
    assert not any(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()), "locks are empty"


def test_a_cache_that_cannot_be_written_is_named(s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BILP_CACHE", str(tmp_path / "file"))
    objects.write(objects.join(s3_root, "a"), b"x")
    with pytest.raises(StorageError, match=r"cannot use .*file.* for copies.*set BILP_CACHE"):
        objects.localize(objects.join(s3_root, "a"))


def test_a_whole_bucket_is_never_deleted(s3_root: str, s3_environment: S3Server) -> None:
    objects.write(objects.join(s3_root, "a"), b"x")
    with pytest.raises(StorageError, match="a whole bucket is never deleted"):
        objects.delete(f"s3://{s3_environment.bucket}")
    assert objects.read(objects.join(s3_root, "a")) == b"x"


def test_what_another_client_does_is_seen_at_once(s3_root: str, s3_environment: S3Server) -> None:
    other = s3fs.S3FileSystem(endpoint_url=s3_environment.endpoint, skip_instance_cache=True)
    uri = objects.join(s3_root, "folder/a")
    assert objects.children(s3_root) == []
    assert not objects.exists(uri)
    other.pipe_file(uri, b"long content")
    assert objects.children(s3_root) == ["folder"]
    assert objects.children(objects.join(s3_root, "folder")) == ["a"]
    assert objects.exists(uri)
    other.pipe_file(uri, b"short")
    assert objects.size(uri) == 5
    other.rm_file(uri)
    assert not objects.exists(uri)
    assert objects.children(s3_root) == []


OTHER_PROCESSES = """
import os, sys
from bilp.storage import objects as storage, transient

root = sys.argv[1]
storage.write(storage.join(root, "before"), b"parent")
children = []
for index in range(3):
    child = os.fork()
    if not child:
        os._exit(10 + storage.create(storage.join(root, "race"), b"%d" % index) if storage.read(storage.join(root, "before")) else 1)
    children.append(child)
print(sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
print(storage.children(root))
"""


def test_a_forked_process_uses_a_client_of_its_own(s3_root: str) -> None:
    done = subprocess.run([sys.executable, "-c", OTHER_PROCESSES, s3_root], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["[10, 10, 11]", "['before', 'race']"]
