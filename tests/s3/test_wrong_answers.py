"""One wrong answer on the way to S3 is asked for again; only what comes twice is a verdict. Right answers cost no request more."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wrong_answers as wrong
from fixtures_s3 import S3Server
from wrong_answers import Change, Fault, Proxy

from bilp.artifacts.artifact import check_sizes, find, is_whole, open_artifact
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.publication import publish
from bilp.errors import DamagedArtifact, MissingArtifact, StorageError
from bilp.storage import etags, objects, s3_client

pytestmark = pytest.mark.s3

KEY = "0123456789abcdef"
DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def running(s3_server: S3Server) -> Iterator[Proxy]:
    """One for all tests here, which then share a client."""
    with wrong.proxy(s3_server.endpoint) as found:
        yield found


@pytest.fixture
def between(running: Proxy, s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """A proxy between this test and the store."""
    monkeypatch.setattr(etags, "_others", set())
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return running


@pytest.fixture
def uri(between: Proxy, s3_root: str) -> str:
    """An artifact with a file `data`."""
    return publish(objects.join(s3_root, KEY), "thing", KEY, {"data": DATA, "deep/er": b"x"}, config={}, parents={}).uri


def data(uri: str) -> str:
    return objects.join(uri, "data")


def artifact(uri: str) -> Any:
    return find(uri, "thing", KEY)


# What is asked, which request is answered wrongly (its methods and a part of its path), and what comes of a right answer.
Question = tuple[Callable[[str], object], tuple[str, ...], str, object]
OBJECTS: dict[str, Question] = {
    "read": (lambda uri: objects.read(data(uri)), ("GET",), "/data", DATA),
    "read what must be there": (lambda uri: objects.read(data(uri), expected=True), ("GET",), "/data", DATA),
    "file of an artifact": (lambda uri: artifact(uri).read("data"), ("GET",), "/data", DATA),
    "copy of a file of an artifact": (lambda uri: artifact(uri).local("data").read_bytes(), ("GET",), "/data", DATA),
    "copy without a checksum": (lambda uri: objects.localize(data(uri)).read_bytes(), ("GET",), "/data", DATA),
    "manifest": (lambda uri: artifact(uri).manifest.key, ("GET",), MANIFEST, KEY),
    "manifest of what must be there": (lambda uri: open_artifact(uri, "thing").manifest.key, ("GET",), MANIFEST, KEY),
}
FACTS: dict[str, Question] = {
    "size": (lambda uri: objects.size(data(uri)), ("HEAD",), "/data", len(DATA)),
    "copy without a checksum": (lambda uri: objects.localize(data(uri)).read_bytes(), ("HEAD",), "/data", DATA),
    "exists": (lambda uri: objects.exists(data(uri)), ("HEAD",), "/data", True),
}
LISTINGS: dict[str, Question] = {
    "sizes": (is_whole, ("GET",), "list-type", True),
    "sizes of several": (lambda uri: check_sizes(uri, [artifact(uri)]), ("GET",), "list-type", None),
    "children": (objects.children, ("GET",), "list-type", [MANIFEST, "data", "deep"]),
    "exists": (objects.exists, ("GET",), "list-type", True),
}
ANYWHERE: list[Change] = [wrong.not_found, wrong.login_page, wrong.elsewhere, wrong.forbidden]
BODIES: list[Change] = [wrong.flipped, wrong.halved, wrong.broken_off, wrong.disguised_page, wrong.other_etag, wrong.part]
ABSENCE_IS_AN_ANSWER = ("read", "manifest")  # to these questions; what asks for more is asked twice

ONCE = [
    *((name, question, change) for name, question in OBJECTS.items() for change in [*ANYWHERE, *BODIES]),
    *((name, question, wrong.not_there) for name, question in OBJECTS.items() if name not in ABSENCE_IS_AN_ANSWER),
    *((name, question, change) for name, question in FACTS.items() for change in [*ANYWHERE, wrong.not_there]),
    *((name, question, change) for name, question in LISTINGS.items() for change in ANYWHERE),
    *((name, LISTINGS[name], wrong.empty_listing) for name in ("sizes", "sizes of several")),
]


@pytest.mark.slow
def test_one_wrong_answer_is_asked_for_again(uri: str, between: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (name, (ask, methods, where, right), change) in enumerate(ONCE):
        monkeypatch.setenv("BILP_CACHE", str(tmp_path / f"cache {number}"))
        with between.answering(Fault(methods, where, change, times=1)) as fault:
            assert (ask(uri), fault.hits) == (right, 1), (name, change.__name__)
    assert len(ONCE) > 90


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (wrong.flipped, DamagedArtifact, "data is damaged"),
        (wrong.halved, DamagedArtifact, "data is damaged"),
        (wrong.disguised_page, DamagedArtifact, "data is damaged"),
        (wrong.not_there, DamagedArtifact, "found no file"),
        (wrong.login_page, StorageError, "is no S3 store .a proxy, or a network that wants a login"),
        (wrong.elsewhere, StorageError, "is no S3 store"),
        (wrong.part, StorageError, "is no S3 store"),
    ],
)
def test_what_comes_again_and_again_is_a_verdict(uri: str, between: Proxy, change: Change, kind: type[StorageError], told: str) -> None:
    """And nobody is told to delete an artifact because of what is between here and the store."""
    with between.answering(Fault(("GET",), "/data", change, times=100)):
        for ask in (lambda: artifact(uri).read("data"), lambda: artifact(uri).local("data")):
            with pytest.raises(StorageError, match=told) as caught:
                ask()
            assert type(caught.value) is kind
            assert ("delete" in str(caught.value)) == (kind is DamagedArtifact)
    with between.answering(Fault(("GET",), MANIFEST, change, times=100)), pytest.raises(StorageError) as caught:
        open_artifact(uri, "thing")
    assert ("delete" in str(caught.value)) == (change in (wrong.flipped, wrong.halved, wrong.disguised_page))
    assert artifact(uri).read("data") == DATA


def test_a_copy_without_a_checksum_is_never_what_came_wrongly(uri: str, between: Proxy, tmp_path: Path) -> None:
    with between.answering(Fault(("GET",), "/data", wrong.halved, times=100)), pytest.raises(StorageError, match="5120 bytes arrived of"):
        objects.localize(data(uri))
    assert not any(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()), "nothing stays but a lock"
    assert objects.localize(data(uri)).read_bytes() == DATA


def test_where_etags_are_something_else_two_equal_answers_are_right(uri: str, between: Proxy) -> None:
    """As with encryption by keys of one's own: the ETag looks like an MD5."""
    with between.answering(Fault(("GET", "HEAD"), "/data", wrong.other_etag, times=100)):
        with between.counted() as requests:
            assert objects.read(data(uri)) == DATA
        assert requests == ["GET", "GET"], "the first of a bucket is asked for twice"
        with between.counted() as requests:
            assert objects.read(data(uri)) == objects.localize(data(uri)).read_bytes() == DATA
        assert requests == ["GET", "HEAD", "GET"]


def test_two_answers_that_differ_are_none(uri: str, between: Proxy) -> None:
    numbers = iter(range(100))

    def noise(answer: wrong.Answer) -> wrong.Answer:
        return wrong.replace(answer, body=bytes([next(numbers)]) * len(answer.body))

    with (
        between.answering(Fault(("GET",), "/data", noise, times=100)),
        pytest.raises(StorageError, match="two answers .* differ") as caught,
    ):
        objects.read(data(uri))
    assert type(caught.value) is StorageError, "that may pass"


def test_what_a_proxy_makes_of_ranges_is_fetched_at_once(uri: str, between: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something between that hands out another part than was asked for, less of it, the whole, or parts of several versions."""
    monkeypatch.setattr(s3_client, "PIECE", 1 << 12)
    whole, tags = artifact(uri), itertools.count()
    changes: list[Change] = [
        wrong.flipped,
        wrong.halved,
        lambda answer: answer.having(content_range=None),
        lambda answer: answer.having(content_range=f"bytes 0-4095/{len(DATA)}"),
        lambda answer: answer.having(etag=f'"{next(tags):032x}"'),
        lambda answer: wrong.replace(answer, status=200, body=DATA).having(content_range=None),
    ]
    for number, change in enumerate(changes):
        monkeypatch.setenv("BILP_CACHE", str(tmp_path / f"cache {number}"))
        fault = Fault(("GET",), "/data", lambda answer, change=change: change(answer) if answer.status == 206 else answer, times=100)
        with between.answering(fault):
            assert whole.local("data").read_bytes() == DATA
            assert objects.localize(data(uri)).read_bytes() == DATA
            with whole.fetched("data") as file:
                assert file.read_bytes() == DATA


def test_what_is_large_comes_in_pieces(uri: str, between: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "PIECE", 3000)
    whole = artifact(uri)
    with between.counted() as requests:
        assert whole.local("data").read_bytes() == DATA
    assert requests == ["GET"] * -(-len(DATA) // 3000)


def test_an_answer_to_a_write_that_is_not_the_stores_is_no_success(uri: str, between: Proxy) -> None:
    new = objects.join(uri, "new")
    with between.answering(Fault(("PUT",), "/new", wrong.login_page, times=1)), pytest.raises(StorageError, match="is no S3 store"):
        objects.create(new, b"x")


def listing(*keys: str, more: str = "") -> Change:
    """A listing with these keys below the artifact beside what is there."""

    def change(answer: wrong.Answer) -> wrong.Answer:
        text = answer.body.decode()
        prefix = text.partition("<Prefix>")[2].partition("</Prefix>")[0]
        date = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        one = f"<Contents><Key>{{}}</Key>{date}<ETag>&quot;0&quot;</ETag><Size>1</Size></Contents>"
        added = "".join(one.format(key if key.startswith("!") else prefix + key).replace("!", "") for key in keys)
        if more:
            text = text.replace("<IsTruncated>false", "<IsTruncated>true")
            added += f"<NextContinuationToken>{more}</NextContinuationToken>"
        return wrong.replace(answer, body=text.replace("</ListBucketResult>", f"{added}</ListBucketResult>").encode())

    return change


def pages(names: list[str], token: Callable[[int], str]) -> Change:
    """Listings of a thousand of these names each; `token` leads from a page to the next one, which the store knows nothing of."""
    first: list[wrong.Answer] = []

    def change(answer: wrong.Answer) -> wrong.Answer:
        first.append(answer)
        start = 1000 * (len(first) - 1)
        return listing(*names[start : start + 1000], more=token(len(first)))(first[0])

    return change


@pytest.mark.parametrize(
    "key",
    ["..", "../up", ".", "/absolute", "a//b", "!other/place", "!/etc/passwd", "%1B%5B31m", "%0A", "data?versionId=1", "*", "deep/../../x"],
)
def test_odd_keys_in_a_listing_lead_nowhere(uri: str, between: Proxy, key: str) -> None:
    """Every name that is listed leads to something below, or is left out; sizes are of what was asked for, and nothing else is deleted."""
    beside = objects.join(uri.rpartition("/")[0], "up")
    objects.write(beside, b"kept")
    with between.answering(Fault(("GET",), "list-type", listing(key), times=100)):
        for name in objects.children(uri):
            assert objects.join(uri, name).startswith(f"{uri}/")
            assert "/" not in name
        assert set(objects.children(uri)) >= {MANIFEST, "data", "deep"}
        assert objects.sizes(uri, ["data", "deep/er"]) == {"data": len(DATA), "deep/er": 1}
        assert is_whole(uri)
    with between.answering(Fault(("GET",), "list-type", listing(key), times=1)):
        objects.delete(uri)
    assert objects.children(uri) == []
    assert objects.read(beside) == b"kept"


def test_a_listing_without_an_end_is_one_error(uri: str, between: Proxy) -> None:
    with between.answering(Fault(("GET",), "list-type", pages(["a"] * 1000, lambda number: "the-same"), times=1000)) as fault:
        for ask in (objects.children, lambda uri: objects.sizes(uri, ["data"]), objects.delete):
            with pytest.raises(StorageError, match="has no end"):
                ask(uri)
    assert fault.hits < 20
    assert is_whole(uri)


def test_a_long_listing_is_read_to_its_end(uri: str, between: Proxy) -> None:
    names = [f"n{number}" for number in range(4000)]
    with between.answering(Fault(("GET",), "list-type", pages(names, lambda number: f"token-{number}" if number < 4 else ""), times=4)):
        assert len(objects.children(uri)) == 4003


def test_what_lies_below_is_found_behind_any_number_of_names_that_begin_alike(uri: str, between: Proxy) -> None:
    def full(answer: wrong.Answer) -> wrong.Answer:
        empty = re.sub(rb"<CommonPrefixes>.*</CommonPrefixes>", b"", answer.body)
        return listing(*(f"-{number}" for number in range(1000)), more="token")(wrong.replace(answer, body=empty))

    for name, found in (("deep", True), ("absent", False)):
        with between.answering(Fault(("GET",), "delimiter=/", full, times=1)) as fault:
            assert objects.exists(objects.join(uri, name)) == found
            assert fault.hits == 1


def test_another_region_is_named_and_no_other_host_is_asked(uri: str, between: Proxy) -> None:
    body = (
        b"<?xml version='1.0'?><Error><Code>PermanentRedirect</Code><Message>Use the specified endpoint.</Message>"
        b"<Endpoint>bucket.s3.example.invalid</Endpoint></Error>"
    )

    def moved(answer: wrong.Answer) -> wrong.Answer:
        return wrong.Answer(301, (("Location", "http://bucket.s3.example.invalid/data"), ("x-amz-bucket-region", "eu-west-9")), body)

    with between.answering(Fault(("GET", "HEAD"), "", moved, times=1000)), pytest.raises(StorageError, match="AWS_DEFAULT_REGION"):
        objects.read(data(uri))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirection_is_followed(uri: str, between: Proxy, s3_environment: S3Server, status: int) -> None:
    """The other host would get the content, and a temporary key."""

    def away(answer: wrong.Answer) -> wrong.Answer:
        return wrong.Answer(status, (("Location", f"{other.url}/anything"),), b"")

    with wrong.proxy(s3_environment.endpoint) as other, between.answering(Fault(("GET", "HEAD", "PUT"), "", away, times=1000)):
        for ask in (objects.read, objects.size, objects.children, lambda uri: objects.write(uri, b"content")):
            with pytest.raises(StorageError):
                ask(data(uri))
        assert other.requests == []


@pytest.mark.parametrize("name", ["star*", "question?", "[brackets]", "{braces}"])
def test_a_name_that_others_take_for_a_pattern_deletes_nothing_else(s3_root: str, name: str) -> None:
    for key in (name, f"{name}/below", "starfish", "questions", "b", "braces"):
        objects.write(objects.join(s3_root, key), b"x")
    objects.delete(objects.join(s3_root, name))
    assert objects.children(s3_root) == ["b", "braces", "questions", "starfish"]


def test_right_answers_cost_no_more_requests_than_they_must(uri: str, between: Proxy, s3_root: str) -> None:
    def asked(question: Callable[[], object]) -> list[str]:
        with between.counted() as requests:
            question()
        return requests

    whole = artifact(uri)
    assert asked(lambda: objects.read(data(uri))) == ["GET"]
    assert asked(lambda: whole.read("data")) == ["GET"]
    assert asked(lambda: objects.localize(data(uri))) == ["HEAD", "GET"]
    assert asked(lambda: objects.localize(data(uri))) == ["HEAD"]
    assert asked(lambda: whole.local("data")) == [], "the same content is there already"
    assert asked(lambda: whole.local("deep/er")) == ["GET"]
    assert asked(lambda: find(uri, "thing")) == ["GET"]
    assert asked(lambda: find(objects.join(s3_root, "absent"), "thing")) == ["GET"]
    assert asked(lambda: is_whole(uri)) == ["GET", "GET"]
    assert asked(lambda: objects.exists(data(uri))) == ["HEAD"]
    assert asked(lambda: objects.exists(objects.join(uri, "absent"))) == ["HEAD", "GET"]
    assert asked(lambda: objects.children(uri)) == ["GET"]
    assert asked(lambda: objects.create(objects.join(uri, "new"), b"x")) == ["PUT"]
    assert asked(lambda: objects.delete(objects.join(uri, "new"))) == ["GET", "HEAD", "POST", "HEAD", "GET"]
    with pytest.raises(MissingArtifact):
        objects.read(objects.join(uri, "absent"))


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_with_a_login_is_refused_without_repeating_it(s3_root: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, os.environ["AWS_ENDPOINT_URL"].replace("://", "://robot:hidden-word@"))
    with pytest.raises(StorageError, match=f"{variable} holds a login") as caught:
        objects.read(objects.join(s3_root, "a"))
    assert "hidden" not in str(caught.value)
    assert "robot" not in str(caught.value)
