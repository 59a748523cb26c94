"""Runs of NCFM with pretrained networks: against a restatement that trains its own, killed, divided; and its optimizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import killed
import pytest
import torch
from tiny_characteristic import PRETRAINED, assert_same_images, config_of, with_networks
from tiny_distillation import Store, assemble
from tiny_reference import reference
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bilp.artifacts.run_layout import round_uri
from bilp.artifacts.tables import LOSSES
from bilp.config import DistillConfig, PruneConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, merge_round, open_run, pretrain_network, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.inputs import open_pool, open_pretrained
from bilp.distill.part import Part, open_part
from bilp.distill.round_files import open_round
from bilp.distill.step.initial import initial_state
from bilp.distill.step.networks_between import NetworksBetween
from bilp.distill.step.pixel_steps import RATES, SQUARES, PixelSteps
from bilp.distill.step.setting import RunInputs, Setting
from bilp.nets import build
from bilp.pruning.prune import prune
from bilp.seeds import generator

Few = Callable[[int], RealPool]
Begin = Callable[..., str]
OFF = ReselectConfig(beta=0.0)
NORMAL = ReselectConfig(beta=0.25, candidates_per_class=8, interval=2)


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
    setting = Setting.assemble(run.distill, OFF, open_pool(run_uri, run), "cpu", RunInputs(pretrained=pretrained))
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
        setting = Setting.assemble(config, OFF, open_pool(run_uri, part.run), "cpu", RunInputs(pretrained=pretrained))
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
