"""Names of runs, which tables, logs and terminals show."""

from __future__ import annotations

from typing import Any

from bilp.text.escaping import shortened, shown

LONGEST = 200  # characters that a table of runs has room for


class RunName(str):
    """A pattern with parameters in braces, whose values may be any text; what it makes of them is one line that is not too long."""

    __slots__ = ()

    def format(self, *args: Any, **kwargs: Any) -> str:
        """The name of one run."""
        return shortened(shown(super().format(*args, **kwargs)), LONGEST)
