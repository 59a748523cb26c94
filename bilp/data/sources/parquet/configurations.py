"""The configuration of a Parquet source: the folder around its splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from bilp.data.sources.parquet.file_names import Part
from bilp.data.sources.parquet.patterns import listed
from bilp.data.split_names import by_role
from bilp.errors import DataError

Found = tuple[list[Part], list[str]]


def wanted_configuration(parts: Sequence[Part], wanted: str, where: str) -> Found:
    """The files of the configuration that `ingest.config` names ('.' is the top), and a note. Raises DataError if there is none."""
    configs = _by_configuration(parts)
    plain = "/".join(name for name in wanted.strip("/").split("/") if name not in (".", "") and name.casefold() != "data")
    same = [name for name in configs if name == plain or (plain and name.endswith(f"/{plain}"))]
    name = plain if plain in same else same[0] if len(same) == 1 else None
    if name is None:
        raise DataError(f"{where}: ingest.config {wanted!r} is {'not there' if not same else 'not unique'}: {_shown(configs)} are there")
    return configs[name], _passed_over(configs, name)


def only_configuration(parts: Sequence[Part], where: str) -> Found:
    """The files of the only configuration with training images, and notes. Raises DataError if there are several, or none."""
    configs = _by_configuration(parts)
    worded = any(part.split is not None for part in parts)
    fit = [name for name in sorted(configs) if not worded or by_role({part.name for part in configs[name]})]
    if not fit:
        found = listed(sorted({part.pattern for part in parts})) or "no other Parquet files"
        raise DataError(
            f"{where}: no training images: expected train-*.parquet, train/ or <configuration>/train/, found {found}: "
            "set ingest.train to the files of the training images"
        )
    if len(fit) > 1:
        if all("=" in name for name in fit):
            raise DataError(f"{where}: is divided into folders by a column ({_shown(fit)}): write the column into the files themselves")
        raise DataError(f"{where}: {len(fit)} configurations: {_shown(fit)}: set ingest.config to one of them, or ingest.train to files")
    notes = [f"configuration {fit[0]} is taken, the only one with training images"] if fit[0] else []
    return configs[fit[0]], [*notes, *_passed_over(configs, fit[0])]


def _by_configuration(parts: Sequence[Part]) -> dict[str, list[Part]]:
    configs: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        configs[part.config].append(part)
    return dict(configs)


def _passed_over(configs: dict[str, list[Part]], taken: str) -> list[str]:
    others = [name for name in configs if name != taken]
    return [f"passed over {_shown(others)}: other configurations (ingest.config)"] if others else []


def _shown(configs: Sequence[str] | dict[str, list[Part]]) -> str:
    """Names of configurations; '.' stands for the top, in the setting too."""
    return listed([name or "." for name in sorted(configs)])
