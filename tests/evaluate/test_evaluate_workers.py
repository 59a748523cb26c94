"""Two processes share one evaluation in blocks; one of them is killed in the middle of a block, and the other one takes that up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bilp.artifacts.artifact import open_artifact
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.config.evaluated_set import EvaluatedSet
from bilp.evaluate import evaluate_baseline, train_all
from bilp.evaluate.course_files import CONFUSION_FILE, COURSE_FILE
from bilp.evaluate.division import blocks_of
from bilp.evaluate.results import FILE, KIND
from bilp.evaluate.training_blocks import is_there
from tasks.addresses import evaluated_network

pytestmark = pytest.mark.slow

SUBJECT = EvaluatedSet(baseline="random", ipc=1)

WORKER = """
import json, os, signal, sys
from bilp.config import EvaluateConfig
from bilp.config.evaluated_set import Block, EvaluatedSet
from bilp.evaluate import evaluate_network
dataset, root, log, pipe, kill_in, told = *sys.argv[1:5], int(sys.argv[5]), json.load(sys.stdin)
if kill_in < 0:
    open(pipe).close()  # begins when the other one is in the middle of its last block
config, subject = EvaluateConfig.model_validate(told["config"]), EvaluatedSet.model_validate(told["subject"])
for place, block in enumerate(map(Block.model_validate, told["blocks"])):
    steps = 0
    def progress(done, total, note=""):
        global steps
        steps += 1
        with open(log, "a") as file:
            file.write(f"{block.network} {block.first}\\n")
        if place == kill_in and steps == 1:
            open(pipe, "w").close()
        if place == kill_in and steps == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    evaluate_network(dataset, subject, block, config, root, progress=progress)
"""


def test_two_workers_one_of_which_dies_leave_the_bytes_of_one_process(
    digits_uri: str, small: EvaluateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = (NetworkConfig(name="mlp"), NetworkConfig(width=8, depth=1))
    config = small.model_copy(update={"networks": networks, "seeds": 3, "epochs": 2, "networks_at_once": 2})
    root = str(tmp_path / "shared")
    whole = evaluate_baseline(digits_uri, "random", 1, config, str(tmp_path / "whole"))
    blocks = blocks_of(digits_uri, SUBJECT, config, root, 1)
    assert len(blocks) == 4

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def worker(name: str, order: int, kill_in: int) -> subprocess.Popen[str]:
        told = {"config": config, "subject": SUBJECT, "blocks": blocks[::order]}
        command = [sys.executable, "-P", "-c", WORKER, digits_uri, root, str(tmp_path / name), str(pipe), str(kill_in)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        begun = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert begun.stdin is not None
        begun.stdin.write(json.dumps(told, default=lambda each: each.model_dump(mode="json")))
        begun.stdin.close()
        begun.stdin = None
        return begun

    with worker("dies", 1, 1) as dies, worker("stays", -1, -1) as stays:
        try:
            assert dies.wait() == -signal.SIGKILL
            _, errors = stays.communicate()
            assert stays.returncode == 0, errors
        finally:
            stays.kill()
    first, second, third, fourth = (f"{block.network} {block.first}" for block in blocks)
    assert set((tmp_path / "dies").read_text().splitlines()) == {first, second}
    assert set((tmp_path / "stays").read_text().splitlines()) == {second, third, fourth}, "what was interrupted, and nothing that was done"
    assert all(is_there(evaluated_network(digits_uri, SUBJECT, block, config, root)) for block in blocks)
    for name in ("_alone", "_together"):
        monkeypatch.setattr(train_all, name, None)  # nothing is left to be trained
    shared = evaluate_baseline(digits_uri, "random", 1, config, root)
    for name in (FILE, COURSE_FILE, CONFUSION_FILE):
        assert open_artifact(shared, KIND).read(name) == open_artifact(whole, KIND).read(name)
    assert _trainings(root) == _trainings(str(tmp_path / "whole"))


def _trainings(root: str) -> dict[str, bytes]:
    """What was kept of each training, by its place."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(Path(root, "trainings").rglob("*.json"))}
