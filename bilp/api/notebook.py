"""One line below a cell of a notebook, which is replaced as the work goes on."""

from __future__ import annotations

import html
import sys
from typing import Any

from bilp.text.escaping import shown


def here() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    found = None if shell is None else shell.get_ipython()
    return found is not None and hasattr(found, "kernel")


class Status:
    """The line, with a bar where a share is known. It is gone when it is cleared."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last: tuple[str, float | None] | None = None

    def show(self, words: str, share: float | None = None) -> None:
        """Replace what stands there; `share` of the work, 0 to 1, is done. Whole per cents are shown, and no request is made between."""
        share = None if share is None else int(100 * share) / 100
        if (words, share) == self._last:
            return
        self._last = words, share
        bar = "" if share is None else f'<progress max="1" value="{share:g}"></progress> '
        told = "" if share is None else f" ({share:.0%})"
        self._put({"text/html": f"<div>{bar}{html.escape(shown(words))}</div>", "text/plain": f"{shown(words)}{told}"})

    def clear(self) -> None:
        """Leave nothing below the cell."""
        if self._handle is not None:
            self._put({"text/html": "", "text/plain": ""})
        self._handle = self._last = None

    def _put(self, content: dict[str, str]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
