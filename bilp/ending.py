"""How every program ends when something goes wrong: one line on the standard error stream, and a status that says of what kind it was.

Only the standard library is needed here, so that this works while everything else is still being imported.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NoReturn

from bilp.errors import MOST, BilpError
from bilp.text import unexpected
from bilp.text.escaping import shortened, shown

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
CONTINUES = "interrupted; the same command continues where it stopped"

_beginning = ""  # the program, while its modules are imported
_typed = ""  # what the user typed to start the program, where one name stands for several programs
_places: list[str] = []
MOST_PLACES = 3


def typed_as(program: str) -> None:
    """From now on this process speaks of itself as the user called it: "bilp run", whatever the module calls itself."""
    global _typed, _beginning
    _typed = _beginning = program


def named(program: str) -> str:
    """What the user typed to start this process, or else `program`."""
    return _typed or program


def fail(program: str, lines: Sequence[str], status: int) -> NoReturn:
    """End the program with this status and one line per problem, whatever the problems quote."""
    with suppress(OSError):  # nobody reads, or the disk of the log is full; the status still tells
        sys.stderr.write("".join(f"{named(program)}: error: {shortened(shown(line), MOST)}\n" for line in lines))
        sys.stderr.flush()
    sys.exit(status)


@contextmanager
def one_line(program: str, doing: str) -> Iterator[None]:
    """Whatever goes wrong in the block ends `program` with one line; `doing` says what was going on there.

    What nobody expected leaves its traceback in a file that the line names (`bilp.text.unexpected`).
    """
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        end(program, error, doing)


def begin(program: str) -> None:
    """Have an interrupt end the program at once, until `one_line` is entered, and an exception by one line.

    An interrupt comes while modules are imported then, and those that are not written in Python do strange things with an exception.
    """
    global _beginning
    _beginning = program

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, (Exception, KeyboardInterrupt)):
            sys.__excepthook__(kind, error, trace)
            return
        end(program, error, "while it was starting")

    sys.excepthook = hook
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    with suppress(OSError):
        os.write(2, f"{_beginning}: error: {CONTINUES}\n".encode())
    os._exit(INTERRUPTED)


def continues_at(places: Sequence[str]) -> None:
    """Where work that an interrupt ends now will go on, such as "distill bilp after round 6 of 10", for the line that says so."""
    _places[:] = places


def _continues() -> str:
    """What an interrupt is told; where it is known, with what of the work is there and will not be done again."""
    more = f", and {len(_places) - MOST_PLACES} more" if len(_places) > MOST_PLACES else ""
    return f"{CONTINUES}: {'; '.join(_places[:MOST_PLACES])}{more}" if _places else CONTINUES


def end(program: str, error: BaseException, doing: str) -> NoReturn:
    """End the program because of `error`."""
    if was_interrupted(error):
        fail(program, [_continues()], INTERRUPTED)
    if isinstance(error, BilpError):
        fail(program, [str(error)], FAILED)
    fail(program, [unexpected.told(error, doing)], FAILED)


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt from the keyboard is behind it; modules that are not written in Python raise their own error for one."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or KeyboardInterrupt.__name__ in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
