"""Bytes and ages as people write them."""

from __future__ import annotations

import re

from bilp.errors import ConfigError

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(age: str) -> float:
    """Of an age such as 90m, 12h, 1d or 2w, and of 0. Raises ConfigError for what is none."""
    if age == "0":
        return 0.0
    match = _AGE.fullmatch(age)
    if match is None:
        raise ConfigError(f"{age!r} is no age: give a number with s, m, h, d or w, such as 12h or 1d")
    return float(match[1]) * _SECONDS[match[2]]


def size(count: int) -> str:
    """12 kB, 3.4 MB: three digits or so, in powers of 1000 as disks are sold."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} {unit}" if unit == "bytes" else f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
