"""Trains experts in a process of its own and kills that process in the middle of one.

python train_until_killed.py DATASET_URI SELECTION_URI CONFIG NETWORK ROOT KILL_IN_EXPERT KILL_AFTER_BATCHES
"""

from __future__ import annotations

import os
import signal
import sys

from bilp.config import ExpertsConfig, NetworkConfig
from bilp.experts.train_experts import train_expert


def main(dataset: str, selection: str, config: ExpertsConfig, network: NetworkConfig, root: str, kill_in: int, kill_after: int) -> None:
    for number in range(config.count):

        def watch(done: int, total: int, note: str = "", number: int = number) -> None:
            if (number, done) == (kill_in, kill_after):
                os.kill(os.getpid(), signal.SIGKILL)

        train_expert(dataset, selection, config, network, number, root, progress=watch)


if __name__ == "__main__":
    models = ExpertsConfig.model_validate_json(sys.argv[3]), NetworkConfig.model_validate_json(sys.argv[4])
    main(sys.argv[1], sys.argv[2], *models, sys.argv[5], int(sys.argv[6]), int(sys.argv[7]))
