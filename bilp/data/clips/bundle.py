"""The frames of a clip that lie in files of their own, as one string of bytes: an uncompressed tar of the encoded pictures."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator

MAGIC = b"ustar"
AT = 257
"""Where the magic lies in the header of a tar's first member."""


def bundled(frames: Iterable[bytes]) -> bytes:
    """The encoded pictures of frames, in their order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as bundle:
        for number, data in enumerate(frames):
            member = tarfile.TarInfo(f"{number:06}")
            member.size = len(data)
            bundle.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def is_bundle(data: bytes) -> bool:
    """Whether these bytes are what `bundled` makes; no container of videos begins like that."""
    return data[AT : AT + len(MAGIC)] == MAGIC


def frames_in(bundle: bytes) -> Iterator[bytes]:
    """The encoded pictures, in their order."""
    with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:") as members:
        for member in members:
            content = members.extractfile(member)
            assert content is not None  # `bundled` writes files alone
            yield content.read()
