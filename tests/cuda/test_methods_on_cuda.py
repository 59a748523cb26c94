"""An iteration of every method on the pretended device: the images of the CPU, on one device throughout, within its budget."""

from __future__ import annotations

import pytest
import torch
from pretend_cuda import pretend_cuda
from tiers import first_tier

from benchmarks.gpu.iterations import SHORT, advance, beginning, config_for
from bilp.config.methods import optimizing

# Per iteration at ipc 1, width 8, 8 real images a class: operations that launch a kernel, and waits of the host. Budgets only ever
# fall: what costs more was made slower on every GPU.
BUDGETS = {
    "dm": (150, 1),
    "dc": (452, 1),
    "dsa": (509, 1),
    "idc": (1439, 2),
    "dream": (1920, 3),
    "idm": (392, 1),
    "mtt": (1003, 1),
    "tesla": (954, 1),
    "cafe": (524, 2),
    "ncfm": (368, 1),
    "lgm": (217, 1),
    "frepo": (400, 1),
    "rfad": (400, 1),
    "linba": (1290, 1),
    "haba": (1090, 1),
    "datm": (1109, 3),
    "pad": (1109, 3),
    "sre2l": (230, 1),
    "cda": (230, 1),
    "lpld": (1140, 2),
    "fadrm": (2180, 121),
    "selmatch": (1780, 1),
}

# And copies to the device: a batch of real images, which here do not lie there, the initial weights, one row of numbers for all
# augmentation of an image step, and in the first iteration alone two constants of each size. IDC and DREAM train on real images in between.
# NCFM sends the weights of a network that it meets for the first time, and its frequencies.
COPIES = {"dm": 6, "dc": 3, "dsa": 6, "idc": 49, "dream": 36, "idm": 17, "mtt": 6, "tesla": 6, "cafe": 19, "ncfm": 25, "lgm": 27} | {
    "frepo": 20,
    "rfad": 30,
    "linba": 7,
    "haba": 13,
}
COPIES |= {"sre2l": 4, "cda": 4, "lpld": 53, "fadrm": 258, "selmatch": 6}  # FADRM's patches are chosen in the first iteration
COPIES |= {"datm": 24, "pad": 24}  # the parameters of all experts after their last epoch among them


@pytest.mark.parametrize("method", first_tier(optimizing(), "dm", "dc", "dsa", "mtt", "idm"))
def test_an_iteration_agrees_with_the_cpu_within_its_budget(method: str) -> None:
    config = config_for(method, 1, 8, 8, SHORT.get(method))
    setting, at_home = beginning(config, torch.device("cpu"))
    start = at_home.images.clone()
    advance(setting, at_home)
    with pretend_cuda() as counts:
        setting, away = beginning(config, torch.device("cuda"))
        counts.clear()
        advance(setting, away)
        launches, waits, copies = counts.launches, sum(counts.waits.values()), sum(counts.copies.values())
        unordered = dict(counts.unordered)
        images = away.images.detach().cpu()
    moved = (at_home.images.detach() - start).norm()
    assert float(moved) > 0
    assert float((images - at_home.images.detach()).norm() / moved) < 1e-4
    assert unordered == {}, "another run would give other bytes"
    most_launches, most_waits = BUDGETS[method]
    assert (launches <= most_launches, waits <= most_waits) == (True, True), (launches, waits)
    assert copies <= COPIES[method], copies
