"""How places are written: a plain path, `file:///...` or `s3://bucket/prefix`, and what is refused as one.

Keys and tokens come from the environment. An address that holds one is refused, without repeating it: addresses are kept in
manifests, records of runs and logs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bilp.errors import ImpossibleUri
from bilp.text.redaction import secret_in

Uri = str | os.PathLike[str]
"""Where something lies, as people give it."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_COLLAPSED = re.compile(r"(?:s3|file):/(?!/)", re.IGNORECASE)  # what pathlib makes of s3://
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|arn:[A-Za-z0-9:._-]+")
_LONGEST_PATH = 200  # characters of a setting's path in an error
_VERSION = "?versionId="  # the S3 client takes what follows for no part of the key

NO_SECRET = (
    r"^(?!.*:/{1,2}[^/]*(@|:(?![0-9]+/)[^@]*@))(?!.*[?&;#][^=&;#]*([Ss]ignature|[Cc]redential|[Tt]oken|[Ss]ecret|[Kk]ey[Ii]d|[Ss]ig)=)"
)
"""What Prefect's server asks of an address, before it keeps it with a run: less than `refuse_secret`, as a pattern of JSON schema."""


def as_uri(uri: Uri) -> str:
    """The one way to write where something lies: an absolute path, or s3://bucket/prefix without a slash at the end.

    Raises ImpossibleUri for what is neither, and for what holds a login or a signature.
    """
    if not isinstance(uri, str | os.PathLike):
        raise ImpossibleUri(f"a value of type {type(uri).__name__} is neither a path nor a URI: give a path or s3://bucket/prefix")
    text = os.fsdecode(uri)
    if not text:
        raise ImpossibleUri("an empty path names no place: give a path or s3://bucket/prefix")
    refuse_secret(text)
    if isinstance(uri, os.PathLike):
        text = _COLLAPSED.sub(r"\g<0>/", text)
    scheme, path = parse(text)
    return path if scheme == "file" else f"{scheme}://{path}"


def optional_uri(uri: Uri | None) -> str | None:
    """`as_uri`, where nothing may be given."""
    return None if uri is None else as_uri(uri)


def join(uri: str, *parts: str) -> str:
    """The URI of something below `uri`; a part may hold several names separated by slashes."""
    parse(uri)
    for part in parts:
        if any(name in ("", ".", "..") for name in part.split("/")):
            raise ImpossibleUri(f"{part!r} is not a name below {uri}: use non-empty names without '.' and '..'")
    return "/".join([uri.rstrip("/"), *parts])


def refuse_secret(address: str, what: str = "this address") -> str:
    """The address itself. Raises ImpossibleUri, with nothing of it in the message, if it holds a login, a signature or a token."""
    found = secret_in(address, address=True)
    if found:
        raise ImpossibleUri(f"{what} holds {found}, so it is not repeated here: {_REMEDY}")
    return address


def refuse_secrets(values: Any, path: str = "") -> None:
    """`refuse_secret` for every text in nested mappings and lists that looks like an address, names included; the error names its path.

    They may lie in each other to any depth, and in themselves: somebody else refuses that (`bilp.config.nested.as_plain`).
    """
    waiting, met = [(path, values)], set()
    while waiting:
        where, value = waiting.pop()
        if not isinstance(value, str) and isinstance(value, os.PathLike):
            value = os.fsdecode(value)
        if isinstance(value, str):
            if secret_in(value):
                refuse_secret(value, f"{where}: this address" if where else "this address")
        elif isinstance(value, Mapping | list | tuple) and id(value) not in met:
            met.add(id(value))
            if isinstance(value, Mapping):
                inside = [(where, name) for name in value]
                inside += [(f"{where}.{name}".lstrip(".")[:_LONGEST_PATH], inner) for name, inner in value.items()]
            else:
                inside = [(where, inner) for inner in value]
            waiting += reversed(inside)  # the first one is looked at next


_REMEDY = (
    "give the address alone, such as s3://bucket/prefix, and keys through AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; "
    "what only a signed link leads to, download first"
)


def parse(uri: str) -> tuple[str, str]:
    """The scheme ("file" or "s3") and the path without it. Raises ImpossibleUri for any other."""
    match = _SCHEME.match(uri)
    scheme = match[1].lower() if match else ""
    if not scheme:
        if _COLLAPSED.match(uri):
            refuse_secret(uri)
            raise ImpossibleUri(f"{uri} has one slash after the scheme: write s3://bucket/prefix or file:///path")
        return "file", os.path.normpath(Path(uri).expanduser().absolute())
    if scheme == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost") or not parts.path:
            refuse_secret(uri)
            raise ImpossibleUri(f"{uri} is not a local path: write file:///absolute/path or a plain path")
        return "file", os.path.normpath(unquote(parts.path))
    if scheme != "s3":
        refuse_secret(uri)
        raise ImpossibleUri(f"{uri.partition('?')[0]}: unknown scheme {scheme}://; use a path, file:///path or s3://bucket/prefix")
    return "s3", _bucket_and_key(uri[len("s3://") :].rstrip("/"))


def _bucket_and_key(path: str) -> str:
    bucket = path.partition("/")[0]
    if not bucket:
        raise ImpossibleUri("an address that begins with s3:/// or is s3:// alone names no bucket: write s3://bucket/prefix")
    if not _BUCKET.fullmatch(bucket):  # the part before a slash of a key that somebody wrote into the address, for instance
        refuse_secret(f"s3://{path}")
        raise ImpossibleUri(
            "what follows s3:// is no name of a bucket, and not repeated here, as it may be secret: write s3://bucket/prefix"
        )
    if any(name in ("", ".", "..") for name in path.split("/")):
        right = "/".join(name for name in path.split("/") if name not in ("", ".", ".."))
        raise ImpossibleUri(
            f"s3://{path} has an empty name, '.' or '..' between two slashes, which a key keeps as it is: write s3://{right}"
        )
    if _VERSION in path:
        raise ImpossibleUri(f"s3://{path}: a key with {_VERSION} in it would be cut there: give the object another name")
    return path
