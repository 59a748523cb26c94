"""Reselection by the mistakes of a network on the synthetic images: order, what is dropped, what a run needs for it, refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_distillation import NARROW, Store, guard_for, small_config

from bilp.config import PipelineConfig, PruneConfig, ReselectConfig, settings
from bilp.config.arms import asks_teacher, planned_runs, ranks_samples, samples_of_teachers
from bilp.config.reselect import MistakesConfig
from bilp.costs.data_counts import data_counts
from bilp.costs.effects_work import measured_forwards
from bilp.costs.measured_plan import device_profile
from bilp.costs.run_units import measured_works
from bilp.costs.speed import Speed
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, reselect_round, start_run
from bilp.distill.part import open_part
from bilp.distill.round_files import open_reselection, round_effects
from bilp.distill.step.initial import initial_state
from bilp.distill.step.mistakes import prepare, ranked
from bilp.distill.step.reselection import reselect
from bilp.distill.step.sample_scores import score_pools
from bilp.distill.step.setting import RunInputs, Setting
from bilp.errors import ConfigError, Diverged
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.difficulty import Difficulty
from bilp.pruning.prune import prune
from bilp.search.candidates import plan
from bilp.teachers.stored_teacher import StoredTeacher

Few = Callable[[int], RealPool]
SHORT = MistakesConfig(epochs=40, batch_size=16, learning_rate=0.1)
BY_MISTAKES = ReselectConfig(beta=0.5, score="mistakes", mistakes=SHORT)


@pytest.fixture
def setting(few: Few, store: Store, teacher: StoredTeacher) -> Setting:
    """Samples with lower numbers are harder, so that order by difficulty is not that of the numbers."""
    easier = Difficulty(torch.arange(len(store.dataset.train), dtype=torch.float64), high_is_hard=False)
    config = small_config("dm", ipc=2, batch_real=4, network=NARROW)
    return Setting.assemble(config, BY_MISTAKES, few(9), "cpu", RunInputs(teacher=teacher, difficulty=easier))


def test_samples_come_in_the_order_in_which_ccfs_adds_them(setting: Setting) -> None:
    """Chunks of a class are ranked together, whatever their sizes; each image is asked about alone here."""
    synthetic = initial_state(setting.config, setting.pool).images
    judges = prepare(setting, synthetic, "here", 1)
    found = list(score_pools(setting, synthetic, [(c, ids, None) for c, ids in enumerate(setting.pool.by_class)], "here", 1))
    groups = set()
    for c, ids in enumerate(setting.pool.by_class):

        def place(sample: int, c: int = c) -> tuple[int, int]:
            image = setting.pool.images(torch.tensor([sample]))
            with torch.no_grad():
                learned, known = (int(network(image).argmax()) == c for network in (judges.network, judges.teacher))
            group = 2 if not known else 1 if learned else 0
            groups.add(group)
            return group, -sample

        wanted = sorted(ids.tolist(), key=place)
        assert ids[found[c].argsort()].tolist() == wanted
        torch.testing.assert_close(found[c].sort().values, torch.arange(1, 10) / 9)
    assert groups == {0, 1, 2}, "a case of each kind"


def test_the_network_has_learned_the_images_of_the_moment(setting: Setting) -> None:
    """Those of the state, under the labels of their classes, and others at every boundary."""
    synthetic = initial_state(setting.config, setting.pool).images
    labels = torch.arange(10).repeat_interleave(2)
    with torch.no_grad():
        first, again, other, turned = (
            prepare(setting, images, "round", number, 0).network(synthetic)
            for images, number in ((synthetic, 1), (synthetic, 1), (synthetic, 2), (synthetic.flip(0), 1))
        )
    assert float((first.argmax(1) == labels).double().mean()) >= 0.9
    assert float((turned.argmax(1) == labels.flip(0)).double().mean()) >= 0.9, "what it sees is what it is given"
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_last_of_the_order_are_dropped_and_no_others(setting: Setting) -> None:
    state = initial_state(setting.config, setting.pool)
    pruner = AdaptivePruner(setting.pool.dataset.train.labels, setting.pool.classes, setting.reselect)
    decisions = reselect(setting, state, 1, pruner, guard_for(setting), lambda done, total, note="": None)
    for decision in decisions:
        assert decision.mean[decision.kept].max() < decision.mean[~decision.kept].min()
    assert abs(sum(int((~decision.kept).sum()) for decision in decisions) - 45) <= 5
    low = BY_MISTAKES.model_copy(update={"low_share": 1.0})
    assert low.low_part == 0.0, "there is one end to drop"


def test_places_have_a_logarithm() -> None:
    assert ranked(torch.tensor([2.5, 0.25, 1.0], dtype=torch.float64)).tolist() == [1.0, 1 / 3, 2 / 3]


def test_answers_that_are_not_finite_name_what_to_lower(setting: Setting) -> None:
    hot = setting.reselect.model_copy(update={"mistakes": MistakesConfig(epochs=5, learning_rate=1e30)})
    state = initial_state(setting.config, setting.pool)
    hotter = Setting.assemble(setting.config, hot, setting.pool, "cpu", setting.inputs)
    pools = [(0, setting.pool.by_class[0], None)]
    with pytest.raises(Diverged, match=r"class 0 are not finite: lower reselect\.mistakes\.learning_rate"):
        list(score_pools(hotter, state.images, pools, "here"))


def test_a_run_that_is_cut_goes_on_to_the_same_bytes(store: Store, teacher: StoredTeacher, ranking: str, tmp_path: Path) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)
    config, ends = small_config("dm", ipc=2, iterations=4, rounds=2, batch_real=8, network=NARROW), []
    for root, cut in (("one", False), ("two", True)):
        run = start_run(store.uri, few, config, BY_MISTAKES, str(tmp_path / root), None, teacher.uri, ranking)
        for number in (1, 2):
            reselect_round(run, number)
            if cut:
                reselect_round(run, number)  # finds what is there
            distill_round(run, number)
        ends.append(load_synthetic(finish_run(run))[0])
        labels = store.dataset.train.labels
        tables = [round_effects(open_reselection(open_part(run, None), number), labels).to_pandas() for number in (1, 2)]
        assert all(0 < table["dropped"].sum() < len(table) for table in tables)
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"distill": {"shards": 2}}, "needs the images of all classes together: set distill.shards to 1"),
        ({"reselect": {"score": "mistakes", "interval": 2}}, "decides at the boundaries of rounds only: set reselect.interval to 0"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        settings(**{"dataset": "digits", "method": "dm", "reselect": {"score": "mistakes"}} | given)


def test_a_run_is_refused_without_a_teacher_or_a_ranking_and_with_ones_that_it_does_not_ask(
    store: Store, teacher: StoredTeacher, ranking: str
) -> None:
    config = small_config("dm", network=NARROW)

    def start(reselect: ReselectConfig, teacher_uri: str | None, ranking_uri: str | None) -> str:
        return start_run(store.uri, None, config, reselect, store.root, None, teacher_uri, ranking_uri)

    with pytest.raises(ConfigError, match=r"reselect\.score mistakes asks a teacher: train one"):
        start(BY_MISTAKES, None, ranking)
    with pytest.raises(ConfigError, match=r"reselect\.score mistakes asks how hard samples are: name a selection"):
        start(BY_MISTAKES, teacher.uri, None)
    off = ReselectConfig(beta=0.0)
    with pytest.raises(
        ConfigError,
        match=r"method dm asks no teacher with these settings: leave .* out, or use method .* or ccfs, or reselect\.score mistakes",
    ):
        start(off, teacher.uri, None)
    with pytest.raises(ConfigError, match="nothing in this run asks how hard samples are"):
        start(off, None, ranking)
    assert start(BY_MISTAKES, teacher.uri, ranking) != start(ReselectConfig(beta=0.5, score="mistakes"), teacher.uri, ranking)


def test_only_arms_that_prune_adaptively_ask_a_teacher() -> None:
    given: dict[str, Any] = {"dataset": "digits", "method": "dm", "reselect": {"score": "mistakes"}, "evaluate": {"baselines": []}}
    config = PipelineConfig.model_validate(given | {"arms": ["unpruned", "adaptive"]})
    assert [(run.arm, run.asks_teacher, run.asks_ranking) for run in planned_runs(config)] == [
        ("unpruned", False, False),
        ("adaptive", True, True),
    ]
    assert asks_teacher(config) and ranks_samples(config) and len(samples_of_teachers(config)) == 1
    plain = PipelineConfig.model_validate(given | {"arms": ["unpruned"]})
    assert not asks_teacher(plain) and not ranks_samples(plain)


def test_a_search_of_its_share_is_refused() -> None:
    config = settings(dataset="digits", method="dm", beta="search", reselect={"score": "mistakes"})
    with pytest.raises(ConfigError, match="which knows the images that are held out: use another score"):
        plan(config)


def test_its_cost_is_two_passes_and_a_share_of_a_training() -> None:
    config = settings(dataset="digits", method="dm", ipc=2, reselect={"score": "mistakes", "mistakes": {"epochs": 10}})
    run = next(run for run in planned_runs(config) if run.reselect.active)
    assert measured_forwards(run, 100, 1.0, 1000, (1, 8, 8)) == pytest.approx(2 + 3 * 10 * 2 / 100)


def test_the_plan_counts_one_training_for_all_that_is_measured_at_a_boundary() -> None:
    """Not one for each batch's worth of samples."""
    given = {"score": "mistakes", "mistakes": {"epochs": 10}}
    config = settings(dataset="cifar10", method="dm", ipc=2, reselect=given, distill={"rounds": 1, "batch_real": 256})
    run = next(run for run in planned_runs(config) if run.reselect.active)
    speed = Speed(device_profile(torch.device("cpu")), data_counts(config.ingest, listed=False))
    (work,) = measured_works(run, np.full(10, 5000), 1.0, speed.network(config.distill.network), speed)
    each = run.reselect.candidates_per_class or 5000
    assert work.cost == pytest.approx(10 * (2 * each + 3 * 10 * 2))
