"""A relay in front of a service on TCP that can be closed for a while, as a network or a service that is down.

In front of an HTTP service it can also refuse requests in that service's place, as an overloaded object storage does.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

CHUNK = 1 << 16
_BUSY = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: "


class Relay:
    """Passes every byte on; while closed, it refuses new connections and ends those that there are."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.target = (parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80))
        self.open = True
        self.left_to_refuse = 0.0
        self.refused = 0
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

    @contextlib.contextmanager
    def refusing(self, requests: float = math.inf) -> Iterator[None]:
        """In the block the next so many requests are answered with 503; connections that there are end."""
        self.refuse(requests)
        try:
            yield
        finally:
            self.left_to_refuse = 0.0

    def refuse(self, requests: float = math.inf) -> None:
        """From now on answer so many requests with 503; 0 ends it."""
        self.left_to_refuse = requests
        if requests:
            self._end_all()

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
            if self.left_to_refuse > 0:
                self.left_to_refuse -= 1
                self.refused += 1
                threading.Thread(target=_refuse, args=(client,), daemon=True).start()
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


def _refuse(client: socket.socket) -> None:
    """Read one HTTP request and answer that the service is busy."""
    with client, contextlib.suppress(OSError, ValueError):
        stream = client.makefile("rb")
        head = http.client.parse_headers(stream) if (line := stream.readline()) else None
        if head is None:
            return
        if head.get("Expect", "").lower() != "100-continue":
            stream.read(int(head.get("Content-Length", "0")))
        body = b"" if line.startswith(b"HEAD ") else _BUSY
        client.sendall(_REFUSAL + str(len(body)).encode() + b"\r\n\r\n" + body)
        _end(client)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
