"""python -m flows.sign --storage bilp-storage

Sign the manifests, run records and finished trainings that lie in a storage, or below a folder of it, with the first key of
BILP_SIGNING_KEY: what was made before there was a key, or signed with one that is to be retired. Whoever does this answers for what
lies there; programs with the key use it from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from flows import program


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    parser = program.Parser(prog=name, description=description, allow_abbrev=False)
    parser.add_argument("--storage", required=True, metavar="URI", help="storage root, or a run or an artifact in it")
    typed = parser.typed(arguments)

    def work() -> list[str]:
        from bilp.maintenance.sign_storage import sign_all

        return sign_all(typed.storage)

    def show(signed: list[str]) -> None:
        program.show_text([*signed, f"signed {len(signed)}" if signed else "everything is signed with the first key already"])

    program.guarded(name, work, show)


if __name__ == "__main__":
    main(sys.argv[1:])
