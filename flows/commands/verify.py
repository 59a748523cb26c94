"""bilp verify

Compare every file in the storage with the checksum that was published, and every manifest, record and training with what it may say;
signatures too, where BILP_SIGNING_KEY is set. With keys, those things alone and all that they were made from. Exit status 1 if something
is damaged or missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bilp import ending
from bilp.maintenance.verify import Problem, Verdict, verify
from bilp.results.find import locate
from bilp.storage.objects import as_uri, storage_root
from flows import program
from flows.commands.amounts import size
from tasks import terminal

NAME = "bilp verify"
LISTED = 4
"""Pages and runs that are named as depending on something."""


def main(arguments: Sequence[str]) -> None:
    """Compare what `arguments` ask for."""
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("keys", nargs="*", metavar="KEY", help="what to compare, with all that it was made from (default: everything)")
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    typed = parser.typed(arguments)
    found: list[Verdict] = []

    def work() -> Verdict:
        root = as_uri(typed.storage) if typed.storage else storage_root()
        named = [locate(key, root) for key in typed.keys]
        line = terminal.line("verify, MiB")
        verdict = verify(
            named[0].root if named else root, [each.place for each in named], lambda done, total, note="": line.advance(done, total, note)
        )
        line.end("done")
        found.append(verdict)
        return verdict

    program.looked_up(NAME, work, lambda verdict: program.show_text(list(lines(verdict))))
    if found and found[0].problems:
        sys.exit(ending.FAILED)


def lines(verdict: Verdict) -> list[str]:
    """The verdict in words."""
    told = [_problem(problem) for problem in verdict.problems]
    told += [f"half written or half removed, and needed by nothing: {place} (bilp gc takes it away)" for place in verdict.half]
    told += [f"none of ours: {place}" for place in verdict.foreign]
    what = f"{verdict.artifacts:,} artifacts, runs and trainings, {verdict.files:,} files, {size(verdict.size)}"
    signatures = ", signatures checked" if verdict.signed else ""
    outcome = f"{len(verdict.problems)} damaged or missing" if verdict.problems else "all as published"
    return [*told, f"{verdict.root}: {what}{signatures}: {outcome}"]


def _problem(problem: Problem) -> str:
    listed = ", ".join(problem.used_by[:LISTED]) + (f" and {len(problem.used_by) - LISTED} more" if len(problem.used_by) > LISTED else "")
    used = f"; needed by {listed}" if listed else "; needed by no page and no run"
    return f"{problem.kind} {problem.place}: {problem.what}{used}; to repair: {problem.remedy}"


if __name__ == "__main__":
    main(sys.argv[1:])
