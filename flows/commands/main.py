"""Which command was typed, and its help; what the command itself imports is imported once it is known."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence

from bilp import ending
from bilp.registry import resolve
from flows import beginning
from flows.commands.requirements import missing_package
from flows.commands.table import COMMANDS, GROUPS
from tasks import output

WIDTH = 12
"""Columns of a command's name in the help."""


def main(program: str, arguments: Sequence[str]) -> None:
    """Be the command that `arguments` begin with; `program` is how the user called us, "bilp" or "python -m bilp".

    Ends the process where there is no such command (2) or a package of it is not installed (1).
    """
    beginning.settle_output()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        with output.readers_may_go():
            sys.stdout.write(overview(program))
        return
    name, *rest = arguments
    if name not in COMMANDS:
        ending.fail(program, [_unknown(program, name)], ending.MISUSED)
    ending.typed_as(f"{program} {name}")
    try:
        resolve(COMMANDS[name].main)(rest)
    except ModuleNotFoundError as error:  # while the command is imported: what goes wrong in its work is told by itself
        advice = missing_package(error)
        if advice is None:
            raise
        ending.fail(program, [advice], ending.FAILED)


def overview(program: str) -> str:
    """The help of the program: its commands by group."""
    lines = [
        f"usage: {program} COMMAND [--SETTING VALUE ...]",
        "",
        "Dataset distillation with bi-level data pruning: real images in, a tiny synthetic training set out.",
    ]
    for group, title in GROUPS.items():
        commands = [command for command in COMMANDS.values() if command.group == group]
        if commands:
            lines += ["", f"{title}:", *(f"  {command.name:{WIDTH}}{command.help}" for command in commands)]
    lines += [
        "",
        f"{program} COMMAND --help tells what a command takes; {program} --version tells the version.",
        f"Example: {program} run --dataset digits",
    ]
    return "\n".join(lines) + "\n"


def _unknown(program: str, name: str) -> str:
    """What to say about a first argument that is no command."""
    if name.startswith("-"):
        return f"{name} comes before any command: write the command first, as in {program} run {name}; --help lists the commands"
    typed = re.sub(r"[^a-z]", "", name.lower())
    (meant, *_) = [*difflib.get_close_matches(typed, list(COMMANDS), cutoff=0.5), ""]
    hint = f"did you mean {program} {meant}? " if meant else ""
    return f"no command {name!r}; {hint}{program} --help lists the commands"
