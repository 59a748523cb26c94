"""NCFM: its loop against the library's optimizers and the paper's formula, and the effects of samples by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_characteristic import assert_same_images, config_of, run_of, with_networks
from tiny_distillation import assemble, assert_follows, guard_for, spelled_out
from tiny_reference import reference
from torch import Tensor
from torch.nn import functional

from bilp.config import NetworkConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.ncfm import CharacteristicIterations, distill, draw_network_between
from bilp.distill.step import real_features
from bilp.distill.step.initial import initial_state
from bilp.distill.step.pixel_steps import RATES, SQUARES, WAITED, PixelSteps, require_carried
from bilp.distill.step.real_features import RealFeatures
from bilp.distill.step.reselection import reselect
from bilp.distill.step.setting import Setting
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.images import augment
from bilp.matching.characteristic import CharacteristicMatching
from bilp.nets import build, initialize
from bilp.nets.by_device import ByDevice
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

Few = Callable[[int], RealPool]
Begin = Callable[..., str]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)
NORMAL = ReselectConfig(beta=0.25, candidates_per_class=8, interval=2)


# --- the loop ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ipc": 3, "seed": 1, "outer_loops": 3},
        {"ipc": 2, "seed": 2, "characteristic": {"optimizer": "sgd"}, "learning_rate": 1e-3, "batch_real": 100},
        {"seed": 3, "characteristic": {"amplitude": 0.9, "phase": 0.1, "scale": 7.0, "weight_decay": 0.1, "patience": 1}, "init": "noise"},
        {"seed": 4, "characteristic": {"amplitude": 0.2, "phase": 0.8, "patience": 0}, "decode": {"factor": 1}, "augment": ()},
    ],
    ids=["plain", "several steps", "sgd", "amplitude", "phase"],
)
@pytest.mark.slow
def test_the_loop_equals_the_slow_restatement(few: Few, changes: dict[str, Any]) -> None:
    config, pool = config_of(**changes), few(12)
    before = initial_state(config, pool).images
    state, records = run_of(config, pool, 4)
    slow = reference(config, pool)
    curve = slow.run(4)
    assert [record.loss for record in records] == pytest.approx(curve, rel=2e-4)
    assert_same_images(state.images, slow.images, before)
    assert [record.real_used for record in records] == [10 * min(12, config.batch_real) * config.outer_loops] * 4


def test_the_first_loss_is_the_plain_objective_to_five_digits(few: Few) -> None:
    config, pool = config_of(ipc=2), few(9)
    curve = reference(config, pool).run(1)
    _, (record,) = run_of(config, pool, 1)
    assert record.loss == pytest.approx(curve[0], rel=1e-5)


def test_twenty_steps_follow_the_stored_curve(few: Few) -> None:
    """The file holds what this call gave once."""
    expected = json.loads((HERE / "expected_ncfm.json").read_text())
    state, records = run_of(config_of(iterations=20), few(24), 20)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-2)


@pytest.mark.slow
def test_losses_are_reached_that_lie_far_below_the_first_ones(few: Few) -> None:
    """Noise becomes images that match a class about as well as as many of its own samples do, and these can be improved."""
    changes: dict[str, Any] = {"ipc": 4, "augment": (), "iterations": 60, "rounds": 1, "decode": {"factor": 1}, "batch_real": 100}
    config, pool = config_of(**changes, init="noise", learning_rate=0.03), few(60)
    _, records = run_of(config, pool, 60)
    first, last = (sum(record.loss for record in part) / 5 for part in (records[:5], records[-5:]))
    means = []
    for rate in (1e-9, 0.02):
        _, samples = run_of(config_of(**changes, learning_rate=rate), pool, 60)
        means.append(sum(record.loss for record in samples[-20:]) / 20)
    assert last < 0.4 * first
    assert last < 1.2 * means[0]
    assert means[1] < 0.7 * means[0], means


@pytest.mark.slow
def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bits(few: Few) -> None:
    config, pool = config_of(ipc=2, outer_loops=2, characteristic={"patience": 1}), few(10)
    whole, _ = run_of(config, pool, 4)
    state = initial_state(config, pool)
    for stop in (1, 3, 4):
        setting = assemble(config, pool)
        state = state.to("cpu")
        distill(setting, state, stop, None, guard_for(setting))
    assert torch.equal(state.images, whole.images)
    assert state.method.keys() == whole.method.keys() == {SQUARES, RATES, WAITED, "lowest"}
    assert all(torch.equal(state.method[name], whole.method[name]) for name in whole.method)
    assert bool((whole.method[RATES] < 0.01).any()), "a patience of one step is soon at its end"


@pytest.mark.slow
def test_no_class_depends_on_another(few: Few) -> None:
    """Also where all images share an optimizer in the program: the images of a class alone are those of all classes together."""
    config, pool = config_of(ipc=2, characteristic={"patience": 1}), few(10)
    whole, _ = run_of(config, pool, 4)
    for classes in (range(3), range(7, 10)):
        setting = Setting.assemble(config, OFF, pool, "cpu", classes=classes)
        state = initial_state(config, pool, classes)
        names = setting.pool.dataset.class_names
        guard = type(guard_for(setting))(0.01, names, float("nan"), "", classes)
        distill(setting, state, 4, None, guard)
        rows = slice(2 * classes.start, 2 * classes.stop)
        torch.testing.assert_close(state.images, whole.images[rows], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state.method[RATES], whole.method[RATES][classes.start : classes.stop])


@pytest.mark.slow
def test_pixels_stay_within_their_range(few: Few) -> None:
    config, pool = config_of(init="noise", learning_rate=0.5), few(6)
    state, _ = run_of(config, pool, 2)
    dataset = pool.dataset
    pixels = state.images * torch.tensor(dataset.std).view(-1, 1, 1) + torch.tensor(dataset.mean).view(-1, 1, 1)
    assert float(pixels.min()) >= -1e-6
    assert float(pixels.max()) <= 1 + 1e-6
    assert float(pixels.std()) > 0.1


@pytest.mark.slow
def test_features_of_standing_batches_are_computed_once_and_anew_when_samples_change(few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    config, pool = config_of(outer_loops=3, batch_real=100), few(8)
    settings = ReselectConfig(beta=0.25, interval=2, threshold="quantile")
    setting, state = assemble(config, pool, settings), initial_state(config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    asked: list[int] = []
    plain = RealFeatures._of

    def counted(self: RealFeatures, batch: Any) -> Tensor:
        known = self._held.get(batch.class_index)
        asked.append(0 if known is not None and torch.equal(known[0], batch.ids) else len(batch.ids))
        return plain(self, batch)

    monkeypatch.setattr(RealFeatures, "_of", counted)
    loop = CharacteristicIterations(setting, state, pruner, guard_for(setting))
    loop.advance(2)
    computed = [sum(count > 0 for count in asked[k : k + 10]) for k in range(0, len(asked), 10)]
    # Of six image steps one decided, and has its own batches; iteration 1 computes once, iteration 0 again after the decision.
    assert len(asked) == 50
    assert computed[-3:] == [10, 0, 0]
    assert sum(computed) <= 30
    assert all(count <= 8 for count in asked)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_standing_features_give_what_networks_give_anew(few: Few, monkeypatch: pytest.MonkeyPatch, norm: str) -> None:
    """Also in the image steps after one that decided, and where networks have statistics, which stand with them."""
    images = []
    for budget in (None, 0):
        if budget is not None:
            monkeypatch.setattr(real_features, "HELD_BYTES", ByDevice(cpu=budget, gpu=budget, large=budget))
        pool, settings = few(24), ReselectConfig(beta=0.4, interval=1, threshold="quantile")
        setting = assemble(config_of(outer_loops=3, batch_real=100, network=NetworkConfig(width=8, depth=2, norm=norm)), pool, settings)
        state = initial_state(setting.config, pool)
        pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
        records = distill(setting, state, 2, pruner, guard_for(setting))
        assert records[0].real_used < 3 * 240
        images.append(state.images)
    assert torch.equal(*images)


@pytest.mark.slow
def test_an_absurd_learning_rate_diverges_with_a_name(few: Few) -> None:
    with pytest.raises(Diverged, match=r"iteration \d+: .* class \d .*1e\+20"):
        run_of(config_of(learning_rate=1e20, characteristic={"optimizer": "sgd"}), few(8), 4)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_batch_norm_is_no_exception(few: Few, norm: str) -> None:
    state, records = run_of(config_of(network=NetworkConfig(width=8, depth=2, norm=norm)), few(8), 2)
    assert all(record.loss > 0 for record in records)
    assert bool(state.images.isfinite().all())


# --- level 2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_effects_are_those_of_leaving_each_sample_out_by_hand(few: Few) -> None:
    """Against complex exponentials, a mean that is formed anew and plain autograd, through decoding and augmentation."""
    config, pool = config_of(ipc=2, seed=7, batch_real=100), few(9)
    settings = ReselectConfig(beta=0.3, candidates_per_class=None, networks=2)
    setting, state = assemble(config, pool, settings), initial_state(config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    found = reselect(setting, state, 3, pruner, guard_for(setting), silent, draw_network_between)
    for c in (0, 4):
        ids, norms = found[c].ids, []
        for k in range(2):
            network = build(config.network, pool.dataset.shape, pool.classes)
            initialize(network, generator(7, "reselect_network", 3, k))
            params = augment.draw_combined(config.augment, setting.side, generator(7, "reselect_augment", 3, k, c))
            features = network.embed(augment.apply(pool.dataset.train.batch(ids), params)).detach()
            frequencies = torch.randn(32, features.shape[1], generator=generator(7, "reselect_frequencies", 3, k))

            def phi(rows: Tensor, frequencies: Tensor = frequencies) -> Tensor:
                return torch.exp(1j * functional.normalize(rows, dim=1) @ frequencies.T.to(torch.complex64))

            def gradient(mean: Tensor, network=network, params=params, c=c, phi=phi) -> Tensor:  # type: ignore[no-untyped-def]
                own = state.images[2 * c : 2 * c + 2].detach().clone().requires_grad_()
                psi = phi(network.embed(setting.network_inputs(own, params))).mean(0)
                return torch.autograd.grad(300 / 2**0.5 * (mean - psi).abs().mean(), own)[0]

            each = phi(features)
            whole = gradient(each.mean(0))
            without = [gradient(torch.cat([each[:i], each[i + 1 :]]).mean(0)) for i in range(len(ids))]
            norms.append(torch.stack([(whole - part).norm() for part in without]))
        torch.testing.assert_close(found[c].mean, torch.stack(norms).mean(0), rtol=5e-3, atol=1e-5)
        assert int((~found[c].kept).sum()) > 0


@pytest.mark.slow
def test_exact_and_slow_effects_decide_alike(few: Few) -> None:
    decisions = []
    for estimator in ("cotangent", "oracle"):
        settings = ReselectConfig(beta=0.3, candidates_per_class=None, estimator=estimator, threshold="quantile")
        pool = few(12)
        setting = assemble(config_of(ipc=2, batch_real=100), pool, settings)
        state = initial_state(setting.config, pool)
        pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
        decisions.append(reselect(setting, state, 1, pruner, guard_for(setting), silent, draw_network_between))
    for one, other in zip(*decisions, strict=True):
        torch.testing.assert_close(one.mean, other.mean, rtol=1e-3, atol=1e-6)
        assert torch.equal(one.kept, other.kept)


# --- what is refused -----------------------------------------------------------------------------------------------------


def test_what_a_checkpoint_carries_is_checked(few: Few) -> None:
    config, pool = config_of(ipc=2), few(8)
    setting, state = assemble(config, pool), initial_state(config, pool)
    steps = PixelSteps(setting, state)
    steps.note(torch.ones(10))
    carried = dict(state.method)
    require_carried(carried, config, pool, "here")
    wrong: list[dict[str, Tensor]] = [
        {name: value for name, value in carried.items() if name != SQUARES},
        carried | {RATES: carried[RATES][:-1]},
        carried | {RATES: carried[RATES] * 2},
        carried | {WAITED: carried[WAITED] - 1},
        carried | {SQUARES: carried[SQUARES][:-2]},
        carried | {"other": carried[RATES]},
    ]
    for tensors in wrong:
        with pytest.raises(DamagedArtifact, match="here"):
            require_carried(tensors, config, pool, "here")


def test_weights_that_match_nothing_and_missing_networks_are_refused(few: Few) -> None:
    with pytest.raises(ValueError, match="amplitude and phase both have weight 0"):
        config_of(characteristic={"amplitude": 0.0, "phase": 0.0})
    with pytest.raises(ConfigError, match=r"characteristic.pretrained.networks = 2: train them first \(pretrain_network\)"):
        assemble(with_networks(), few(4))
    with pytest.raises(ValueError, match=r"set characteristic.pretrained.networks to 0, or use ncfm"):
        spelled_out({"method": "dm", "characteristic": {"pretrained": {"networks": 2}}})
    with pytest.raises(ValueError, match=r"method ncfm starts from other pretrained networks: set idc.pretrained.networks to 0"):
        config_of(idc={"pretrained": {"networks": 2}})
    assert isinstance(assemble(config_of(), few(2)).matching, CharacteristicMatching)
