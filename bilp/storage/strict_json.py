"""JSON that means one thing only: bounded in size and depth, no key twice, finite numbers, whole text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

_SURROGATE = re.compile("[\ud800-\udfff]")

M = TypeVar("M", bound=BaseModel)

LARGEST = 32 * 2**20
"""Bytes. The manifest of a data set of 20,000 classes takes about 3 MB."""
DEEPEST = 64
"""Lists and objects inside of each other; our own are at most eight deep."""


def parse(data: bytes, largest: int = LARGEST) -> Any:
    """The value in UTF-8 encoded JSON.

    Raises ValueError, in words that complete "cannot be read: ...", for more than `largest` bytes or DEEPEST levels, the same key
    twice in an object, NaN, Infinity and numbers that no float holds, surrogates, and for what is no JSON.
    """
    if len(data) > largest:
        raise ValueError(f"it has {len(data):,} bytes, {largest:,} are the most")
    try:
        text = data.decode()
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from error
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    # What has no more brackets than that cannot be so deep: most need not be walked through.
    if text.count("[") + text.count("{") > DEEPEST and any(depth > DEEPEST for depth, _ in _all(value)):
        raise ValueError(_too_deep())
    if "\\u" in text and any(isinstance(inner, str) and _SURROGATE.search(inner) for _, inner in _all(value)):
        raise ValueError("it holds half a surrogate pair, which is no text")
    return value


def read(data: bytes, model: type[M], strict: bool = False) -> M:
    """The JSON in `data` as a model, without conversions if it is `strict`.

    Raises ValueError as `parse` does, and with `first_problem` for what the model refuses.
    """
    parse(data)
    try:
        return model.model_validate_json(data, strict=strict)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """What is wrong first, and where: 'files.a.bin.size: Input should be greater than or equal to 0'."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    unknown = "this version knows nothing of that name" if problem["type"] == "extra_forbidden" else None
    reason = (unknown or str(problem["msg"]).removeprefix("Value error, "))[:300]
    return f"{ascii(where)[1:-1]:.200}: {reason}" if where else reason


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has the key {next(name for name in names if names.count(name) > 1)!r:.80} twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.20} is beyond the range of numbers")
    return value


def _too_deep() -> str:
    return f"lists and objects lie more than {DEEPEST} deep in each other"


def _all(value: Any) -> Iterator[tuple[int, Any]]:
    """Every value inside of a value, names included, and how many lists and objects it lies in."""
    waiting = [(0, value)]
    while waiting:
        depth, inner = waiting.pop()
        yield depth, inner
        if isinstance(inner, dict):
            waiting += [(depth + 1, part) for pair in inner.items() for part in pair]
        elif isinstance(inner, list):
            waiting += [(depth + 1, part) for part in inner]
