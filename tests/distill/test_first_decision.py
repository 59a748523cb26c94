"""The first decision of adaptive pruning before the initial images: what it is about, what follows from it, and what it is refused for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_distillation import Store, assemble, guard_for, small_config
from torch import Tensor

from bilp.artifacts.run_layout import STATE
from bilp.config import METHODS, DistillConfig, PipelineConfig, PruneConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, merge_round, open_run, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.first_decision import starting_state
from bilp.distill.inputs import open_pool
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.part import open_part
from bilp.distill.round_files import open_reselection, open_round, round_effects
from bilp.distill.step.initial import initial_state
from bilp.distill.step.reselection import reselect
from bilp.errors import ConfigError
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune
from bilp.report.effect import _rule
from bilp.seeds import generator
from bilp.storage import objects

FIRST = ReselectConfig(beta=0.3, threshold="quantile", before_initialization=True)


@pytest.fixture(scope="module")
def selection(store: Store) -> str:
    """A tenth of every class: 14 or 15 samples."""
    return prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)


@pytest.fixture
def begin(store: Store, selection: str, tmp_path: Path) -> Callable[..., str]:
    def start(config: DistillConfig, settings: ReselectConfig = FIRST, root: str = "root") -> str:
        return start_run(store.uri, selection, config, settings, str(tmp_path / root))

    return start


def by_hand(config: DistillConfig, settings: ReselectConfig, pool: RealPool) -> tuple[Tensor, Tensor, Tensor]:
    """The reference: effects by their definition at images drawn as always, and images drawn one by one from what is kept.

    sample_ids that were dropped, in ascending order, the initial images, and those after the first round.
    """
    setting = assemble(config, pool, settings.model_copy(update={"estimator": "oracle"}))
    drawn, pruner = initial_state(config, pool), AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    decisions = reselect(setting, drawn, 1, pruner, guard_for(setting), silent, networks_for(config.method))
    images = []
    for decision in decisions:
        away = set(decision.ids[~decision.kept].tolist())
        kept = [i for i in pool.by_class[decision.class_index].tolist() if i not in away]
        order = torch.randperm(len(kept), generator=generator(config.seed, "initial_kept", decision.class_index))
        images += [pool.dataset.train.batch(torch.tensor([kept[int(place)]]))[0] for place in order[: config.ipc]]
    state = initial_state(config, pool)
    state.images = torch.stack(images)
    begun = state.images.clone()
    loop_for(config.method)(setting, state, config.iterations // config.rounds, pruner, guard_for(setting), silent)
    return torch.cat([each.ids[~each.kept] for each in decisions]).sort().values, begun, state.images


@pytest.mark.parametrize("method", ["dm", "dsa"])
def test_a_run_does_what_is_done_by_hand(method: str, begin: Callable[..., str]) -> None:
    config = small_config(method, ipc=3)
    run_uri = begin(config)
    part, pool = open_part(run_uri, None), open_pool(run_uri, open_run(run_uri))
    dropped, begun, after = by_hand(config, FIRST, pool)

    reselect_round(run_uri, 1)
    table = round_effects(open_reselection(part, 1), pool.dataset.train.labels)
    ids, away = (torch.from_numpy(table[name].to_numpy(zero_copy_only=False).copy()) for name in ("sample_id", "dropped"))
    assert torch.equal(ids[away.bool()], dropped) and 40 <= len(dropped) <= 46
    started = starting_state(part, pool).images
    assert torch.equal(started, begun)
    assert not torch.equal(started, initial_state(config, pool).images)
    real = {image.numpy().tobytes() for image in pool.dataset.train.batch(dropped)}
    assert real.isdisjoint(image.numpy().tobytes() for image in started)
    distill_round(run_uri, 1)
    torch.testing.assert_close(round_state(open_round(part, 1)).images, after, rtol=1e-4, atol=1e-5)


def complete(run_uri: str) -> Tensor:
    for number in (1, 2):
        reselect_round(run_uri, number)
        distill_round(run_uri, number)
    return load_synthetic(finish_run(run_uri))[0]


def test_what_is_taken_up_again_arrives_at_the_same_bytes(begin: Callable[..., str]) -> None:
    config = small_config("dm", ipc=2)
    whole = complete(begin(config))
    again = begin(small_config("dm", ipc=2, keep_rounds=1), root="again")
    reselect_round(again, 1)
    distill_round(again, 1)
    state = open_part(again, None).place(STATE, 1)
    assert objects.exists(state)
    objects.delete(state)  # the second round begins with the first one computed anew
    reselect_round(again, 2)
    distill_round(again, 2)
    assert torch.equal(load_synthetic(finish_run(again))[0], whole)


def test_shards_arrive_where_a_whole_run_does(begin: Callable[..., str]) -> None:
    divided = begin(small_config("dm", ipc=2, shards=3))
    for number in (1, 2):
        for shard in range(3):
            reselect_round(divided, number, shard=shard)
            distill_round(divided, number, shard=shard)
        merge_round(divided, number)
    merged = load_synthetic(finish_run(divided))[0]
    torch.testing.assert_close(merged, complete(begin(small_config("dm", ipc=2))), rtol=1e-4, atol=1e-5)
    run = open_run(divided)
    started = starting_state(open_part(divided, 0).merged, open_pool(divided, run))
    assert started.images.shape == merged.shape


def test_centers_of_clusters_are_those_of_what_is_kept(begin: Callable[..., str]) -> None:
    config = small_config("dm", ipc=2, init="kmeans")
    run_uri = begin(config)
    reselect_round(run_uri, 1)
    pool, part = open_pool(run_uri, open_run(run_uri)), open_part(run_uri, None)
    table = round_effects(open_reselection(part, 1), pool.dataset.train.labels)
    away = torch.from_numpy(table["sample_id"].to_numpy()[table["dropped"].to_numpy(zero_copy_only=False)].copy())
    rest = RealPool(pool.dataset, torch.cat([ids[~torch.isin(ids, away)] for ids in pool.by_class]))
    assert torch.equal(starting_state(part, pool).images, initial_state(config, rest, stream="initial_kept").images)


def test_without_it_nothing_is_other_than_before(begin: Callable[..., str]) -> None:
    config, plain = small_config("dm", ipc=2), FIRST.model_copy(update={"before_initialization": False})
    run_uri = begin(config, plain)
    assert run_uri != begin(config, FIRST)
    pool = open_pool(run_uri, open_run(run_uri))
    assert torch.equal(starting_state(open_part(run_uri, None), pool).images, initial_state(config, pool).images)


def test_a_class_that_a_decision_may_leave_too_small_is_refused_before_anything_is_measured(begin: Callable[..., str]) -> None:
    begin(small_config("dm", ipc=8))
    with pytest.raises(ConfigError, match=r"init real with ipc = 9 after a first decision needs 9 real samples .* \(8\)"):
        begin(small_config("dm", ipc=9), FIRST.model_copy(update={"beta": 0.4}))
    begin(small_config("dm", ipc=9), ReselectConfig(beta=0.4))


def configured(**given: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({"dataset": "digits", "reselect": {"before_initialization": True}, **given})


def test_every_adaptive_method_that_begins_at_real_images_may_have_it() -> None:
    able = [method.name for method in METHODS.values() if method.adaptive and method.begins_at_init(configured().distill)]
    assert {"dm", "dc", "dsa", "idc", "dream", "idm", "cafe", "ncfm", "frepo", "rfad"} <= set(able)
    for name in able:
        found = configured(method=name, distill={"init": "real"})
        assert found.reselect.decides_first, name
    assert configured(method="lgm").reselect.decides_first  # its images of digits are no pyramid


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"distill": {"init": "noise"}}, "images that begin as noise are drawn from no real sample: set distill.init to real"),
        ({"beta": 0}, "nothing is decided with beta = 0"),
        ({"method": "mtt"}, "nothing is decided with beta = 0"),
        ({"method": "lgm", "distill": {"linear": {"pyramid": True}}}, "method lgm does not begin at the images of distill.init"),
        ({"reselect": {"before_initialization": True, "mode": "weight"}}, "reselect.mode weight drops nothing"),
    ],
)
def test_what_it_means_nothing_for_is_refused_in_one_line(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="reselect.before_initialization: ") as refused:
        configured(**given)
    (line,) = [line for line in str(refused.value).splitlines() if "reselect.before_initialization: " in line]
    assert told in line and "set " in line


def test_the_page_tells_it() -> None:
    assert _rule(FIRST).endswith("the first decision came before the initial images, which were drawn from what it kept")
    assert "initial" not in _rule(ReselectConfig(beta=0.3))
