"""Class names as names of folders that every system can hold: Linux and macOS, Windows, and what copies files between them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from bilp.errors import ConfigError
from bilp.text.escaping import shortened, shown

MOST_BYTES = 255
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)  # devices of Windows, whatever follows the dot
_FOREIGN = '/\\:*?"<>|'


def check_folder_names(class_names: Sequence[str]) -> None:
    """Raise ConfigError, with the reason, unless each name can be a folder of its own."""
    folders: dict[str, str] = {}
    for name in class_names:
        problem = _problem(name)
        folder = unicodedata.normalize("NFC", name).casefold()
        if folder in folders:
            problem = f"is one folder with {shortened(folders[folder], 80)!r} where case does not count"
        if problem:
            raise ConfigError(f"class name {shortened(name, 80)!r} {problem}: export to parquet or safetensors")
        folders[folder] = name


def _problem(name: str) -> str | None:
    """Why no folder can have the name, or None."""
    if not name or name.startswith("."):
        return "cannot be the name of a folder: it is hidden, or another folder's"
    if any(character in name for character in _FOREIGN):
        return f"cannot be the name of a folder: it holds one of {_FOREIGN}"
    if shown(name) != name:
        return "cannot be the name of a folder: it holds a character that cannot be seen"
    if name[-1] in ". " or _RESERVED.fullmatch(name):
        return "cannot be the name of a folder: it means something else on Windows"
    if len(name.encode()) > MOST_BYTES:
        return f"cannot be the name of a folder: it is longer than {MOST_BYTES} bytes"
    return None
