"""The login of a server that was given none: made at its first start, kept in its folder, found there by clients on this machine.

Two files in the folder (PREFECT_HOME), which only their owner can read: `login` holds user:password, `address` says where the server of
that login listens. A client sends the login to that address alone; whatever else listens on this machine does not get to see it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from bilp.errors import BilpError, ConfigError
from flows.server.home import REMEDY, SERVICE
from flows.server.loopback import is_loopback

LOGIN, ADDRESS = "login", "address"
CLIENT = "PREFECT_API_AUTH_STRING"
USER = "bilp"


def provide(home: Path) -> str:
    """The login that the folder keeps, made anew if there is none or if others could have read it. Raises BilpError."""
    file = home / LOGIN
    try:
        login = _own(file)
        if login is None:
            login = f"{USER}:{secrets.token_urlsafe(32)}"
            _write(file, login)
    except (OSError, ValueError) as error:
        raise BilpError(f"the login of this server cannot be kept in {file} ({getattr(error, 'strerror', error)}): {REMEDY}") from error
    return login


def publish(home: Path, address: str) -> None:
    """Note that the server of the folder's login listens at `address`. Raises BilpError."""
    try:
        _write(home / ADDRESS, address)
    except OSError as error:
        raise BilpError(f"the address of this server cannot be kept in {home} ({error.strerror}): {REMEDY}") from error


def withdraw(home: Path) -> None:
    """Note that no server uses the folder's login now."""
    with suppress(OSError):
        (home / ADDRESS).unlink(missing_ok=True)


def check_address(url: str, name: str = "PREFECT_API_URL") -> None:
    """Raise ConfigError if an address holds a login, without repeating it, or is none."""
    if any(letter in url for letter in "@?#"):
        raise ConfigError(f"{name} holds a login or more than an address: give http://host:port/api there, and user:password in {CLIENT}")
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return
    except ValueError:
        pass
    raise ConfigError(f"{name} is no address of a server: one looks like http://127.0.0.1:4200/api")


def find(url: str, homes: Iterable[Path]) -> str | None:
    """The login of the server at `url`, if it is on this machine's loopback interface and keeps its login in one of these folders."""
    for home in homes:
        with suppress(OSError, ValueError):
            if _is_at(url, (home / ADDRESS).read_text(encoding="ascii").strip()):
                return _own(home / LOGIN)
    return None


def use(url: str) -> None:
    """Have Prefect's clients of this process and of its children sign in at `url` with a login found here, unless they were given one."""
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.auth_string is None and (login := find(url, (settings.home, SERVICE))):
        os.environ[CLIENT] = login
        refresh_global_settings_context()


def _own(file: Path) -> str | None:
    """What a file holds that nobody else can read; None if there is none."""
    try:
        with file.open(encoding="ascii") as opened:
            found = os.fstat(opened.fileno())
            private = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077
            return (opened.read().strip() or None) if private else None
    except FileNotFoundError:
        return None


def _write(file: Path, text: str) -> None:
    """Replace the file by a new one that only this user can read."""
    new = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as opened:
            opened.write(f"{text}\n")
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _is_at(url: str, address: str) -> bool:
    asked, kept = urlsplit(url), urlsplit(address)
    host = asked.hostname or ""
    same = host == kept.hostname or (host == "localhost" and is_loopback(kept.hostname or ""))
    return asked.scheme == "http" and is_loopback(host) and same and asked.port == kept.port
