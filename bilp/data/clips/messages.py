"""What a process that decodes and the one that asks say to each other: a line of JSON, and as many bytes as it announces."""

from __future__ import annotations

import json
from typing import IO, Any

BYTES = "bytes"
LONGEST = 2**16
"""Bytes of a line."""


class Silence(Exception):
    """The other side ended, in the middle of a message or before one."""


def send(stream: IO[bytes], fields: dict[str, Any], content: bytes = b"") -> None:
    """Write one message. Raises OSError if nobody reads any more."""
    stream.write(json.dumps({**fields, BYTES: len(content)}).encode() + b"\n")
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The fields and the content of the next message. Raises Silence if there is none, or not a whole one."""
    line = stream.readline(LONGEST)
    if not line.endswith(b"\n"):
        raise Silence
    fields: dict[str, Any] = json.loads(line)
    content = stream.read(fields[BYTES])
    if len(content) < fields[BYTES]:
        raise Silence
    return fields, content
