"""Pages about several results: one HTML file each, in the report's style, that needs nothing but itself."""

from __future__ import annotations

from bilp.text.page_templates import page_template


def render(template: str, **content: object) -> bytes:
    """A page of a template of this room; equal content gives equal bytes."""
    return page_template(template, "bilp.results", "bilp.report").render(**content).encode()
