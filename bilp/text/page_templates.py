"""Templates of pages, with everything that they are given escaped and shown as one line."""

from __future__ import annotations

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from bilp.text.escaping import shown


def page_template(name: str, *rooms: str) -> Template:
    """The template of a name in the first of the packages `rooms` that has it; what it extends and includes lies in any of them."""
    return _environment(rooms).get_template(name)


@cache
def _environment(rooms: tuple[str, ...]) -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader(room, "") for room in rooms]),
        autoescape=True,
        finalize=_as_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _as_text(value: object) -> object:
    """Text is shown as one line; it is escaped afterwards, markup is not."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
