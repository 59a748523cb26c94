"""What `--help` shows: the dials first, the settings of a stage where somebody asks for them, all as wide as the terminal is."""

from __future__ import annotations

import copy
import re
import shutil
import textwrap
from argparse import SUPPRESS, Action, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from bilp.config.former import models
from bilp.config.pipeline import PipelineConfig
from bilp.errors import ConfigError
from bilp.text.suggestion import suggestion

NARROWEST, WIDEST, USUAL = 60, 140, 120  # cells; the last where there is no terminal
HELP = ("-h", "--help")
ALL = "all"
STAGES = tuple(name for name, _ in models(PipelineConfig))
"""Groups of settings, in the order of the pipeline."""

READS = {
    "ingest": ("ingest",),
    "score": ("ingest", "score"),
    "prune": ("ingest", "score", "prune"),
    "experts": ("ingest", "score", "prune", "experts"),
    "distill": ("ingest", "score", "prune", "experts", "reselect", "distill"),
    "evaluate": ("ingest", "score", "prune", "experts", "reselect", "distill", "evaluate"),
}
"""Groups that the command of a stage reads, by its last word; any other command reads all of them."""

DIALS_READ = {"ingest": {"dataset", "method", "ipc", "recipe", "recipe_dataset"}}
"""Dials that count for such a command, where these are not all: whitening may follow from the method and ipc."""

EXAMPLES = """Examples:
  --dataset cifar10 --ipc 10 --explain
  --dataset folder --ingest.uri photos/
  --keep 0.7 --beta 0.2 --arms unpruned,static,bilp
  --evaluate.networks convnet,mlp --experiments 3"""


COLUMNS = re.compile(r" +\S+ {2,}(?=\S)")
"""An option before what it does."""


def width() -> int:
    """Cells of a line of help."""
    return min(max(shutil.get_terminal_size((USUAL, 24)).columns, NARROWEST), WIDEST)


class Formatter(RawDescriptionHelpFormatter):
    """Help as wide as the terminal; choices that are too long for a line follow the text."""

    def __init__(self, prog: str) -> None:
        """Of the program of that name."""
        super().__init__(prog, max_help_position=44 if width() >= USUAL else 24, width=width())

    def _format_action(self, action: Action) -> str:
        metavar = action.metavar
        if isinstance(metavar, str) and len(self._format_action_invocation(action)) > self._width - 4 and action.help:
            choices = re.sub(r"^\{(.*?)\}(,\.\.\.)?$", r"\1", metavar).replace(",", ", ")
            short = copy.copy(action)
            short.metavar, short.help = "NAME", f"{action.help} One of: {choices}."
            return super()._format_action(short)
        return super()._format_action(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Lines of the text stay lines, and are broken where they are too long."""
        return "\n".join(part for line in text.splitlines() for part in _wrapped(line, width, indent) or [""])


def _wrapped(line: str, width: int, indent: str) -> list[str]:
    """A line in several; those after the first of an indented one are indented further, those of a second column as far as it."""
    before = indent + line[: len(line) - len(line.lstrip())]
    columns = COLUMNS.match(line)
    after = before + (" " * (columns.end() - len(before) + len(indent)) if columns else "    " if len(before) > len(indent) else "")
    return textwrap.wrap(line.strip(), width, initial_indent=before, subsequent_indent=after, break_on_hyphens=False)


def topic_of(arguments: Sequence[str]) -> str | None:
    """What help is asked for: a group, "all", or "" for the short one; None if none is."""
    place = next((place for place, argument in enumerate(arguments) if argument in HELP), None)
    if place is None:
        return None
    following = arguments[place + 1 : place + 2]
    return following[0] if following and not following[0].startswith("-") else ""


def print_help(parser: ArgumentParser, topic: str) -> None:
    """Print the options of a topic. Raises ConfigError for one that does not exist."""
    command = re.split(r"[ .]", parser.prog)[-1]
    read = READS.get(command, STAGES)
    shown = _shown(parser, topic, command)
    for group in parser._action_groups:
        name = (group.title or "").removesuffix(" options")
        kept = name == "options" or name in shown
        for action in group._group_actions:
            if not kept or (name == "options" and not _is_for(action, topic, command)):
                action.help = SUPPRESS
        if not kept:
            group.title = group.description = None
    if not topic:
        others = [stage for stage in read if stage not in shown]
        parser.epilog = _epilog(others, command)
    parser.print_help()


def _shown(parser: ArgumentParser, topic: str, command: str) -> set[str]:
    """The groups of a topic, those within them included."""
    known = [(group.title or "").removesuffix(" options") for group in parser._action_groups]
    if topic == ALL:
        return set(known)
    wanted = topic or (command if command in READS else "")
    found = {name for name in known if name == wanted or name.startswith(f"{wanted}.")} if wanted else set()
    if topic and (not found or topic == "options"):
        choices = [ALL, *STAGES]
        raise ConfigError(f"--help {topic}: no such group of settings{suggestion(topic, choices)}; there are {', '.join(choices)}")
    return found


def _is_for(action: Action, topic: str, command: str) -> bool:
    """Whether an option without a dot belongs to the topic."""
    name = action.option_strings[-1].lstrip("-") if action.option_strings else ""
    if topic in STAGES or "." in topic:
        return False
    return topic == ALL or name in ("help", "explain") or name not in PipelineConfig.model_fields or name in DIALS_READ.get(command, {name})


def _epilog(others: Sequence[str], command: str) -> str:
    fields = PipelineConfig.model_fields
    longest = max((len(name) for name in others), default=0)
    lines = [f"  --help {name:{longest}}  {fields[name].description}" for name in others]
    further = ["Further settings that it reads:" if command in READS else "Further settings, by stage:", *lines] if others else []
    return "\n".join([*further, f"  --help {ALL:{longest}}  Every setting.", "", EXAMPLES])
