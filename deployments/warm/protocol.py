"""What a run and the server that forks it say to each other, over a Unix socket that belongs to one user.

The run sends its environment and working directory with its standard streams, the server answers with one line: "cold" (start on your
own), or the number of the process; then, once that has ended, a line with its exit status as `os.waitstatus_to_exitcode` has it.
If the run goes away before, the process is killed. This module imports nothing that takes time.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ADDRESS = "BILP_WARM_SERVER"
"""Variable that holds the path of the socket."""
COLD = "cold"
PASSED_ON = ("PREFECT_", "BILP_", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG")
"""Beginnings of the names of variables that are read when they are needed, so that they may differ between a server and a run. CUDA and
cuBLAS read theirs when a process first uses a GPU, which the server never does."""
STREAMS = (0, 1, 2)


@dataclass(frozen=True)
class Request:
    """A process that is wanted."""

    environment: Mapping[str, str]
    folder: str
    streams: Sequence[int]
    """Descriptors of standard input, output and error."""


def send(connection: socket.socket, environment: Mapping[str, str], folder: str) -> None:
    """Ask for a process with these variables and this process's streams."""
    body = json.dumps([dict(environment), folder]).encode("utf-8", "surrogatepass")
    socket.send_fds(connection, [len(body).to_bytes(4, "big")], list(STREAMS))
    connection.sendall(body)


def receive(connection: socket.socket) -> Request:
    """What was asked for. Raises OSError or ValueError if it is no request."""
    head, streams, _, _ = socket.recv_fds(connection, 4, len(STREAMS))
    try:
        if len(head) != 4 or len(streams) != len(STREAMS):
            raise ValueError("not the head of a request")
        body = _exactly(connection, int.from_bytes(head, "big"))
        environment, folder = json.loads(body.decode("utf-8", "surrogatepass"))
        return Request(environment, folder, streams)
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise


def fits(own: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a process of a server that began with the variables `own` is as good as a new one with `wanted`.

    What libraries read while they are imported (threads, allocators, devices, paths of modules) has to be the same.
    """
    return _fixed(own) == _fixed(wanted)


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(PASSED_ON)}


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            raise ValueError("the request is cut off")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
