"""The states after rounds: in the round where it keeps them, else beside it until nobody needs them any more (`distill.keep_rounds`).

A round that does not keep its state never names it, so nothing that is published is ever taken apart: the state is an artifact of
its own, published before the round, and removed, manifest first, once the next round is there and, of a shard, the merged one.
Whoever needs a state that is gone nevertheless computes its round again, from the last one that is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import CHECKPOINT, ROUND, STATE
from bilp.distill.part import Part
from bilp.errors import DamagedArtifact, MissingArtifact, StorageRefused
from bilp.storage import objects


def find_state(part: Part, round_number: int) -> Artifact | None:
    """The artifact that holds the state after a round: the round itself, or the one beside it; None if neither does."""
    artifact = part.find(ROUND, round_number)
    if artifact is not None and CHECKPOINT in artifact.manifest.files:
        return artifact
    return part.find(STATE, round_number)


def open_state(part: Part, round_number: int) -> Artifact:
    """As `find_state`. Raises MissingArtifact, naming what to run, if it is not there."""
    artifact = find_state(part, round_number)
    if artifact is None:
        shard = "" if part.shard is None else f" (shard {part.shard})"
        raise MissingArtifact(
            f"the state after round {round_number} of {part.uri} was not kept (distill.keep_rounds = {part.run.distill.keep_rounds}): "
            f"run distill_round for it again{shard}"
        )
    return artifact


def is_lacking(part: Part, round_number: int) -> bool:
    """Whether a shard's round is there without the state from which the round of the whole run has still to be merged."""
    if part.shard is None or part.find(ROUND, round_number) is None:
        return False
    return find_state(part, round_number) is None and part.merged.find(ROUND, round_number) is None


def is_done(part: Part, kind: str, round_number: int) -> bool:
    """Whether a round (kind ROUND) or its reselection (RESELECT) is there, with the state after it if anybody needs that still."""
    if part.find(kind, round_number) is None:
        return False
    merged = part.shard is None and part.run.distill.shards > 1  # nothing goes on from its states
    return kind != ROUND or merged or find_state(part, round_number) is not None or not _is_needed(part, round_number)


@contextmanager
def unless_done(part: Part, kind: str, round_number: int) -> Iterator[None]:
    """Work on a round that another process may finish at the same time, which then removes the states that it needed no more.

    Whatever is found missing in the block is no error if what the block was to make is there by then.
    """
    try:
        yield
    except (MissingArtifact, DamagedArtifact):  # a file may go after the manifest that names it was read
        if not is_done(part, kind, round_number):
            raise


def clear(part: Part, rounds: range) -> None:
    """Remove the states of rounds that nobody needs any more; those that rounds keep stay."""
    if part.run.distill.keep_rounds == "all":
        return
    for number in rounds:
        uri = part.place(STATE, number)
        if objects.exists(uri) and not _is_needed(part, number):  # also what a removal left that was killed after the manifest
            with suppress(StorageRefused):  # who may not delete has computed nevertheless
                objects.delete(objects.join(uri, MANIFEST))
                objects.delete(uri)


def _is_needed(part: Part, round_number: int) -> bool:
    if round_number < part.run.distill.rounds and part.find(ROUND, round_number + 1) is None:
        return True
    return part.shard is not None and part.merged.find(ROUND, round_number) is None
