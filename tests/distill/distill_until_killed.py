"""Distills in a process of its own and kills that process in the middle of a round, or of the training of a pretrained network.

python distill_until_killed.py RUN_URI KILL_IN_ROUND KILL_AFTER_STEPS [SHARD]

Pretrained networks are trained first. Round -k is network number k (from 1) of those; round steps are what its progress counts.
"""

from __future__ import annotations

import os
import signal
import sys

from bilp.distill import distill_round, open_run, pretrain_network, reselect_round
from bilp.progress import Progress


def main(run_uri: str, kill_in: int, kill_after: int, shard: int | None = None) -> None:
    config = open_run(run_uri).distill

    def watch(number: int) -> Progress:
        def look(done: int, total: int, note: str = "") -> None:
            if (number, done) == (kill_in, kill_after):
                os.kill(os.getpid(), signal.SIGKILL)

        return look

    for network in range(1, config.idc.pretrained.networks + 1):
        pretrain_network(run_uri, network - 1, progress=watch(-network))
    for number in range(1, config.rounds + 1):
        reselect_round(run_uri, number, shard=shard)
        distill_round(run_uri, number, progress=watch(number), shard=shard)


if __name__ == "__main__":
    main(sys.argv[1], *(int(value) for value in sys.argv[2:]))
