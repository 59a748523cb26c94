"""bilp explain --dataset digits --method dc

Every setting of a run and where its value came from; nothing is run. The same as `bilp run` with --explain.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bilp.config.command_line import configure
from flows import program
from tasks import output

OPTION = "--explain"


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    asked = any(argument.partition("=")[0] == OPTION for argument in arguments)
    with output.readers_may_go():
        configure(arguments if asked else [OPTION, *arguments], name, description)


if __name__ == "__main__":
    main(sys.argv[1:])
