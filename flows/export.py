"""python -m flows.export --synthetic bilp-storage/runs/KEY --to parquet --out exported

Write a synthetic set for others to read: a folder of PNG files by class, Parquet in the Hugging Face layout, or safetensors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bilp.config.exports import FORMATS
from flows import program
from tasks.terminal import Screen, print_line


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    parser = program.Parser(prog=name, description=description, allow_abbrev=False)
    parser.add_argument("--synthetic", required=True, metavar="URI", help="synthetic set, or the run that it lies in")
    parser.add_argument("--to", required=True, choices=tuple(FORMATS), help="format")
    parser.add_argument("--out", required=True, metavar="URI", help="folder or s3://... to write to")
    typed = parser.typed(arguments)

    def work() -> list[str]:
        from bilp.exchange import export_set

        return export_set(typed.synthetic, typed.to, typed.out)

    def show(written: list[str]) -> None:
        from bilp.exchange import reading_line

        program.show_text(written)
        if (line := reading_line(typed.synthetic, typed.to, typed.out)) is not None:
            print_line(Screen(stderr=True), line)  # on standard output are the files alone

    program.guarded(name, work, show)


if __name__ == "__main__":
    main(sys.argv[1:])
