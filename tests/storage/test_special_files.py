"""What is no regular file in the place of one: it is refused in words, and never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bilp.artifacts import lease
from bilp.artifacts.artifact import find, is_whole, open_artifact
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.publication import publish
from bilp.artifacts.run_layout import RECORD
from bilp.config import NetworkConfig
from bilp.distill.run import open_run
from bilp.errors import DamagedArtifact, ImpossibleUri, StorageError, StorageRefused
from bilp.evaluate.training_cache import Parts, Training
from bilp.storage import objects

KEY = "0123456789abcdef"


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # addresses of sockets are short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


Place = Callable[[Path], None]
KINDS: list[tuple[Place, str]] = [
    (lambda path: os.mkfifo(path), "is a named pipe"),
    (listening, "is a socket"),
    (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    (lambda path: path.symlink_to("/dev/tty"), "is a device"),
]


def pipe_behind_a_link(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


@pytest.mark.parametrize(("place", "told"), [*KINDS, (pipe_behind_a_link, "is a named pipe")])
def test_special_files_are_refused_at_once(tmp_path: Path, place: Place, told: str) -> None:
    uri = str(tmp_path / "special")
    place(Path(uri))
    asks: list[Callable[[], object]] = [
        lambda: objects.read(uri),
        lambda: objects.size(uri),
        lambda: objects.localize(uri),
        lambda: objects.localize(uri, "0" * 64),
        lambda: objects.read_checked(uri, "0" * 64),
    ]
    for ask in asks:
        with pytest.raises(ImpossibleUri, match=rf"special {told}.*: remove it"):
            ask()
    assert objects.sizes(str(tmp_path), ["special"]) == {}
    assert not objects.create(uri, b"x")
    objects.delete(uri)
    assert not objects.exists(uri)


@pytest.mark.parametrize("name", [MANIFEST, "data"])
@pytest.mark.parametrize(("place", "told"), KINDS)
def test_special_files_in_an_artifact_are_one_error(tmp_path: Path, name: str, place: Place, told: str) -> None:
    uri = str(tmp_path / "store" / KEY)

    def published() -> object:
        return publish(uri, "thing", KEY, {"data": b"x"}, config={}, parents={})

    published()
    (Path(uri) / name).unlink()
    place(Path(uri) / name)
    expected = told if name == MANIFEST else "data is missing: delete"
    for ask in (published, lambda: is_whole(uri)):
        with pytest.raises(StorageError, match=expected):
            ask()
    for read in (lambda: open_artifact(uri, "thing").read("data"), lambda: open_artifact(uri, "thing").local("data")):
        with pytest.raises(StorageError, match=told):
            read()


def test_a_folder_in_the_place_of_a_manifest_is_no_other_publisher(tmp_path: Path) -> None:
    uri = tmp_path / "store" / KEY
    (uri / MANIFEST).mkdir(parents=True)
    assert find(str(uri), "thing") is None
    with pytest.raises(StorageRefused, match="a file lies where a folder is needed or the other way round"):
        publish(str(uri), "thing", KEY, {"data": b"x"}, config={}, parents={})


def claiming_much(path: Path) -> str:
    """A file without anything on the disk that has a tebibyte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return str(path)


def test_of_a_file_with_too_many_bytes_nothing_is_read(tmp_path: Path) -> None:
    asks: list[tuple[Path, Callable[[Path], object]]] = [
        (tmp_path / "selections" / KEY / MANIFEST, lambda path: find(str(path.parent), "selection", KEY)),
        (tmp_path / "runs" / KEY / RECORD, lambda path: open_run(str(path.parent))),
        (tmp_path / "file", lambda path: objects.read(str(path), most=3)),
    ]
    for path, ask in asks:
        uri = claiming_much(path)
        with pytest.raises(DamagedArtifact, match=f"{uri} has 1,099,511,627,776 bytes, at most [0-9,]+ are read: "):
            ask(path)
    (tmp_path / "file").write_bytes(b"abc")
    assert objects.read(str(tmp_path / "file"), most=3) == b"abc"
    parts, training = Parts.of(str(tmp_path), "x", {}, {}), Training(network="x", seed=0, accuracy=0.5, best_accuracy=0.5, train_images=1)
    parts.keep(NetworkConfig(), [training])
    (kept,) = Path(parts.folder).rglob("*.json")
    claiming_much(kept)
    assert parts.find(NetworkConfig(), [0]) is None


def test_a_claim_with_too_many_bytes_is_none(tmp_path: Path) -> None:
    place = str(tmp_path / "lease")
    claiming_much(tmp_path / "lease" / "000001.json")
    assert lease.holder(place) == lease.Holder(1, "")
    assert lease.take(place, "me", 60.0, lambda owner: owner == "") is not None
