"""NCFM: its loop against the library's optimizers and the paper's formula, and runs with pretrained networks, killed and divided."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import killed
import pytest
import torch
from tiny_distillation import Store, assemble, assert_follows, guard_for, spelled_out
from tiny_reference import reference
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bilp.artifacts.run_layout import round_uri
from bilp.artifacts.tables import LOSSES
from bilp.config import DistillConfig, NetworkConfig, PruneConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, merge_round, open_run, pretrain_network, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.inputs import open_pool, open_pretrained
from bilp.distill.loops.ncfm import CharacteristicIterations, distill, draw_network_between
from bilp.distill.part import Part, open_part
from bilp.distill.round_files import open_round
from bilp.distill.step import real_features
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.networks_between import NetworksBetween
from bilp.distill.step.pixel_steps import RATES, SQUARES, WAITED, PixelSteps, require_carried
from bilp.distill.step.real_features import RealFeatures
from bilp.distill.step.reselection import reselect
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.images import augment
from bilp.matching.characteristic import CharacteristicMatching
from bilp.nets import build, initialize
from bilp.nets.by_device import ByDevice
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune
from bilp.seeds import generator

Few = Callable[[int], RealPool]
Begin = Callable[..., str]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)
NORMAL = ReselectConfig(beta=0.25, candidates_per_class=8, interval=2)
PRETRAINED = {"networks": 2, "epochs": 3, "learning_rate": 0.05, "batch_size": 32, "decay_at": [0.5], "decay_factor": 0.2}


def config_of(**changes: Any) -> DistillConfig:
    """Width 8, depth 2, 32 frequencies; four iterations in two rounds on random networks, without pretrained ones."""
    own = {"frequencies": 32, **changes.pop("characteristic", {})}
    values: dict[str, Any] = {"method": "ncfm", "iterations": 4, "rounds": 2, "batch_real": 6, "learning_rate": 0.01}
    values |= {"network": NetworkConfig(width=8, depth=2), "augment": ("color", "crop", "cutout"), "decode": {"factor": 2}, "ipc": 1}
    return spelled_out(values | changes | {"characteristic": own})


def run_of(config: DistillConfig, pool: RealPool, iterations: int) -> tuple[DistillState, list[Record]]:
    setting = assemble(config, pool)
    state = initial_state(config, pool)
    return state, distill(setting, state, iterations, None, guard_for(setting))


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


def assert_same_images(found: Tensor, slow: Tensor, before: Tensor) -> None:
    """Up to rounding, which AdamW makes whole steps of where a pixel's gradient is no more than that: in at most a tenth of the pixels."""
    moved, apart = (slow - before).abs().mean(), (found - slow).abs()
    assert float(moved) > 0
    assert float(apart.flatten().quantile(0.9)) < 1e-2 * float(moved)
    assert float(apart.norm()) < 4e-2 * float((slow - before).norm())


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
def test_standing_features_give_what_networks_give_anew(few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the image steps after one that decided."""
    images = []
    for budget in (None, 0):
        if budget is not None:
            monkeypatch.setattr(real_features, "HELD_BYTES", ByDevice(cpu=budget, gpu=budget, large=budget))
        pool, settings = few(12), ReselectConfig(beta=0.4, interval=1, threshold="quantile")
        setting = assemble(config_of(outer_loops=3, batch_real=100), pool, settings)
        state = initial_state(setting.config, pool)
        pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
        records = distill(setting, state, 2, pruner, guard_for(setting))
        assert records[0].real_used < 3 * 120
        images.append(state.images)
    assert torch.equal(*images)


@pytest.mark.slow
def test_an_absurd_learning_rate_diverges_with_a_name(few: Few) -> None:
    with pytest.raises(Diverged, match=r"iteration \d+: .* class \d .*1e\+20"):
        run_of(config_of(learning_rate=1e20, characteristic={"optimizer": "sgd"}), few(8), 4)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_clips_and_batch_norm_are_no_exception(few: Few, norm: str) -> None:
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


# --- runs with pretrained networks -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def selection(store: Store) -> str:
    """A tenth of every class: 14 or 15 samples."""
    return prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)


@pytest.fixture
def begin(store: Store, selection: str, tmp_path: Path) -> Begin:
    """Starts a run in a root of its own."""

    def start(config: DistillConfig, reselect: ReselectConfig = OFF, root: str = "root") -> str:
        return start_run(store.uri, selection, config, reselect, str(tmp_path / root))

    return start


def with_networks(**changes: Any) -> DistillConfig:
    return config_of(**changes, characteristic={"pretrained": PRETRAINED, "patience": 2})


def pretrain(run_uri: str) -> list[str]:
    return [pretrain_network(run_uri, number) for number in range(open_run(run_uri).distill.pretrained.networks)]


def go_through(run_uri: str, shard: int | None = None) -> Part:
    for number in range(1, open_run(run_uri).distill.rounds + 1):
        reselect_round(run_uri, number, shard=shard)
        distill_round(run_uri, number, shard=shard)
    return open_part(run_uri, shard)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"ipc": 2, "outer_loops": 2, "seed": 1}], ids=["plain", "several steps"])
def test_a_run_is_the_restatement_with_its_own_networks(begin: Begin, changes: dict[str, Any]) -> None:
    config = with_networks(**changes)
    run_uri = begin(config)
    pretrain(run_uri)
    part = go_through(run_uri)
    slow = reference(config, open_pool(run_uri, part.run))
    before, curve = slow.images.clone(), slow.run(4)
    rounds = [open_round(part, number) for number in (1, 2)]
    losses = [loss for each in rounds for loss in each.table("losses.parquet", LOSSES)["loss"].to_pylist()]
    assert losses == pytest.approx(curve, rel=1e-3)
    assert_same_images(round_state(rounds[-1]).images, slow.images, before)


@pytest.mark.slow
def test_networks_lie_between_their_beginning_and_their_end(begin: Begin) -> None:
    run_uri = begin(with_networks())
    pretrain(run_uri)
    run = open_run(run_uri)
    pretrained = open_pretrained(run_uri, run)
    assert pretrained is not None
    setting = Setting.assemble(run.distill, OFF, open_pool(run_uri, run), "cpu", pretrained=pretrained)
    networks, shares = NetworksBetween(setting), list[float]()
    for iteration in range(60):
        trained = networks.draw("network", iteration)
        assert trained is not None
        end = torch.cat([parameter.detach().flatten() for parameter in trained.parameters()])
        here = torch.cat([parameter.detach().flatten() for parameter in setting.network.parameters()])
        found = []
        for number in (0, 1):
            fresh = build(run.distill.network, setting.pool.dataset.shape, 10)
            pretrained.pretraining.initialize(fresh, number)
            start = torch.cat([parameter.detach().flatten() for parameter in fresh.parameters()])
            share = float((here - end) @ (start - end) / (start - end).square().sum())
            if torch.allclose(here, share * start + (1 - share) * end, atol=1e-5):
                found.append(share)
        shares += found
    assert len(shares) == 60
    assert all(-1e-3 <= share <= 1 + 1e-3 for share in shares)
    assert 0.35 < sum(shares) / 60 < 0.65
    assert max(shares) > 0.9 and min(shares) < 0.1


@pytest.mark.slow
def test_calibration_lowers_the_loss_under_the_trained_networks(begin: Begin) -> None:
    wrong, taught = [], PRETRAINED | {"epochs": 30, "batch_size": 8}
    for weight in (0.0, 5.0):
        own = {"iterations": 30, "rounds": 1, "augment": (), "decode": {"factor": 1}}
        config = config_of(**own, characteristic={"pretrained": taught, "calibration": weight})
        run_uri = begin(config, root=f"calibrated {weight}")
        pretrain(run_uri)
        part = go_through(run_uri)
        pretrained = open_pretrained(run_uri, part.run)
        setting = Setting.assemble(config, OFF, open_pool(run_uri, part.run), "cpu", pretrained=pretrained)
        trained = NetworksBetween(setting).draw("network", 0)
        images = round_state(open_round(part, 1)).images
        assert trained is not None
        wrong.append(float(functional.cross_entropy(trained(images), torch.arange(10))))
    assert wrong[1] < 0.9 * wrong[0], wrong


@pytest.mark.slow
def test_killed_in_a_training_or_a_round_it_goes_on_to_the_same_bytes(begin: Begin) -> None:
    config = with_networks(shards=2, iterations=6, outer_loops=2)
    calm, disturbed = (begin(config, NORMAL, root) for root in ("calm", "disturbed"))
    for run_uri in (calm, disturbed):
        if run_uri == disturbed:
            killed.until_killed(killed.distill, run_uri, -2, 7, 0)  # in the second network
            killed.until_killed(killed.distill, run_uri, 2, 2, 0)  # in the second iteration of the second round
        pretrain(run_uri)
        for shard in (1, 0):
            go_through(run_uri, shard)
        for number in (1, 2):
            merge_round(run_uri, number)
        finish_run(run_uri)
    names = [path.relative_to(Path(calm).parents[1]) for path in Path(calm).parents[1].rglob("*") if path.is_file()]
    compared = [name for name in names if name.suffix in (".safetensors", ".parquet", ".png")]
    assert len(compared) > 20
    for name in compared:
        assert (Path(calm).parents[1] / name).read_bytes() == (Path(disturbed).parents[1] / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("reselect", [OFF, NORMAL], ids=["all", "adaptive"])
def test_divided_and_undivided_runs_agree(begin: Begin, reselect: ReselectConfig) -> None:
    whole = begin(with_networks(), reselect)
    pretrain(whole)
    go_through(whole)
    images, _ = load_synthetic(finish_run(whole))
    divided = begin(with_networks(shards=3), reselect)
    for shard in (2, 0, 1):
        go_through(divided, shard)
    for number in (1, 2):
        merge_round(divided, number)
    found, labels = load_synthetic(finish_run(divided))
    torch.testing.assert_close(found, images, rtol=1e-3, atol=1e-4)
    assert labels.tolist() == list(range(10))
    state = round_state(open_round(Part(divided, open_run(divided), None), 2))
    assert state.method[RATES].shape == (10,)
    assert state.method[SQUARES].shape == images.shape
    assert round_uri(whole, 2) != round_uri(divided, 2)


# --- the optimizer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [1, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (0, 4))])
def test_step_sizes_fall_as_those_of_the_library_each_by_the_losses_of_its_class(few: Few, patience: int) -> None:
    config, pool = config_of(learning_rate=0.5, characteristic={"patience": patience, "decay": 0.3}), few(4)
    setting, state = assemble(config, pool), initial_state(config, pool)
    steps = PixelSteps(setting, state)
    plain = [torch.optim.SGD([torch.zeros(1)], lr=0.5) for _ in range(10)]
    schedules = [ReduceLROnPlateau(each, factor=0.3, patience=patience or 10**9, eps=0.0) for each in plain]
    stream, seen = generator(3, "losses"), set()
    for step in range(40):
        losses = 5.0 / (1 + step) + torch.rand(10, generator=stream)
        steps.note(losses)
        for schedule, loss in zip(schedules, losses, strict=True):
            schedule.step(float(loss))
        rates = torch.tensor([each.param_groups[0]["lr"] for each in plain])
        torch.testing.assert_close(state.method[RATES], rates)
        seen |= set(rates.tolist())
    assert (len(seen) > 3) == (patience > 0)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_steps_of_pixels_are_those_of_the_library(few: Few, optimizer: str) -> None:
    config, pool = config_of(characteristic={"optimizer": optimizer, "weight_decay": 0.3}), few(4)
    setting, state = assemble(config, pool), initial_state(config, pool)
    steps, mean, std = PixelSteps(setting, state), pool.dataset.mean[0], pool.dataset.std[0]
    pixels = (state.images * std + mean).clone().requires_grad_()
    plain: torch.optim.Optimizer = torch.optim.SGD([pixels], lr=0.01, momentum=config.momentum)
    if optimizer == "adamw":
        plain = torch.optim.AdamW([pixels], lr=0.01, weight_decay=0.3)
    for count in range(1, 7):
        gradient = torch.randn(state.images.shape, generator=generator(3, "gradient", count))
        steps.take(gradient, count)
        pixels.grad = gradient / std
        plain.step()
        torch.testing.assert_close(state.images * std + mean, pixels.detach(), rtol=1e-4, atol=1e-5)


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
