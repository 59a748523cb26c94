"""A relay in front of a service on TCP that can be closed for a while, as a network or a service that is down."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

CHUNK = 1 << 16


class Relay:
    """Passes every byte on; while closed, it refuses new connections and ends those that there are."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.target = (parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80))
        self.open = True
        self.connections: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.url = f"{parts.scheme}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """In the block nobody gets through."""
        self.open = False
        self._end_all()
        try:
            yield
        finally:
            self.open = True

    def close(self) -> None:
        """For good, and the port is free again."""
        self.open = False
        _end(self.listener)
        self.listener.close()
        self._end_all()

    def told(self, data: bytes) -> None:
        """What a client sends, before it is passed on: for whoever wants to look at it."""

    def _end_all(self) -> None:
        for connection in list(self.connections):
            _end(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if not self.open:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            threading.Thread(target=self._connect, args=(client, server), daemon=True).start()

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        """Both directions until one end hangs up."""
        with client, server:
            self.connections.update((client, server))
            if not self.open:  # it was closed meanwhile
                self._end_all()
            back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            back.start()
            _pass_on(client, server, self.told)
            back.join()
            self.connections.difference_update((client, server))


def _pass_on(source: socket.socket, target: socket.socket, told: Callable[[bytes], None] = lambda data: None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            told(data)
            target.sendall(data)
    for connection in (source, target):
        _end(connection)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
