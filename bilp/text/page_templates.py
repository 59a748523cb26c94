"""Templates of pages, with everything that they are given escaped and shown as one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from markupsafe import Markup

from bilp.text.escaping import shown
from bilp.text.sample_words import noun_of_samples, spoken

Finalize = Callable[[object], object]
PROSE = ("data", "string")
"""Tokens of a template that are text of its own, in which samples are called as they are."""


def page_template(name: str, *rooms: str) -> Template:
    """The template of a name in the first of the packages `rooms` that has it; what it extends and includes lies in any of them."""
    return template_of(name, rooms, _as_text)


def template_of(name: str, rooms: tuple[str, ...], finalize: Finalize) -> Template:
    """The same with `finalize` for all that is put in. Its own text calls samples as `speaking_of` says now."""
    return _environment(rooms, finalize, noun_of_samples()).get_template(name)


@cache
def _environment(rooms: tuple[str, ...], finalize: Finalize, noun: str) -> Environment:
    made = Environment(
        loader=ChoiceLoader([PackageLoader(room, "") for room in rooms]),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Spoken],
    )
    made.globals["noun"] = noun
    made.filters["spoken"] = spoken
    return made


class _Spoken(Extension):
    """Calls samples in the text of a template as its environment does."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """The tokens with that text changed."""
        noun = str(self.environment.globals["noun"])
        for token in stream:
            yield Token(token.lineno, token.type, spoken(token.value, noun)) if token.type in PROSE else token


def _as_text(value: object) -> object:
    """Text is shown as one line; it is escaped afterwards, markup is not."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
