"""What an ETag tells about content: most stores give the MD5 of what was written at once, and S3 knows no other checksum of all objects.

Objects that were uploaded in parts have one with a dash. Encrypted ones have something that looks like an MD5 and is none: whoever
reads such a bucket finds out once per process, by two equal answers that both differ from their ETag.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_MD5 = re.compile(r"[0-9a-f]{32}")

# Buckets of which this process knows that their ETags are no MD5 of the content.
_others: set[str] = set()


def tells(path: str, stamp: str) -> bool:
    """Whether this ETag of an object is one that its content can be compared with."""
    return path.partition("/")[0] not in _others and _MD5.fullmatch(stamp.strip('"')) is not None


def fits(path: str, stamp: str, digest: str) -> bool:
    """Whether content with this MD5 may be the object with this ETag."""
    return not tells(path, stamp) or stamp.strip('"') == digest


def settle(path: str, same: bool) -> None:
    """After two answers that did not fit: if they were the same, ETags of this bucket tell nothing. Raises OSError if they were not."""
    if not same:
        raise OSError("two answers to the same request differ, and neither is what the store says it is")
    _others.add(path.partition("/")[0])


def md5(content: bytes) -> str:
    """The MD5 of some content, in hexadecimal digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of(file: Path) -> str:
    """The MD5 of a local file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
