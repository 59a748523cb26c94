"""The command line of every program, built from `PipelineConfig`: `--dataset cifar10 --distill.iterations 200 --explain`.

Only what was typed reaches the configuration, so that everything else is still derived from it.
"""

from __future__ import annotations

import itertools
import re
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError, create_model
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsError

from bilp.config import help_text
from bilp.config.base import told
from bilp.config.defaults import NETWORK_PATHS
from bilp.config.distill import DistillConfig
from bilp.config.explain import EXPLAINED, choices, problems, similar, told_defaults
from bilp.config.former import former_paths
from bilp.config.methods import either
from bilp.config.methods.plugin import plugin_models
from bilp.config.methods.spec import PLUGIN, PluginConfig
from bilp.config.nested import merge, merge_all, nest
from bilp.config.pipeline import PipelineConfig
from bilp.config.sources import SOURCES
from bilp.ending import MISUSED, fail
from bilp.errors import MOST, BilpError, ImpossibleUri
from bilp.registry import resolve
from bilp.storage.uris import refuse_secrets
from bilp.text.escaping import shortened, shown
from bilp.text.suggestion import suggestion

NOTE = """Whatever is not given is derived from the dials (the options without a dot) or the recipe: see --explain.
Lists: --arms unpruned,bilp   Nothing: --reselect.candidates_per_class none
Networks: --evaluate.networks convnet,mlp   or as JSON: '["convnet", {"name": "mlp"}]'"""


HELP = "show the dials; followed by all, or by a stage as in --help distill, show its settings"
EXPLAIN = "print every value, or those that were given or differ from defaults, and where they came from; do nothing else"
MOST_ORIGIN, LEAST_TEXT = 30, 12  # cells of a column of --explain

NETWORK_OPTIONS = tuple(f"--{path}" for path in NETWORK_PATHS)


@dataclass(frozen=True)
class Command:
    """What was typed: the nested values, and which of them are only to be explained, a key of EXPLAINED."""

    given: dict[str, Any]
    explain: str | None


class _Settings(PipelineConfig, BaseSettings):  # type: ignore[misc]
    """The same fields, in the form that pydantic-settings reads a command line into."""


def _settings(arguments: Sequence[str]) -> type[BaseSettings]:
    """The settings that may be typed. Packages that offer methods are only loaded where their settings are asked for."""
    option = f"--distill.{PLUGIN}"
    models = plugin_models() if any(argument.startswith((option, "--help", "-h")) for argument in arguments) else []
    if not models:
        return _Settings
    fields: dict[str, Any] = {name: (field.annotation, field) for model in models for name, field in model.model_fields.items()}
    plugin = create_model("_Plugin", __base__=PluginConfig, **fields)
    field: dict[str, Any] = {PLUGIN: (plugin, PluginConfig())}
    distill = create_model("_Distill", __base__=DistillConfig, __doc__=DistillConfig.__doc__, **field)
    return create_model("_AllSettings", __base__=_Settings, distill=(distill, PipelineConfig.model_fields["distill"]))


class _Parser(ArgumentParser):
    typed: Sequence[str] = ()
    """The command line."""

    def error(self, message: str) -> NoReturn:
        """One clear line instead of the usage of a hundred settings."""
        unknown = re.search(r"unrecognized arguments: --([\w.-]+)", message)
        loose = re.search(r"unrecognized arguments: (?!-)(\S+)", message)
        meant = similar(unknown[1]) if unknown else []
        hint = f"did you mean {either(f'--{path}' for path in meant)}?" if meant else "--help all lists every setting"
        if loose and (joined := self._joined(loose[1])):
            hint = f"separate the values of a list by commas: {joined}"
        elif loose and loose[1].endswith("/"):
            hint = f"images of your own: --dataset folder --ingest.uri {loose[1]}"
        self._end(message, hint)

    def _joined(self, word: str) -> str:
        """The option with a list that a word follows with a space in between, as it should be typed; empty if it follows none."""
        place = next((place for place, argument in enumerate(self.typed) if argument == word), 0)
        first = next((at for at in range(place, -1, -1) if self.typed[at].startswith("--")), None)
        if first is None:
            return ""
        option, _, value = self.typed[first].partition("=")
        action = self._option_string_actions.get(_underscored(option))
        if action is None or not str(action.metavar).endswith(",..."):
            return ""
        values = [part for part in (value, *itertools.takewhile(lambda argument: argument[:1] != "-", self.typed[first + 1 :])) if part]
        return f"{option} {','.join(part.strip(',') for part in values)}"

    def _end(self, message: str, hint: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {shortened(shown(f'{message}; {hint}'), MOST)}\n")


def parse(arguments: Sequence[str], program: str, description: str) -> Command:
    """The values on a command line, not validated yet; `--help` and unknown options end the program."""
    refuse_secrets_typed(arguments, program)
    parser = _Parser(
        prog=program,
        usage="%(prog)s [--SETTING VALUE ...]",
        description=f"{description}\n\n{NOTE}",
        formatter_class=help_text.Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.typed = list(arguments)
    parser.add_argument(*help_text.HELP, action="help", help=HELP)
    parser.add_argument("--explain", nargs="?", const="all", metavar="changed", help=EXPLAIN)
    for path in former_paths(PipelineConfig):  # read, but not told of
        parser.add_argument(f"--{path}", dest=path, help=SUPPRESS, default=SUPPRESS)
    typed = [_underscored(argument) for argument in arguments]
    source = CliSettingsSource[Any](
        _settings(typed),
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_use_class_docs_for_groups=True,
        cli_parse_none_str="none",
        root_parser=parser,
        add_argument_method=_add_argument,
    )
    topic = help_text.topic_of(arguments)
    if topic is not None:
        _help(parser, topic)
    namespace = parser.parse_args(_networks_by_name(typed))
    only_explain = vars(namespace).pop("explain")
    if only_explain not in (None, *EXPLAINED):
        parser.exit(MISUSED, f"{program}: error: {_unknown(str(only_explain))}\n")
    former = merge_all(*(nest(path, vars(namespace).pop(path)) for path in former_paths(PipelineConfig) if path in namespace))
    try:
        return Command(merge(source(parsed_args=namespace)(), former), only_explain)
    except SettingsError as error:
        parser.error(f"{error.__cause__ or error}: give a group of settings as JSON, or its settings one by one")


def configure(arguments: Sequence[str], program: str, description: str) -> PipelineConfig:
    """The configuration that a command line means. Ends the program after `--explain` (0) and on wrong values (2)."""
    command = parse(arguments, program, description)
    try:
        config = PipelineConfig.model_validate(command.given)
        if command.explain:
            sys.stdout.write(_explanation(command) + _layout(config))
            sys.exit(0)
    except ValidationError as error:
        fail(program, problems(error, command.given), MISUSED)
    except BilpError as error:
        fail(program, [str(error)], MISUSED)
    return config


def _explanation(command: Command) -> str:
    """A line for each value, in columns as wide as the terminal allows; no value is cut."""
    rows = [(row.path, shown(row.text), shown(row.origin)) for row in EXPLAINED[command.explain or "all"](command.given)]
    if not rows:
        return "every value is the default\n"
    path_width, text_width, origin_width = (max(len(row[part]) for row in rows) for part in (0, 1, 2))
    room = max(help_text.width() - path_width - min(origin_width, MOST_ORIGIN) - 4, LEAST_TEXT)
    return "".join(f"{path:{path_width}}  {text:{min(text_width, room)}}  {origin}\n" for path, text, origin in rows)


def _layout(config: PipelineConfig) -> str:
    """A line about the form in which the data lie at their address, of sources that know several; what is wrong there is no error yet."""
    look = SOURCES[config.ingest.source].layout
    if not look:
        return ""
    try:
        told: str = resolve(look)(config.ingest)
    except BilpError as error:
        told = str(error)
    return f"layout: {shown(told)}\n"


def _help(parser: _Parser, topic: str) -> NoReturn:
    """Print the help on a topic and end the program."""
    try:
        help_text.print_help(parser, topic)
    except BilpError as error:
        parser.exit(MISUSED, f"{parser.prog}: error: {shortened(shown(str(error)), MOST)}\n")
    sys.exit(0)


def _unknown(word: str) -> str:
    told = "changed for what was given or differs from defaults, nothing for every value"
    return f"--explain {shortened(shown(word), MOST)}: no such word{suggestion(word, EXPLAINED)}; give {told}"


def refuse_secrets_typed(arguments: Sequence[str], program: str) -> None:
    """End the program if an address that was typed holds a login or a signature: before anything repeats or keeps it."""
    option = "an argument"
    for argument in arguments:
        name = re.match(r"--[\w.-]+", argument)
        option = name[0] if name else option
        try:
            refuse_secrets(argument.partition("=")[2] if name else argument, option)
        except ImpossibleUri as error:
            fail(program, [str(error)], MISUSED)


def _underscored(argument: str) -> str:
    """`--distill.batch-real=7` means `--distill.batch_real=7`."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _networks_by_name(arguments: Sequence[str]) -> list[str]:
    """`--score.network mlp` means `--score.network.name mlp`; a whole network is given as JSON."""
    found = list(arguments)
    for place, argument in enumerate(found):
        option, equals, value = argument.partition("=")
        follows = value if equals else next(iter(found[place + 1 :]), "{")
        if option in NETWORK_OPTIONS and not follows.lstrip().startswith(("{", "-")):
            found[place] = f"{option}.name{equals}{value}"
    return found


def _add_argument(parser: Any, *names: str, **options: Any) -> Any:
    """`add_argument`, with readable lists, and with the default of a setting only where no rule may decide its value."""
    setting = names[-1].lstrip("-")
    if options.get("help"):
        meaning = re.sub(r" ?\(default( factory)?: .*\)$", "", str(options["help"]), flags=re.DOTALL)
        default = told_defaults().get(setting)
        options["help"] = meaning if default is None else f"{meaning} (default: {told(default)})"
    if options.get("metavar"):
        readable = re.sub(r"^tuple\[(.*?)(,\.\.\.)?\]$", r"\1,...", str(options["metavar"]))
        readable = re.sub(r"\{(\w+),\{([^{}]*)\}\}", r"{\1,\2}", readable)  # a number or one of a few words
        options["metavar"] = re.sub(r"\bstr\b", lambda word: choices().get(setting, word[0]), readable)
    return ArgumentParser.add_argument(parser, *names, **options)
