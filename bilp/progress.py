"""How long work tells whoever watches where it is, without knowing who that is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called often and cheaply by loops; the receiver decides what to show and how often."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units are finished; `note` is one short line such as 'loss 0.812'."""


def silent(done: int, total: int, note: str = "") -> None:
    """The progress of somebody who does not watch."""
