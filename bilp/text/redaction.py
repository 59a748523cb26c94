"""Secrets in texts: how an address that holds a login or a signature is recognized, and how it is removed from displayed text.

Only the standard library is needed here, because error files are written while everything else is still being imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSW|AUTH|CREDENTIAL|CONNECTION", re.IGNORECASE)
_SHORTEST = 4  # letters of a value that is worth hiding; shorter ones are parts of other words

# user@ or user:password@ after a scheme. Secret keys of S3 may hold slashes, so after a colon that begins no port they count too.
# A password may hold an @: the login ends with the last one before a slash.
_LOGIN = re.compile(
    r"(?<![A-Za-z0-9+.-])((?:s3:/|[A-Za-z][A-Za-z0-9+.-]+:)/{1,2})"
    r"(?:[^/@\s'\"]+|[^/@:\s'\"]+(?::|%3A)(?!\d+/)[^@\s'\"]*?)(?:@|%(?:25)?40)(?:[^/@\s'\"]*@)*",
    re.IGNORECASE,
)

# A parameter of a URL whose name says that it is a signature, a key, a token or a password.
_PARAMETER = re.compile(
    r"((?:[?&;#]|%3F|%26)(?:[^=&;#?%\s]*(?:signature|credential|secret|token|passw|access_?key|api_?key)[^=&;#?%\s]*|sig|key|pwd|auth)"
    r"(?:=|%3D))[^&;#\s'\"]+",
    re.IGNORECASE,
)

# user:password@ at the beginning of something that has no scheme; no absolute path begins so, nor one with ./ before it.
_BARE_LOGIN = re.compile(r"(?://)?[^/@:\s]+:[^/@\s][^@\s]*@.")


def secret_in(text: str, address: bool = False) -> str | None:
    """What a text holds that nobody else may read, in words, or None. An `address` is one also without a scheme."""
    if not any(mark in text for mark in "@=%"):  # of which every login and every parameter has one
        return None
    for plain in (text, unquote(text), unquote(unquote(text))):
        if _LOGIN.search(plain) or (address and "://" not in plain and _BARE_LOGIN.match(plain)):
            return "a login"
        if _PARAMETER.search(plain):
            return "a signature, key or token"
    return None


def redacted(text: str, environment: Mapping[str, str]) -> str:
    """The text without logins and signatures in URLs, and without what variables hold whose names say that it is secret."""
    hidden = {value for name, value in environment.items() if _SECRET.search(name)}
    hidden |= {value.partition(":")[2] for value in hidden}  # the password of user:password
    for value in sorted((value for value in hidden if len(value) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(value, "***")
    return _PARAMETER.sub(r"\1***", _LOGIN.sub(r"\1***@", text))
