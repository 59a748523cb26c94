"""The program `bilp`; `python -m bilp` is the same.

Commands lie in layers above this one and are found by name (`flows.commands`). Before anything is imported from there, the working
directory is taken off the path of modules, for this process and for those that it starts: a file called `tasks.py` in somebody's folder
is theirs and none of ours.
"""

from __future__ import annotations

import os
import sys

from bilp import __version__

TYPE_CHECKING = False  # nothing that is not imported yet is imported before the path is settled
if TYPE_CHECKING:
    from collections.abc import MutableMapping

COMMANDS = "flows.commands.main"
CODE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # pathlib takes long to import
"""The folder in which this package lies: a checkout, or that of installed packages."""


def main() -> None:
    """Be the command that was typed. Ends the process with the statuses of `bilp.ending`."""
    leave_working_directory(sys.path, os.environ)
    import importlib

    from bilp import ending

    program = "python -m bilp" if sys.argv[0] == __file__ else "bilp"
    arguments = sys.argv[1:]
    ending.typed_as(program)
    ending.begin(" ".join([program, *(word for word in arguments[:1] if word.isalpha())]))
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"bilp {__version__}\n")
        return
    try:
        commands = importlib.import_module(COMMANDS)
    except ImportError as error:
        theirs = getattr(sys.modules.get("flows"), "__file__", None) or "no file"
        ending.fail(program, [f"the commands cannot be imported ({error}); the package flows comes from {theirs}"], ending.FAILED)
    commands.main(program, arguments)


def leave_working_directory(path: list[str], environment: MutableMapping[str, str]) -> None:
    """Take off `path` what `python -m` put there, and have child processes do without it.

    Where that is a checkout that is not installed, it is the only place of our packages: it stays then, and they are told.
    """
    started_here = not sys.flags.safe_path and path and path[0] in ("", os.getcwd())  # noqa: PTH109
    if started_here and os.getcwd() != CODE:  # noqa: PTH109
        del path[0]
    elif started_here and path.count(CODE) < 2:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [CODE, environment.get("PYTHONPATH")]))
    environment["PYTHONSAFEPATH"] = "1"


if __name__ == "__main__":
    main()
