"""bilp study FILE.yaml

Named arms in every cell of a grid with paired seeds, and a page with tables, intervals and paired tests. What is there is not computed
again; a study that was stopped goes on, and its page can be made at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bilp.config import recipe_yaml
from bilp.config.command_line import configure, parse
from bilp.config.help_text import topic_of
from bilp.errors import BilpError
from bilp.storage.objects import storage_root
from bilp.studies.definition import MOST_PROCESSES, load_study, shipped
from bilp.studies.study_plan import planned
from bilp.studies.study_progress import Progress
from bilp.text.escaping import shown
from bilp.text.sample_words import speaking_of
from flows import program
from tasks import output

OWN = ("--page", "--dry-run", "--example")
PROCESSES = "--processes"
TOLD = """FILE.yaml is a study, or the name of one that comes with the program. Options of its own:
  --page      make the page of what is there, and compute nothing
  --dry-run   say what would be computed and how long it takes, as far as that is known
  --example   print a study with every key explained, to begin with
  --processes N
              processes that compute blocks at the same time, with an equal part of the cores each (default: 1)
Settings that follow go before those of the study: bilp study wrong-labels --ipc 10"""


@dataclass(frozen=True)
class Typed:
    """What a command line holds."""

    file: str
    own: frozenset[str]
    processes: int
    changes: dict[str, Any]


def main(arguments: Sequence[str]) -> None:
    output.settle()
    name, description = program.described(__doc__)
    typed = _typed(arguments, name, f"{description}\n\n{TOLD}")
    if "--example" in typed.own:
        with output.readers_may_go():
            program.show_text(shipped()["example"].splitlines())
        return
    try:
        study, text = load_study(typed.file)
        place = f"study {typed.file}"
        plan = planned(study, place, typed.changes)
    except BilpError as error:
        program.refuse(name, str(error))
    definition = recipe_yaml.parse(text.encode(), place)

    progress = Progress(plan, storage_root(), typed.processes)
    if not typed.own and _waits(progress):
        import flows.study  # noqa: F401  # whose logging is settled before the terminal is ours

    def work() -> tuple[Progress, str]:
        progress.look()
        return progress, _page(progress, definition, typed, place)

    with speaking_of(plan.noun):
        program.guarded(name, work, _show)


def _waits(progress: Progress) -> bool:
    """Whether there is anything to compute; whoever asks again is told what is wrong."""
    try:
        progress.look()
    except BilpError:
        return False
    return bool(progress.waiting)


def _page(progress: Progress, definition: dict[str, Any], typed: Typed, place: str) -> str:
    """The page, made or computed; empty where nothing but the plan is asked for."""
    if "--dry-run" in typed.own:
        return ""
    if "--page" in typed.own or not progress.waiting:
        from bilp.studies.study_artifact import publish_study

        return publish_study(progress)
    from flows.study import study  # which imports Prefect

    page = study(definition, typed.changes, place, progress.root, typed.processes)
    progress.look()
    return page


def _show(done: tuple[Progress, str]) -> None:
    from bilp.studies.study_artifact import table_in
    from bilp.studies.study_words import sentences
    from tasks import study_lines

    progress, page = done
    if not page:
        program.show_text(list(study_lines.planned(progress)))
        return
    table = table_in(progress)
    program.show_text([*study_lines.table(table), "", *(line.replace("\u00a0", " ") for line in sentences(table))])
    program.show_uri("page", page)


def _typed(arguments: Sequence[str], name: str, description: str) -> Typed:
    """What is typed: the study first. Wrong options end the program with status 2, --help and --explain with 0."""
    own = frozenset(argument for argument in arguments if argument in OWN)
    rest, processes = _processes([argument for argument in arguments if argument not in OWN], name)
    file = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    if topic_of(rest) is None and not file and "--example" not in own:
        program.refuse(name, f"give a study first: a .yaml file, or one of {', '.join(shipped())}; --example prints one to begin with")
    with output.readers_may_go():
        command = parse(rest, name, description)
        if command.explain:
            configure(rest, name, description)
    return Typed(file, own, processes, command.given)


def _processes(arguments: list[str], name: str) -> tuple[list[str], int]:
    """The other arguments, and how many processes are asked for."""
    rest, number = [], "1"
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option == PROCESSES:
            number = value if equals else next(words, "")
        else:
            rest.append(word)
    if not (number.isascii() and number.isdecimal() and 1 <= int(number) <= MOST_PROCESSES):
        program.refuse(name, f"{PROCESSES} {shown(number)}: give a number from 1 to {MOST_PROCESSES}")
    return rest, int(number)
