"""Which files of a storage are ours: what nobody here wrote is never removed."""

from __future__ import annotations

import re

from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import RECORD
from bilp.results.places import PLACES, TRAININGS
from bilp.storage.local import TEMPORARY

JOURNAL = "_removing.json"
"""What is being removed from a storage, directly below its root (`bilp.maintenance.removal`)."""
LEASES = "leases/"
"""Below which it is said who works on what."""

HALF = "temporary"
"""Kind of what is being written or removed, or was when a process was killed."""

_SPLIT = "(train|test)"
_TABLES = (
    f"{_SPLIT}|evaluation|accuracy|confusion|course|robustness|reproduction|selection|experts|duplicates"
    "|truth|corrections|summary|losses|scores|ite|epochs|probabilities|own|suspects|growth|candidates|shares|runs"
    "|rows|seconds|detection|plan|part|tiles"
)
_TENSORS = r"teacher|network|synthetic|labels|checkpoint|momentum|snapshot|pruner|whitening|epoch-\d{4,}"
_MARK = r"(\.[0-9a-f]{8,64})?"  # see `bilp.artifacts.publication`
# Of interrupted publications nothing but the names tells whose they are.
_PUBLISHED = re.compile(
    rf"({_TABLES}){_MARK}\.parquet|{_SPLIT}-\d{{5,}}{_MARK}\.arrow|({_TENSORS}){_MARK}\.safetensors"
    rf"|(ledger|absent|reproduction){_MARK}\.json|(report|suspects|study){_MARK}\.html|study{_MARK}\.yaml|table{_MARK}\.(csv|tex)"
    rf"|(grid|worst){_MARK}\.png|(suspects|corrections|shares){_MARK}\.csv"
)
_FOLDERS = {place.parts[0] for place in PLACES} | {LEASES.rstrip("/")}
_AT_THE_TOP = re.compile(rf"\.{{1,2}}(probe-|clock-|{re.escape(JOURNAL)}\.).+\.tmp")
"""What is written directly below the root, and the names of which begin as in `bilp.storage.objects.check_storage` and `garbage.clock`."""
_TRAINING = re.compile(r"[a-z0-9_]+-[0-9a-f]{16}/\d{4,}(-\d{4,})?\.json")


def is_ours(kind: str, name: str) -> bool:
    """Whether a file of this name, relative to the folder of an artifact, a run or trainings, is one that a stage may have written."""
    if kind == TRAININGS:
        return _TRAINING.fullmatch(name) is not None
    return name in (MANIFEST, RECORD) or _PUBLISHED.fullmatch(name) is not None


def temporary(path: str) -> str | None:
    """The temporary file or folder that a path is or lies in: what a process that was killed left behind, or another one is filling."""
    names = path.split("/")
    if names[0] not in _FOLDERS and not _AT_THE_TOP.fullmatch(path):
        return None  # in a folder that is none of ours
    last = next((index for index, name in enumerate(names) if TEMPORARY.fullmatch(name)), None)
    return None if last is None else "/".join(names[: last + 1])
