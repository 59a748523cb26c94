"""The parts of the fault drill: its comparison sees a changed byte, its relay cuts, its seed decides, and no kind of fault is left out."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_pipeline import Finished

from drill.chaos import artifacts
from drill.faults import Faults
from drill.rehearsal import Service
from drill.relay import Relay

pytestmark = pytest.mark.slow


def test_the_comparison_sees_a_changed_byte_and_a_missing_file(finished: Finished, tmp_path: Path) -> None:
    whole = artifacts(finished.root)
    assert {name.partition("/")[0] for name in whole} == {"datasets", "scores", "selections", "runs", "evaluations"}
    copy = tmp_path / "copy"
    shutil.copytree(finished.root, copy)
    assert artifacts(str(copy)) == whole
    changed, missing = sorted(name for name in whole if name.endswith(".parquet"))[:2]
    content = bytearray((copy / changed).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / changed).write_bytes(content)
    (copy / missing).unlink()
    disturbed = artifacts(str(copy))
    assert {name for name in whole if disturbed.get(name) != whole[name]} == {changed, missing}


class Listening(Relay):
    """Keeps what clients send."""

    def __init__(self, url: str) -> None:
        self.heard: list[bytes] = []
        super().__init__(url)

    def told(self, data: bytes) -> None:
        self.heard.append(data)


@pytest.fixture
def echo() -> Iterator[Listening]:
    """A relay in front of a server that sends back what it gets."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(100):
                    connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        relay = Listening(f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield relay
        relay.close()
        listener.shutdown(socket.SHUT_RDWR)


def test_a_closed_relay_ends_connections_and_takes_no_new_ones(echo: Listening) -> None:
    def connected() -> socket.socket:
        return socket.create_connection(("127.0.0.1", echo.port), timeout=60)

    with connected() as before:
        before.sendall(b"hello")
        assert before.recv(100) == b"hello"
        with echo.closed():
            assert before.recv(100) == b""
            with connected() as refused:
                assert refused.recv(100) == b""
    with connected() as after:
        after.sendall(b"again")
        assert after.recv(100) == b"again"
    assert b"".join(echo.heard) == b"helloagain", "told in one direction only"


def test_no_kind_of_fault_hits_again_before_each_has(echo: Relay, tmp_path: Path) -> None:
    def order(seed: int) -> list[str]:
        faults = Faults(Service(tmp_path, str(tmp_path)), echo, echo, seed)
        found = []
        for _ in range(2 * len(faults.kinds)):
            found.append(faults.next_kind())
            faults.deck.remove(found[-1])
        return found

    first = order(1)
    assert first == order(1)
    assert first != order(2)
    half = len(first) // 2
    assert sorted(first[:half]) == sorted(first[half:]) == sorted(set(first))
    assert {"a stale worker", "the storage", "the network"} <= set(first)
