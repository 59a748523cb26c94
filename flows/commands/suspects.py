"""bilp suspects photos/ --to suspicious

Find training images whose label is probably wrong: in a folder with a folder of images for each class, in Parquet files, or in a data set
(--dataset digits). Nothing is distilled. A page, a table, a contact sheet and a template of corrections are written to a folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from bilp.api.naming import named_source
from bilp.config import PipelineConfig
from bilp.config.nested import merge
from bilp.config.suspects import SuspectsConfig
from bilp.data.listing import plain as absolute
from bilp.errors import BilpError
from bilp.storage.objects import storage_root
from bilp.text.escaping import shown
from bilp.text.sample_words import speaking_of
from flows import program

NAME = "bilp suspects"
FOLDER = "bilp-suspects"
HELD_OUT = 1e-6
"""Share of each class that is held out for testing of images that have no test split: one image, as nothing is tested here."""


class Options(SuspectsConfig):
    """What the command takes besides the settings of a pipeline."""

    to: str = Field(default=FOLDER, min_length=1)
    """Folder or s3://... that the files are written to (default: bilp-suspects)."""


def main(arguments: Sequence[str]) -> None:
    """Be the command."""
    name, description = program.described(__doc__)
    place, rest = (arguments[0], arguments[1:]) if arguments and not arguments[0].startswith("-") else (None, arguments)
    source: dict[str, Any] = {}
    try:
        source = {} if place is None else _source(place)
    except BilpError as error:
        program.refuse(name, str(error))
    options, config = program.with_options(
        Options, rest, name, description, lambda given, _: PipelineConfig.model_validate(merge(source, given))
    )
    inside = [each for each in (storage_root(), options.to) if place is not None and "ingest" in source and _lies_in(each, place)]
    if inside:
        program.refuse(
            name,
            f"{shown(inside[0])} lies in {shown(str(place))}, where it would be taken for a class of images: "
            "call this from another folder, or write elsewhere (--to FOLDER, and BILP_STORAGE in the environment)",
        )
    from flows.commands.suspects_found import found, show

    ranking = SuspectsConfig.model_validate(options.model_dump(exclude={"to"}))
    with speaking_of(config.ingest.noun):
        program.guarded(
            name, lambda: found(config, ranking, options.to), lambda result: show(*result, config.ingest.corrections is not None)
        )


def _lies_in(place: str, folder: str) -> bool:
    """Whether a place is a folder of images, or below it."""
    return f"{absolute(place)}/".startswith(f"{absolute(folder).rstrip('/')}/")


def _source(place: str) -> dict[str, Any]:
    """What the first word says about ingestion."""
    given = named_source(place, {})
    return merge(given, {"ingest": {"test_fraction": HELD_OUT}}) if "ingest" in given else given


if __name__ == "__main__":
    main(sys.argv[1:])
