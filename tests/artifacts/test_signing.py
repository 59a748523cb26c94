"""Who can write the storage without the key makes no result that anybody with the key uses; see SECURITY.md."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bilp.artifacts.artifact import Artifact, find, is_whole, manifest_kind, open_artifact, there_already
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.publication import publish
from bilp.artifacts.run_layout import RECORD
from bilp.artifacts.signing import KEY, KEY_FILE, check, keys, sealed
from bilp.errors import ConfigError, DamagedArtifact, MissingArtifact, UntrustedArtifact
from bilp.evaluate.training_cache import Parts, Training
from bilp.maintenance.sign_storage import sign_all
from bilp.storage import objects

FIRST, SECOND = "0f" * 32, base64.b64encode(bytes(range(40))).decode()
RUN = "0123456789abcdef"
PLACE, OTHER = f"runs/{RUN}/rounds/0001", f"runs/{RUN}/rounds/0002"
Document = dict[str, Any]


def made(uri: str, loss: float = 0.5, key: str = "k1") -> Artifact:
    return publish(uri, "example", key, {"a.bin": b"alpha"}, config={}, parents={}, facts={"loss": loss})


def document(uri: str) -> Document:
    content: Document = json.loads(objects.read(objects.join(uri, MANIFEST)))
    return content


def put(uri: str, content: Document | bytes) -> None:
    objects.write(objects.join(uri, MANIFEST), content if isinstance(content, bytes) else json.dumps(content).encode())


def with_two_losses(content: Document, first: float, second: float) -> bytes:
    """A manifest that says the loss twice: which of both counts would be up to the reader."""
    text = json.dumps(content | {"facts": "HERE"})
    return text.replace('"HERE"', f'{{"loss": {first}, "loss": {second}}}').encode()


FORGERIES: dict[str, Callable[[Document, Document], Document | bytes]] = {
    "another fact": lambda ours, _: ours | {"facts": {"loss": 0.0}},
    "another checksum": lambda ours, _: ours | {"files": {"a.bin": {"sha256": "0" * 64, "size": 5}}},
    "another time": lambda ours, _: ours | {"created_at": "2020-01-01T00:00:00+00:00"},
    "no signature": lambda ours, _: {name: value for name, value in ours.items() if name != "signature"},
    "null for a signature": lambda ours, _: ours | {"signature": None},
    "an empty signature": lambda ours, _: ours | {"signature": ""},
    "letters that are not ASCII": lambda ours, _: ours | {"signature": "é" * 64},
    "half a signature": lambda ours, _: ours | {"signature": ours["signature"][:32]},
    "the signature of another place": lambda ours, other: ours | {"signature": other["signature"]},
    "the manifest of another place": lambda _, other: other,
    "a fact twice, the right one last": lambda ours, _: with_two_losses(ours, 0.0, 0.5),
    "a fact twice, the right one first": lambda ours, _: with_two_losses(ours, 0.5, 0.0),
    "a fact that is no number": lambda ours, _: ours | {"facts": {"loss": float("nan")}},
}

WRONG_IN_THEMSELVES = {name for name in FORGERIES if "twice" in name or "no number" in name}
"""What may be refused as that before anybody asks who signed it."""

READERS: dict[str, Callable[[str], object]] = {
    "find": lambda uri: find(uri, "example"),
    "there already": lambda uri: there_already(uri, "example", "k1"),
    "open": lambda uri: open_artifact(uri, "example"),
    "is whole": is_whole,
    "kind": manifest_kind,
    "publish": made,
}


@pytest.fixture
def signed(root: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage with two artifacts of one kind and key at two places, made with a key that this process has."""
    monkeypatch.setenv(KEY, FIRST)
    for place in (PLACE, OTHER):
        made(objects.join(root, place))
    return root


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_manifest_that_was_changed_without_the_key_is_refused_in_one_line(signed: str, forgery: str) -> None:
    uri = objects.join(signed, PLACE)
    put(uri, FORGERIES[forgery](document(uri), document(objects.join(signed, OTHER))))
    for reader in READERS.values():
        with pytest.raises(DamagedArtifact if forgery in WRONG_IN_THEMSELVES else UntrustedArtifact) as refused:
            reader(uri)
        told = str(refused.value)
        assert "\n" not in told
        assert uri in told
        assert "delete" in told
        assert FIRST not in told
        if isinstance(refused.value, UntrustedArtifact):
            assert "bilp sign --storage" in told


def test_what_a_process_without_the_key_or_with_another_one_publishes_is_refused(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = objects.join(root, PLACE)
    for theirs, problem in (("", "carries no signature"), (SECOND, "a signature of another key")):
        monkeypatch.setenv(KEY, theirs)
        made(uri)
        monkeypatch.setenv(KEY, FIRST)
        with pytest.raises(UntrustedArtifact, match=problem):
            made(uri)
        objects.delete(uri)


def test_what_is_signed_is_found_by_everybody_and_says_the_same(signed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = objects.join(signed, PLACE)
    assert find(ours, "example", "k1") is not None
    monkeypatch.delenv(KEY)
    theirs = made(str(tmp_path / PLACE))
    assert open_artifact(ours, "example").read("a.bin") == b"alpha", "whoever has no key reads it as it is"
    plain = objects.read(objects.join(theirs.uri, MANIFEST))
    assert plain == json.dumps(json.loads(plain), sort_keys=True, indent=1).encode(), "nothing changes without a key"
    assert "signature" not in document(theirs.uri)
    volatile = ("signature", "created_at")
    assert {name: value for name, value in document(ours).items() if name not in volatile} == {
        name: value for name, value in document(theirs.uri).items() if name not in volatile
    }


def test_a_storage_that_was_moved_is_signed_still(signed: str, tmp_path: Path) -> None:
    moved = str(tmp_path / "elsewhere" / "store")
    for name in (MANIFEST, "a.bin"):
        objects.write(objects.join(moved, PLACE, name), objects.read(objects.join(signed, PLACE, name)))
    assert open_artifact(objects.join(moved, PLACE), "example").read("a.bin") == b"alpha"


def test_what_lies_in_no_place_of_the_layout_is_signed_for_where_it_lies(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, FIRST)
    made(objects.join(root, "here"))
    put(objects.join(root, "there"), document(objects.join(root, "here")))
    assert find(objects.join(root, "here"), "example") is not None
    with pytest.raises(UntrustedArtifact, match="moved"):
        find(objects.join(root, "there"), "example")


def test_a_limit_an_older_manifest_of_the_same_place_can_be_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SECURITY.md says so: nobody remembers which of two signed results of one key came last."""
    monkeypatch.setenv(KEY, FIRST)
    uri = str(tmp_path / PLACE)
    made(uri, loss=0.5)
    old = document(uri)
    objects.delete(uri)
    made(uri, loss=0.25)
    put(uri, old)
    assert open_artifact(uri, "example").fact("loss") == 0.5


def test_the_first_key_signs_and_all_of_them_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = str(tmp_path / PLACE), str(tmp_path / OTHER)
    monkeypatch.setenv(KEY, FIRST)
    made(old)
    monkeypatch.setenv(KEY, f"{SECOND}, {FIRST}")
    made(new)
    assert find(old, "example") is not None
    assert find(new, "example") is not None
    monkeypatch.setenv(KEY, SECOND)
    assert find(new, "example") is not None
    with pytest.raises(UntrustedArtifact):
        find(old, "example")
    monkeypatch.setenv(KEY, f"{SECOND},{FIRST}")
    assert sign_all(tmp_path) == [objects.join(old, MANIFEST)], "what the first key signed stays as it is"
    monkeypatch.setenv(KEY, SECOND)
    assert find(old, "example") is not None


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (FIRST, [bytes.fromhex(FIRST)]),
        (FIRST.upper(), [bytes.fromhex(FIRST)]),
        (SECOND, [bytes(range(40))]),
        (f"{FIRST},{SECOND}", [bytes.fromhex(FIRST), bytes(range(40))]),
        (f" {FIRST} \n{SECOND}\n", [bytes.fromhex(FIRST), bytes(range(40))]),
    ],
)
def test_a_key_is_hexadecimal_or_base64_in_the_environment_or_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, known: list[bytes]
) -> None:
    monkeypatch.setenv(KEY, text)
    assert list(keys()) == known
    monkeypatch.delenv(KEY)
    (tmp_path / "key").write_text(text)
    monkeypatch.setenv(KEY_FILE, str(tmp_path / "key"))
    assert list(keys()) == known


@pytest.mark.parametrize(
    "text", ["topsecret", "00" * 31, "ab" * 40 + "g", base64.b64encode(b"x" * 31).decode(), f"{FIRST},short", "é" * 64, " ", ","]
)
def test_what_is_no_key_is_refused_before_anything_is_read_and_never_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "key").write_text(text, encoding="utf-8")
    for name, value in ((KEY, text), (KEY_FILE, str(tmp_path / "key"))):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ConfigError, match=r"openssl rand|name a file") as refused:
                find(str(tmp_path / PLACE), "example")
        assert text.strip(" ,") == "" or text not in str(refused.value)
        assert "short" not in str(refused.value)


def test_a_file_that_is_not_there_and_two_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_FILE, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"BILP_SIGNING_KEY_FILE names .*none.*cannot be read"):
        keys()
    monkeypatch.setenv(KEY, FIRST)
    with pytest.raises(ConfigError, match="both set"):
        keys()


def test_finished_trainings_are_signed_for_their_place(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bilp.config import NetworkConfig

    monkeypatch.setenv(KEY, FIRST)
    parts = [Parts.of(root, "digits", {"set": name}, {"epochs": 1}) for name in ("ours", "theirs")]
    network = NetworkConfig()
    good, bad = (Training(network="convnet", seed=0, accuracy=share, best_accuracy=share, train_images=10) for share in (0.9, 0.1))
    parts[0].keep(network, [bad])
    parts[1].keep(network, [good])
    assert parts[0].find(network, [0]) == [bad]
    folder = objects.join(parts[0].folder, *objects.children(parts[0].folder))
    other = objects.join(parts[1].folder, *objects.children(parts[1].folder))
    objects.write(objects.join(folder, "0000.json"), objects.read(objects.join(other, "0000.json")))
    with pytest.raises(UntrustedArtifact, match="moved"):
        parts[0].find(network, [0])
    objects.delete(folder)
    assert parts[0].find(network, [0]) is None
    monkeypatch.delenv(KEY)
    parts[0].keep(network, [good])
    monkeypatch.setenv(KEY, FIRST)
    with pytest.raises(UntrustedArtifact, match="no signature"):
        parts[0].find(network, [0])
    assert sign_all(root) == [objects.join(folder, "0000.json")]
    assert parts[0].find(network, [0]) == [good]


def test_signing_what_is_there_needs_a_key_something_to_sign_and_whole_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = str(tmp_path / PLACE)
    made(uri)
    with pytest.raises(ConfigError, match="openssl rand"):
        sign_all(tmp_path)
    monkeypatch.setenv(KEY, FIRST)
    with pytest.raises(MissingArtifact, match="nothing to sign"):
        sign_all(tmp_path / "nowhere")
    for name, content in ((MANIFEST, b"{}"), (MANIFEST, b"\xff"), (MANIFEST, with_two_losses(document(uri), 1, 2)), (RECORD, b"[]")):
        damaged = objects.join(str(tmp_path), "runs", "f" * 16, name)
        objects.write(damaged, content)
        with pytest.raises(DamagedArtifact, match="was not signed"):
            sign_all(tmp_path)
        objects.delete(damaged)
    sign_all(tmp_path)
    assert open_artifact(uri, "example").read("a.bin") == b"alpha"


# Each is a process of its own, with its key if it has one.
WORKERS = """
import os, sys
from bilp.artifacts.publication import publish
for uri, key in zip(sys.argv[1::2], sys.argv[2::2]):
    if not os.fork():
        if key:
            os.environ["BILP_SIGNING_KEY"] = key
        print(publish(uri, "example", "k1", {"a.bin": b"alpha"}, config={}, parents={}, facts={"loss": 0.5}).manifest.key, flush=True)
        os._exit(0)
sys.exit(sum(os.wait()[1] for _ in sys.argv[1::2]))
"""


def test_two_processes_with_the_key_share_a_result_and_one_without_cannot_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [*[str(tmp_path / PLACE), FIRST] * 2, str(tmp_path / OTHER), ""]
    done = subprocess.run([sys.executable, "-c", WORKERS, *given], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("k1\n" * 3, "", 0)
    monkeypatch.setenv(KEY, FIRST)
    assert find(str(tmp_path / PLACE), "example", "k1") is not None
    with pytest.raises(UntrustedArtifact, match="carries no signature"):
        find(str(tmp_path / OTHER), "example", "k1")


def test_a_document_is_signed_for_its_name_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, FIRST)
    data = sealed(b'{"seed": 0}', PLACE, "0000.json")
    check(data, PLACE, "0000.json")
    with pytest.raises(UntrustedArtifact, match="moved"):
        check(data, PLACE, "0001.json")
