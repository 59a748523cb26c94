"""Names of runs, which tables, logs and terminals show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from prefect.context import FlowRunContext

from bilp.text.escaping import shortened, shown

LONGEST = 200  # characters that a table of runs has room for

_LIST = re.compile(r"`([a-z0-9.\-A-Z]{100,})`\.split\(`\.`\)")


class RunName(str):
    """A pattern with parameters in braces, whose values may be any text; what it makes of them is one line that is not too long."""

    __slots__ = ()

    def format(self, *args: Any, **kwargs: Any) -> str:
        """The name of one run."""
        return shortened(shown(super().format(*args, **kwargs)), LONGEST)


def unless_given(name: Callable[..., str]) -> Callable[[], str]:
    """The name of a flow's run: `name` of the run's parameters, or what somebody called it when it was started."""

    def chosen() -> str:
        context = FlowRunContext.get()
        assert context is not None and context.flow_run is not None, "Prefect asks for the name of a run inside of it"
        current = context.flow_run.name
        return shortened(shown(name(**(context.parameters or {}))), LONGEST) if is_random(current) else current

    return chosen


def is_random(name: str) -> bool:
    """Whether a name is one of those that Prefect draws where nobody typed any: its server two words, its form two or three of other
    lists, the first of which is a letter's name with or without a number."""
    first, *rest = name.split("-")
    if len(rest) == 1 and {first, *rest} <= _words_of_server():
        return True
    return bool(rest) and f"{first.rstrip('0123456789')}RANDOM" in _words_of_form() and "-".join(rest) in _composed(rest)


def _composed(parts: list[str]) -> Iterator[str]:
    """The second word of the form's names, alone and with a third one; words of one list have hyphens."""
    words = _words_of_form()
    for cut in range(1, len(parts) + 1):
        if {"-".join(parts[:cut]), *parts[cut:]} <= words and len(parts) - cut <= 1:
            yield "-".join(parts)


@cache
def _words_of_server() -> frozenset[str]:
    from coolname.data import config

    lists: dict[str, Any] = dict(config)
    return frozenset(word for each in lists.values() for word in each.get("words", ()))


@cache
def _words_of_form() -> frozenset[str]:
    """As the script of the installed UI holds them; empty where there is no UI, so that every name counts as typed."""
    import prefect

    scripts = sorted(Path(prefect.__ui_static_path__, "assets").glob("index-*.js"))
    lists = (match[1] for script in scripts for match in _LIST.finditer(script.read_text(encoding="utf-8")))
    return frozenset(word for words in lists for word in words.split("."))
