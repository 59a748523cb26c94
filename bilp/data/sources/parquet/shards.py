"""Whether the files of one split are one whole upload: no shard missing, none doubled, no second upload beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from bilp.data.contents import counted
from bilp.data.sources.parquet.file_names import Part
from bilp.errors import DataError
from bilp.text.escaping import shown

MOST = 5  # of a list of files or numbers that an error shows


def check_whole(parts: Sequence[Part], setting: str, where: str) -> list[str]:
    """Notes about files that were put together by their names. Raises DataError if they are no single whole upload.

    `setting` is the one by which a user chooses among them: ingest.train or ingest.test.
    """
    uploads = _uploads(parts)
    if len(uploads) > 1 and not _arbitrary(parts):
        found = "; ".join(f"{upload[0].pattern} ({counted(len(upload), 'file')})" for upload in uploads)
        if len({part.folder for part in parts}) == 1 and len({part.base for part in parts}) == len(uploads):
            raise DataError(
                f"{where}: {len(uploads)} tables side by side: {found}: set {setting} to one of them, "
                f"or to {shown(parts[0].folder) or '.'} to take all"
            )
        example = uploads[-1][0].pattern
        raise DataError(f"{where}: {len(uploads)} uploads of the same images side by side: {found}: {_choose(setting, example)}")
    notes: list[str] = []
    for upload in uploads:
        _refuse_doubled(upload, setting, where)
        _refuse_beyond(upload, setting, where)
        first = upload[0]
        missing = _missing(upload)
        if missing and first.base == "part" and first.tag:
            notes.append(f"{first.pattern}: there is no {missing}; Spark writes no file for an empty part")
        elif missing:
            raise DataError(
                f"{where}: missing {missing} ({_found(upload)}): fetch what is missing, or set {setting} to {first.pattern} to go on "
                "without"
            )
    return notes


def check_given(parts: Sequence[Part], setting: str, where: str) -> list[str]:
    """Notes about files that a user's pattern matched: what the pattern takes is taken, unless it holds images twice for certain.

    Raises DataError if a shard `i-of-N` is matched twice, or two uploads of the same name with other N.
    """
    notes: list[str] = []
    totals: dict[tuple[str, str], set[int]] = defaultdict(set)
    for upload in _uploads(parts):
        first = upload[0]
        if first.total is None:
            continue
        _refuse_doubled(upload, setting, where)
        _refuse_beyond(upload, setting, where)
        known = totals[first.folder, first.base]
        known.add(first.total)
        if len(known) > 1:
            numbers = " and ".join(str(total) for total in sorted(known))
            raise DataError(f"{where}: {setting} matches shards of {numbers} files side by side: {_choose(setting, first.pattern)}")
        missing = _missing(upload)
        if missing:
            notes.append(f"{first.pattern}: {_found(upload)}, and taken as they are ({setting}); missing: {missing}")
    return notes


def _uploads(parts: Sequence[Part]) -> list[list[Part]]:
    """The files by folder, name and form of numbering, each in the order of its numbers."""
    uploads: dict[tuple[str, str, str], list[Part]] = defaultdict(list)
    for part in parts:
        uploads[part.folder, part.base, part.form].append(part)
    return [sorted(uploads[key], key=lambda part: (part.number, part.path)) for key in sorted(uploads)]


def _arbitrary(parts: Sequence[Part]) -> bool:
    """Tables of any names, not numbered, in one folder that names the split: all of them are meant."""
    return len({part.folder for part in parts}) == 1 and all(part.named_by_folder and part.form == "single" for part in parts)


def _refuse_doubled(upload: Sequence[Part], setting: str, where: str) -> None:
    by_number: dict[int, list[str]] = defaultdict(list)
    for part in upload:
        by_number[part.number].append(part.path)
    doubled = {number: paths for number, paths in by_number.items() if len(paths) > 1}
    if doubled:
        number, paths = next(iter(doubled.items()))
        total = upload[0].total
        which = f"shard {number} of {total}" if total is not None else f"number {number}" if upload[0].digits else "one table"
        more = f" ({len(doubled)} such numbers)" if len(doubled) > 1 else ""
        found = ", ".join(map(shown, paths[:MOST]))
        raise DataError(f"{where}: {which} is there {len(paths)} times: {found}{more}: {_choose(setting, shown(paths[-1]))}")


def _refuse_beyond(upload: Sequence[Part], setting: str, where: str) -> None:
    """Raise DataError for a shard whose number does not exist among N, counted from 0, or from 1 if there is no 0."""
    total = upload[0].total
    if total is None:
        return
    start = 0 if any(part.number == 0 for part in upload) else 1
    beyond = [part.path for part in upload if part.number >= start + total]
    if beyond:
        found = ", ".join(map(shown, beyond[:MOST]))
        problem = f"there is no such shard of {total}: they count from {start} to {start + total - 1}"
        raise DataError(f"{where}: {found}: {problem}: {_choose(setting, shown(upload[0].path))}")


def _missing(upload: Sequence[Part]) -> str:
    """The files that are missing, or ''. Numbers count from 0, or from 1 if there is no 0 (of N: if there is an N)."""
    first = upload[0]
    numbers = {part.number for part in upload if part.digits}
    lone = len(upload) == 1 and not first.digits.startswith("0")
    if not numbers or (first.total is None and lone):
        return ""  # a single number need not be that of a shard: train_2023, train_64
    start = 0 if 0 in numbers or (first.total is not None and first.total not in numbers) else 1
    stop = max([*numbers, start - 1 + (first.total or 0)])
    count = stop + 1 - start - len(numbers)
    lacking = (
        first.pattern.replace("*", str(number).zfill(len(first.digits)), 1) for number in range(start, stop + 1) if number not in numbers
    )
    return ", ".join(islice(lacking, MOST)) + (f" and {count - MOST} more" if count > MOST else "")


def _found(upload: Sequence[Part]) -> str:
    count, total = len(upload), upload[0].total
    return f"{count} {'is' if count == 1 else 'are'} there" if total is None else f"{count} of {total} are there"


def _choose(setting: str, example: str) -> str:
    return f"remove those that are not meant, or set {setting} to a pattern of the others, such as {example}"
