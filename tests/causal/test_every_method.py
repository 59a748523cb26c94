"""What a reselection of every method measures is what leaving each sample out says, and docs say which they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import effect_table
import pytest
import torch
from torch import Tensor

from benchmarks.gpu.iterations import SHORT, advance, beginning, config_for
from bilp.config import METHODS, ReselectConfig
from bilp.config.estimators import ESTIMATORS, EstimatorEntry
from bilp.distill.loops.registry import networks_for
from bilp.distill.step.divergence import Guard
from bilp.distill.step.reselection import reselect
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner

CPU = torch.device("cpu")
ADAPTIVE = [name for name in METHODS if METHODS[name].adaptive]
CANDIDATES = 4
PAGE = Path(__file__).resolve().parents[2] / "docs" / "level2.md"


def effects(setting: Setting, state: DistillState, estimator: str) -> Tensor:
    """Norms `[10 classes x CANDIDATES]`."""
    reselecting = ReselectConfig.model_validate({"beta": 0.3, "estimator": estimator, "candidates_per_class": CANDIDATES})
    measuring, data = replace(setting, reselect=reselecting), setting.pool.dataset
    pruner = AdaptivePruner(data.train.labels, setting.pool.classes, reselecting)
    guard = Guard(setting.config.learning_rate, data.class_names, float("nan"), "")
    found = reselect(measuring, state, 1, pruner, guard, silent, networks_for(setting.config.method))
    return torch.cat([each.mean for each in found])


@pytest.mark.slow
@pytest.mark.parametrize("method", ADAPTIVE)
def test_effects_are_those_of_leaving_each_sample_out(method: str) -> None:
    """On the state after an iteration, with the networks and augmentations of the method's own reselection."""
    setting, state = beginning(config_for(method, 1, 8, CANDIDATES, SHORT.get(method)), CPU, 2 * CANDIDATES)
    advance(setting, state)
    definition = effects(setting, state, "oracle")
    assert len(definition) == 10 * CANDIDATES and float(definition.min()) > 0
    exact = [name for name in METHODS[method].estimators or ESTIMATORS if _forms_them(ESTIMATORS[name])]
    assert exact, "an estimator other than the definition"
    for name in exact:
        torch.testing.assert_close(effects(setting, state, name), definition, rtol=1e-3, atol=1e-5 * float(definition.max()))


def _forms_them(entry: EstimatorEntry) -> bool:
    return not (entry.by_definition or entry.first_order or entry.sketches)


@pytest.mark.parametrize("method", METHODS)
def test_the_page_says_what_the_registry_says(method: str) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert effect_table.row(method) in lines
    assert not set(effect_table.HEAD) - set(lines)
