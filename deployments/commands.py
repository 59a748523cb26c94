"""The programs of the service as commands of `bilp`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import prefect  # noqa: F401  # where it is missing, that is told before a program of the service begins

from bilp import ending
from flows import program


def server(arguments: Sequence[str]) -> None:
    """bilp server"""
    _carry_out("deployments.server", "serving", arguments)


def register(arguments: Sequence[str]) -> None:
    """bilp register"""
    _carry_out("deployments.register", "registering", arguments)


def worker(arguments: Sequence[str]) -> None:
    """bilp worker [cpu] [gpu]"""
    _carry_out("deployments.worker", "keeping workers running", arguments, takes="pool")


def _carry_out(module: str, doing: str, arguments: Sequence[str], takes: str = "") -> None:
    """Be the program of a module, whose documentation is the help."""
    found = importlib.import_module(module)
    name, description = program.described(found.__doc__)
    parser = program.Parser(prog=name, description=description, allow_abbrev=False)
    if takes:
        parser.add_argument(takes, nargs="*", help=f"{' or '.join(found.POOLS)}; without any, all")
    typed = parser.typed(arguments)
    main: Callable[..., None] = found.main
    with ending.one_line(name, doing):
        main(*([getattr(typed, takes)] if takes else []))
