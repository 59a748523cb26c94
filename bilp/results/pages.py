"""Pages about several results: one HTML file each, in the report's style, that needs nothing but itself."""

from __future__ import annotations

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bilp.text.escaping import shown


def render(template: str, **content: object) -> bytes:
    """A page of a template of this room; equal content gives equal bytes."""
    return _environment().get_template(template).render(**content).encode()


def _as_text(value: object) -> object:
    """Text is shown as one line; it is escaped afterwards, markup is not."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader("bilp.results", ""), PackageLoader("bilp.report", "")]),
        autoescape=True,
        finalize=_as_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
