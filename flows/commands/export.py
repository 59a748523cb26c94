"""bilp export KEY --csv --out tables

Write results for others to read: with --csv the tables of a page, a run or an artifact, each as a CSV file; with --synthetic and --to a
synthetic set as pictures, Parquet or safetensors (bilp export --synthetic URI --to parquet --out FOLDER).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from flows import export, program

NAME = "bilp export"


def main(arguments: Sequence[str]) -> None:
    """Write what `arguments` ask for."""
    if any(argument.partition("=")[0] == "--synthetic" for argument in arguments):
        export.main(arguments)
        return
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("key", metavar="KEY", help="key, the beginning of one, path or URI")
    parser.add_argument("--csv", action="store_true", required=True, help="write its tables as CSV")
    parser.add_argument("--out", default="bilp-csv", metavar="URI", help="folder or s3://... to write to (default: bilp-csv)")
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    typed = parser.typed(arguments)

    def work() -> list[str]:
        from bilp.results.csv_tables import export_tables

        return export_tables(typed.key, typed.out, typed.storage)

    program.looked_up(NAME, work, program.show_text)


if __name__ == "__main__":
    main(sys.argv[1:])
