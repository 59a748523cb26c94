"""What the commands `bilp ...` share: arguments in, progress and results out, one clear line for what went wrong."""

from __future__ import annotations

import logging
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from bilp import ending
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.called import speaking_of_samples
from bilp.config import PipelineConfig
from bilp.config.command_line import configure, parse, refuse_secrets_typed
from bilp.config.explain import problems
from bilp.config.help_text import topic_of
from bilp.errors import BilpError, ConfigError, MissingArtifact
from bilp.text.escaping import place, shown
from bilp.text.sample_words import speaking_of
from flows import accuracy_table
from tasks import output, terminal
from tasks.terminal import Screen, print_line

NAME = re.compile(r"(python -m|bilp) \S+")
"""How the first line of a program's documentation begins."""

SAID_BY_SOURCE = ("--dataset", "--ingest.source", "--ingest.uri")

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def run(documentation: str | None, arguments: Sequence[str], work: Callable[[PipelineConfig], T], show: Callable[[T], None]) -> None:
    """Be the program that `documentation` describes (its first line is the command): do the work and show its result.

    Exit status: 0 done, 1 failed, 2 wrong settings, 130 interrupted.
    """
    output.settle()
    name, description = described(documentation)
    arguments = source_first(arguments, name)
    with output.readers_may_go():
        config = configure(arguments, name, description)
    with speaking_of(config.ingest.noun):
        guarded(name, lambda: work(config), show)


def source_first(arguments: Sequence[str], name: str) -> list[str]:
    """The options, with those that a first word without dashes stands for: the name of a data set, or where images lie."""
    refuse_secrets_typed(arguments, name)
    if not arguments or arguments[0].startswith("-"):
        return list(arguments)
    word, *rest = arguments
    from bilp.api.naming import named_source  # only where a word was typed: it knows every source

    twice = next((option for option in rest if option.partition("=")[0] in SAID_BY_SOURCE), None)
    if twice is not None:
        refuse(name, f"{shown(word)} says where the images come from, and so does {shown(twice.partition('=')[0])}: leave one out")
    try:
        source = named_source(word, {})
    except BilpError as error:
        refuse(name, str(error))
    uri = source.get("ingest", {}).get("uri")
    return ["--dataset", source["dataset"], *([] if uri is None else ["--ingest.uri", uri]), *rest]


def described(documentation: str | None) -> tuple[str, str]:
    """Name and description of the program whose module is documented so, both with the name that the user typed.

    Paragraphs are one line each, which whoever shows them breaks; those in columns stay as they are.
    """
    example, _, description = (documentation or "").partition("\n\n")
    own = NAME.match(example)
    name = ending.named(own[0] if own else "")
    paragraphs = [paragraph if "  " in paragraph else " ".join(paragraph.split()) for paragraph in description.strip().split("\n\n")]
    return name, "\n\n".join([*paragraphs, f"Example: {name}{example[own.end() :] if own else example}"])


class Parser(ArgumentParser):
    """For programs with a few options of their own: what is wrong with them is one line that repeats no login."""

    def error(self, message: str) -> NoReturn:
        refuse(self.prog, f"{message}; --help lists the options")

    def typed(self, arguments: Sequence[str]) -> Namespace:
        """What a command line holds."""
        refuse_secrets_typed(arguments, self.prog)
        return self.parse_args(arguments)


def with_options(
    model: type[M],
    arguments: Sequence[str],
    name: str,
    description: str,
    join: Callable[[dict[str, Any], M], PipelineConfig] = lambda given, _: PipelineConfig.model_validate(given),
) -> tuple[M, PipelineConfig]:
    """The options of a program (fields of `model`) and the pipeline's settings beside them on one command line.

    `join` makes the configuration of what was typed. Wrong values end the program with status 2 and a line for each.
    """
    refuse_secrets_typed(arguments, name)
    typed, rest = _split(source_first(arguments, name), set(model.model_fields))
    given: dict[str, Any] = {}
    column = max(map(len, model.model_fields))
    told = "\n".join(f"  --{option:{column}}  {' '.join(str(field.description).split())}" for option, field in model.model_fields.items())

    def asked(arguments: Sequence[str]) -> dict[str, Any]:
        with output.readers_may_go():
            command = parse(arguments, name, f"{description}\n\nOptions of its own:\n{told}")
            if command.explain:
                configure(arguments, name, description)
            return command.given

    topic = topic_of(rest)
    if topic is not None:  # whatever else is missing or wrong
        asked(["--help", *([topic] if topic else [])])
    try:
        options = model.model_validate(typed)
    except ValidationError as error:
        refuse(name, *(f"--{item['loc'][0]}: {item['msg']}" for item in error.errors(include_url=False)))
    except BilpError as error:
        refuse(name, str(error))
    try:
        given = asked(rest)
        return options, join(given, options)
    except ValidationError as error:
        refuse(name, *problems(error, given))
    except BilpError as error:
        refuse(name, str(error))


def refuse(name: str, *lines: str) -> NoReturn:
    """End the program because of how it was called."""
    ending.fail(name, lines, ending.MISUSED)


def _split(arguments: Sequence[str], own: set[str]) -> tuple[dict[str, str], list[str]]:
    """Values of the options called `own`, and every other argument."""
    typed: dict[str, str] = {}
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and option in own:
            typed[option] = value if equals else next(waiting, "")
        else:
            rest.append(argument)
    return typed, rest


def guarded(name: str, work: Callable[[], T], show: Callable[[T], None]) -> None:
    """Do the work of a program and show its result; what goes wrong is one clear line, and an exit status as in `run`."""
    output.settle()
    with ending.one_line(name, "between two stages"):
        with _terminal_to_ourselves(), terminal.display():
            result = work()
        _print(name, lambda: show(result), result)


def looked_up(name: str, work: Callable[[], T], show: Callable[[T], None]) -> None:
    """As `guarded`, for programs that look for what was typed: that no such thing is there is a wrong input, as a wrong option is."""

    def looking() -> T:
        try:
            return work()
        except (ConfigError, MissingArtifact) as error:
            refuse(name, str(error))

    guarded(name, looking, show)


def _print(name: str, show: Callable[[], None], result: object) -> None:
    """Show the result. A reader who went away is no error; where nothing can be written, the result is named on the other stream."""
    try:
        show()
        sys.stdout.flush()
    except BrokenPipeError:
        output.discard(sys.stdout)
    except OSError as error:
        output.discard(sys.stdout)
        uris = [result] if isinstance(result, str) else result if isinstance(result, list) else []
        told = f": {', '.join(uris)}" if uris and all(isinstance(uri, str) for uri in uris) else ""  # what was looked up is no line
        ending.fail(name, [f"all is done, but the result cannot be printed ({error}){told}"], ending.FAILED)


def show_uri(what: str, uri: str) -> None:
    """Print the URI of a result."""
    print_line(Screen(), f"{what}: {place(uri)}")


def show_text(lines: Sequence[str]) -> None:
    """Print lines."""
    for line in lines:
        print_line(Screen(), place(line))


def show_accuracy(evaluation_uris: Sequence[str]) -> None:
    """Print a table of accuracies, as the page has it."""
    from bilp.evaluate.results import evaluation_rows
    from bilp.report.accuracy import accuracy
    from bilp.report.comparison import Training

    rows = [Training(**row) for uri in evaluation_uris for row in evaluation_rows(open_artifact(uri, "evaluation"))]
    if not rows:
        return
    with speaking_of_samples(open_artifact(evaluation_uris[0], "evaluation")):
        found = accuracy(rows)
        if found is not None:
            accuracy_table.show(accuracy_table.rows_of(found.rows))


def show_report(report_uri: str, known: accuracy_table.Outcome | None = None) -> None:
    """Print what a report says at its top, unless it is known, the accuracies that it shows, and in the last line where it lies."""
    try:
        found = accuracy_table.outcome(report_uri) if known is None else known
        with speaking_of_samples(open_artifact(report_uri.rpartition("/")[0], "report")):
            accuracy_table.show(found.rows)
        accuracy_table.print_sentence(found.sentence, repeated=found.repeated)
    finally:
        show_uri("report", report_uri)


@contextmanager
def _terminal_to_ourselves() -> Iterator[None]:
    """Prefect keeps its logs in its database; on the terminal they would tear the bars apart and repeat the last error."""
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(_not_from_prefect)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_not_from_prefect)


def _not_from_prefect(record: logging.LogRecord) -> bool:
    return not record.name.startswith("prefect") or record.levelno >= logging.CRITICAL
