"""Facts of studies and of their parts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bilp.artifacts.facts.base import Facts, Key, Name, Number, Ordinal


class StudyFacts(Facts):
    """A study: how many of its blocks are there, and what page and tables were made of."""

    name: Name
    done: Number
    planned: Ordinal
    state: Key
    """Of the parts, of the study's text and of the version of the page."""


class StudyPartFacts(Facts):
    """A block of a study: a cell with a seed, all arms of it."""

    study: Key
    cell: Name
    seed: int
    asked: Key
    """Of everything that decided what came of it (`bilp.studies.study_part.asked`)."""
    worked: Annotated[float, Field(ge=0.0)] = 0.0
    """Seconds that it took when it was computed, which going through its stages again does not shorten."""
