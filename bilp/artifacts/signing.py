"""Signatures of what decides which results are used: manifests, records of runs, finished trainings. Off unless a key is set.

Checksums say that files are the ones that the writer of a manifest meant, and whoever can write the storage can write both. With
BILP_SIGNING_KEY these documents carry an HMAC-SHA256 of their content and of their place relative to the storage root, and what
carries none, or one of another key, content or place, is refused. So a writer of the bucket without the key can remove results,
or put back what was published under the same key before, but not make any. A storage that is moved stays signed.

BILP_SIGNING_KEY holds a key of at least 32 bytes in hexadecimal digits or base64, or several separated by commas: the first one
signs, all of them verify. BILP_SIGNING_KEY_FILE names a file that holds the same. The value appears in no message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from pathlib import Path
from typing import Any

from bilp.artifacts import layout
from bilp.errors import ConfigError, UntrustedArtifact
from bilp.storage import objects, strict_json
from bilp.storage.verification import again

KEY, KEY_FILE = "BILP_SIGNING_KEY", "BILP_SIGNING_KEY_FILE"
FIELD = "signature"
SHORTEST = 32
"""Bytes of a key, as many as the digest has."""
MAKE_ONE = "make one with: openssl rand -hex 32"

_FORMAT = "bilp 1"  # part of what is signed, so that another way to sign is never mistaken for this one


def keys() -> tuple[bytes, ...]:
    """The keys of this process, none if nothing is to be signed. Raises ConfigError, without the value, for what is no key."""
    text, source = os.environ.get(KEY, ""), KEY
    if file := os.environ.get(KEY_FILE):
        if text:
            raise ConfigError(f"{KEY} and {KEY_FILE} are both set: unset one of them")
        text, source = _content(file), KEY_FILE
    elif not text:
        return ()
    return tuple(_decoded(part, number, source) for number, part in enumerate(re.split(r"[,\s]+", text.strip(" \t\r\n,")), start=1))


def sealed(data: bytes, folder: str, name: str) -> bytes:
    """The JSON object `data`, about to be written as the file `name` of `folder`, with its signature; unchanged without a key."""
    known = keys()
    if not known:
        return data
    document = _parsed(data)
    document[FIELD] = _signature(known[0], document, folder, name)
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False).encode()


def check(data: bytes, folder: str, name: str) -> None:
    """Raise UntrustedArtifact unless the JSON object `data`, read from the file `name` of `folder`, was signed for that place.

    Without a key nothing is checked.
    """
    known = keys()
    if known and (problem := _problem(known, data, folder, name)):
        raise UntrustedArtifact(
            f"{objects.join(folder, name)} {problem}, and only what was signed with {KEY} is used here: {again(folder)}; "
            f"or, if you know who wrote it, sign it as it is: bilp sign --storage {folder}"
        )


def is_signed(data: bytes, folder: str, name: str) -> bool:
    """Whether `data` carries the signature that `sealed` would give it. Raises ConfigError without a key."""
    return _problem(keys_required()[:1], data, folder, name) is None


def keys_required() -> tuple[bytes, ...]:
    """`keys`; raises ConfigError if there is none."""
    known = keys()
    if not known:
        raise ConfigError(f"neither {KEY} nor {KEY_FILE} is set, and nothing can be signed without a key: {MAKE_ONE}")
    return known


def _problem(known: tuple[bytes, ...], data: bytes, folder: str, name: str) -> str | None:
    """What is wrong with the signature of a document, or None if one of these keys made it for this place."""
    wrong = "carries a signature of another key, or was changed or moved after it was signed"
    try:
        document = _parsed(data)
        found = document.get(FIELD)
        if found is None:
            return "carries no signature"
        expected = [_signature(key, document, folder, name).encode() for key in known]
    except ValueError:
        return wrong
    given = str(found).encode("utf-8", "surrogatepass")
    return None if any(hmac.compare_digest(each, given) for each in expected) else wrong


def _signature(key: bytes, document: dict[str, Any], folder: str, name: str) -> str:
    """HMAC-SHA256, in hexadecimal digits, of a document without its signature, and of its place. Raises ValueError for NaN."""
    content = {field: value for field, value in document.items() if field != FIELD}
    signed = {"format": _FORMAT, "place": layout.place_of(folder), "name": name, "content": content}
    return hmac.new(key, json.dumps(signed, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(), hashlib.sha256).hexdigest()


def _parsed(data: bytes) -> dict[str, Any]:
    """A JSON object that reads the same for every reader. Raises ValueError if it is none."""
    document = strict_json.parse(data)
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    return document


def _content(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="ascii")
    except (OSError, UnicodeError) as error:
        reason = (error.strerror or type(error).__name__) if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{KEY_FILE} names {file!r}, which cannot be read ({reason}): name a file that holds a key") from None
    if not text.strip(" \t\r\n,"):
        raise ConfigError(f"{KEY_FILE} names {file!r}, which is empty: {MAKE_ONE}")
    return text


def _decoded(text: str, number: int, source: str) -> bytes:
    try:
        key = bytes.fromhex(text) if re.fullmatch(r"[0-9A-Fa-f]{64,}", text) else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) < SHORTEST:
        raise ConfigError(f"key {number} of {source} is not {SHORTEST} or more bytes in hexadecimal digits or base64: {MAKE_ONE}") from None
    return key
