"""The code blocks of a document, and the commands in those that a shell takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

SHELL, PYTHON = ("sh", "bash", "console"), ("python",)
OTHERS = ("", "mermaid", "text", "toml", "yaml", "json", "bibtex", "latex")
"""Languages of blocks that nobody types."""
PROGRAMS = ("bilp", "make", "python", "python3", "pip", "source", "export", "git", "cd")
_BLOCK = re.compile(r"^```([\w+-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    line: int
    """Where it begins in the document."""
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What is typed: every line with content, or in `console` those after a "$", comments left out; continued lines are joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if shlex.split(line, comments=True)]


def blocks(document: str) -> Iterator[Block]:
    """Every fenced block of a document in Markdown."""
    for found in _BLOCK.finditer(document):
        yield Block(document.count("\n", 0, found.start()) + 1, found[1], found[2])


def unmarked(block: Block) -> list[str]:
    """Lines that look like commands in a block that does not say that it holds some."""
    if block.language in (*SHELL, *PYTHON):
        return []
    return [line for line in block.text.splitlines() if line.partition(" ")[0] in PROGRAMS]
