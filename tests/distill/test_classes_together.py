"""Image steps of IDC, DREAM and IDM with all classes of a pass at once, against one class after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_distillation import assemble, guard_for, small_config
from torch import Tensor

from bilp.config import DistillConfig, NetworkConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill.loops import class_steps
from bilp.distill.loops.registry import loop_for
from bilp.distill.loops.shared_leaf import SharedLeaf
from bilp.distill.step import synthetic, together
from bilp.distill.step.initial import initial_state
from bilp.distill.step.state import DistillState
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

Few = Callable[[int], RealPool]
Advance = Callable[..., tuple[DistillState, list[float]]]
IN_TURN, TOGETHER = False, True


def config_of(method: str, **changes: Any) -> DistillConfig:
    """Width 8, depth 2; two image steps per network where a network has several."""
    values: dict[str, Any] = {"network": NetworkConfig(width=8, depth=2), "batch_real": 6, "batch_train": 16, "decode": {"factor": 2}}
    values |= {
        "learning_rate": 0.05,
        "outer_loops": 2,
        "idc": {"train_samples": 24},
        "idm": {"networks": 2, "trained": 3, "train_steps": 3},
    }
    if method != "idm":
        values |= {"augment": ("color", "crop", "cutout", "flip", "scale"), "learning_rate": 0.002}
    return small_config(method, **(values | changes))


@pytest.fixture
def advance(few: Few, monkeypatch: pytest.MonkeyPatch) -> Advance:
    """Advances a new run in one of the two forms; its state, and the losses of its iterations."""

    def run(config: DistillConfig, form: bool, stop: int, reselecting: ReselectConfig | None = None) -> tuple[DistillState, list[float]]:
        monkeypatch.setitem(together.TOGETHER, "cpu", form)
        pool = few(12)
        setting, state = assemble(config, pool, reselecting), initial_state(config, pool)
        pruner = None if reselecting is None else AdaptivePruner(pool.dataset.train.labels, pool.classes, reselecting)
        records = loop_for(config.method)(setting, state, stop, pruner, guard_for(setting), silent)
        return state, [record.loss for record in records]

    return run


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
def test_a_pass_moves_every_bit_as_turns_do(momentum: float) -> None:
    images = torch.randn(10, 3, 2, 2, generator=generator(0, "leaf"))
    scale = torch.tensor([1.5, 2.5, 3.5]).view(1, -1, 1, 1)
    turns, passes = (SharedLeaf(images.clone(), torch.zeros_like(images), 5, 0.3, momentum, scale) for _ in range(2))
    for number in range(4):
        gradient = torch.randn(images.shape, generator=generator(0, number))
        passes.begin_pass()
        for c in range(5):
            turns.begin_turn(c)
            assert torch.equal(turns.images[turns.rows(c)], passes.images[turns.rows(c)]), "known before the other classes step"
            turns.end_turn(c, gradient[turns.rows(c)])
        passes.end_pass(gradient)
        assert torch.equal(turns.images, passes.images)
        assert torch.equal(turns.velocity, passes.velocity)


def together_as_in_turn(advance: Advance, config: DistillConfig, **how: Any) -> None:
    start, _ = advance(config, IN_TURN, 0, **how)
    (expected, losses), (found, others) = (advance(config, form, 2, **how) for form in (IN_TURN, TOGETHER))
    assert others == pytest.approx(losses, rel=1e-4)
    for one, other, before in ((expected.images, found.images, start.images), (expected.momentum, found.momentum, start.momentum)):
        moved = (one - before).norm()
        assert moved > 0
        assert (one - other).norm() < 1e-3 * moved


@pytest.mark.parametrize(("method", "changes"), [("idc", {"ipc": 2, "outer_loops": 1}), ("idm", {"ipc": 2})])
def test_all_classes_at_once_go_where_one_after_the_other_goes(advance: Advance, method: str, changes: dict[str, Any]) -> None:
    together_as_in_turn(advance, config_of(method, **changes))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("idc", {"ipc": 1, "augment": ()}),
        ("idc", {"ipc": 3, "idc": {"train_samples": 24, "metric": "l1"}, "learning_rate": 1e-5}),
        ("idc", {"ipc": 1, "decode": {"factor": 3, "kind": "multi", "bound": 11}}),
        ("idc", {"ipc": 3, "decode": {"factor": 2, "kind": "bound", "bound": 9}, "momentum": 0.0}),
        ("idc", {"ipc": 2, "network": NetworkConfig(width=8, norm="batch")}),
        ("idc", {"ipc": 2, "network": NetworkConfig(width=8, depth=2, norm="layer", pooling="max")}),
        ("dream", {"ipc": 1, "outer_loops": 3, "dream": {"interval": 2}}),
        ("dream", {"ipc": 2, "decode": {"factor": 1}, "dream": {"clustered": "pixels", "nearest": "all"}}),
        ("idm", {"ipc": 1, "network": NetworkConfig(width=8, norm="batch")}),
        ("idm", {"ipc": 3, "augment": ("rotate", "scale"), "momentum": 0.9}),
    ],
)
def test_so_they_do_in_every_setting(advance: Advance, method: str, changes: dict[str, Any]) -> None:
    together_as_in_turn(advance, config_of(method, **changes))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["idc", "idm"])
def test_groups_of_classes_change_nothing(advance: Advance, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    config, sizes = config_of(method, ipc=2), list[int]()
    grouped = synthetic.grouped

    def watched(targets: Any, size: int) -> Any:
        for group in grouped(targets, 4):
            sizes.append(len(group))
            yield group

    monkeypatch.setattr(class_steps, "grouped", watched)
    together_as_in_turn(advance, config)
    assert set(sizes) == {4, 2}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["idc", "dream", "idm"])
@pytest.mark.parametrize("mode", ["refill", "shrink"])
def test_steps_that_reselect_see_the_images_of_each_turn(advance: Advance, method: str, mode: str) -> None:
    reselecting = ReselectConfig.model_validate({"beta": 0.4, "interval": 1, "threshold": "quantile", "mode": mode})
    together_as_in_turn(advance, config_of(method, ipc=1, batch_real=8), reselecting=reselecting)


def test_chosen_decoded_images_are_those_of_each_class(few: Few) -> None:
    config = config_of("idc", ipc=2, decode={"factor": 3, "kind": "multi", "bound": 11})
    setting = assemble(config, few(2))
    numbers = setting.choose_decoded_by_class(range(3, 6), "decoded", 7, 1)
    own = [setting.choose_decoded("decoded", 7, 1, c) for c in range(3, 6)]
    assert numbers is not None
    assert setting.entering == 11
    for place, (found, expected) in enumerate(zip(numbers.split(11), own, strict=True)):
        assert isinstance(expected, Tensor)
        assert torch.equal(found - place * config.decode.count(2), expected)
    whole = assemble(config_of("idm", ipc=2), few(2))
    assert whole.choose_decoded_by_class(range(3), "decoded", 0, 0) is None
    assert whole.entering == 8
