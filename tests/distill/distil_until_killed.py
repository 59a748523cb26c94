"""Distils in a process of its own and kills that process in the middle of a round.

python distil_until_killed.py RUN_URI KILL_IN_ROUND KILL_AFTER_ITERATIONS [SHARD]
"""

from __future__ import annotations

import os
import signal
import sys

from bilp.distill import distill_round, open_run, reselect_round


def main(run_uri: str, kill_in: int, kill_after: int, shard: int | None = None) -> None:
    for number in range(1, open_run(run_uri).distill.rounds + 1):

        def watch(done: int, total: int, note: str = "", number: int = number) -> None:
            if (number, done) == (kill_in, kill_after):
                os.kill(os.getpid(), signal.SIGKILL)

        reselect_round(run_uri, number, shard=shard)
        distill_round(run_uri, number, progress=watch, shard=shard)


if __name__ == "__main__":
    main(sys.argv[1], *(int(value) for value in sys.argv[2:]))
