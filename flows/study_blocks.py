"""The blocks of a study shared out among processes, on one machine or on several: each is computed by one of them, under a lease."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bilp.artifacts import lease
from bilp.artifacts.artifact import Artifact
from bilp.studies.study_part import part_uri
from bilp.studies.study_plan import Block
from bilp.studies.study_progress import Progress
from flows.units.under_lease import ended, owner
from tasks.execution import Execution
from tasks.remote import lease_uri


class Blocks:
    """Those that wait; whoever works on the same study with the same storage takes from them, too."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.left = list(progress.waiting)
        self._watches: dict[int, lease.Watch] = {}

    @contextmanager
    def next(self) -> Iterator[tuple[Block, Artifact | None]]:
        """The first block that another process has computed meanwhile, or else one to compute, under its lease in the `with` block.

        Waits while other processes compute all that are left. The block does not come again. Raises StorageError if the storage is out of
        reach.
        """
        block, done, held = self._found()
        self.left.remove(block)
        if held is None:
            yield block, done
            return
        with lease.holding(held):
            yield block, None

    def _found(self) -> tuple[Block, Artifact | None, lease.Lease | None]:
        while True:
            for block in self.left:
                done = self.progress.there(block)
                held = self._taken(block) if done is None else None
                if held is not None:  # whoever had it before may have published it since we looked
                    done = self.progress.there(block)
                    if done is not None:
                        held.release()
                        held = None
                if done is not None or held is not None:
                    return block, done, held
            time.sleep(Execution().poll_seconds)

    def _taken(self, block: Block) -> lease.Lease | None:
        seconds = Execution().lease_seconds
        watch = self._watches.setdefault(block.number, lease.Watch(seconds))
        uri = part_uri(self.progress.root, self.progress.key, block)
        return lease.take(lease_uri(uri, self.progress.root), owner(), seconds, ended, watch)
