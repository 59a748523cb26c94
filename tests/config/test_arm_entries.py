"""The registry of arms: the four that every stored result names, those that came later, and the runs that follow from them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bilp.config import PipelineConfig
from bilp.config.arm_entries import ALL_SAMPLES, ARMS, SAMPLES, UNPRUNED, leading
from bilp.config.arms import Chosen, arm_of, evaluation_of, needs_selection, planned_runs
from bilp.config.base import as_recorded
from bilp.config.baselines import BASELINES
from bilp.report.wording import ARM_ORDER, arm_words


def config(*arms: str, **given: object) -> PipelineConfig:
    return PipelineConfig.model_validate({"dataset": "digits", "method": "dm", "arms": list(arms), **given})


def test_arms_of_stored_results_keep_their_names_order_and_levels() -> None:
    assert list(ARMS)[:4] == ["unpruned", "static", "adaptive", "bilp"]
    levels = {name: (ARMS[name].choice.static, ARMS[name].adaptive) for name in list(ARMS)[:4]}
    assert levels == {"unpruned": (False, False), "static": (True, False), "adaptive": (False, True), "bilp": (True, True)}
    assert {arm_of(*level): level for level in levels.values()} == levels
    assert as_recorded(config("unpruned", "bilp"))["arms"] == ["unpruned", "bilp"], "a name in a key is the name alone"


def test_every_arm_has_words_of_its_own_and_no_name_of_another_thing() -> None:
    assert set(ARM_ORDER) == {*ARMS, *BASELINES}
    assert len({arm_words(name).title for name in ARM_ORDER}) == len(ARM_ORDER)
    both = {name for name in ARMS if name in BASELINES}
    assert both == {name for name, entry in ARMS.items() if not entry.distills} == {"direct"}
    assert "direct" not in BASELINES.choosable(), "an arm is asked for under arms"
    assert len({entry.place for entry in ARMS.values()}) == len(ARMS)
    assert all(entry.samples in SAMPLES for entry in ARMS.values()) and SAMPLES[ALL_SAMPLES].chooser is None


def test_the_page_is_about_the_most_pruned_arm_and_never_about_a_control_that_stands_beside_it() -> None:
    assert leading(["random_pruning", "unpruned", "static", "adaptive", "bilp", "oracle"]) == "bilp"
    assert leading(["oracle", "random_pruning", "unpruned", "full"]) == UNPRUNED
    assert leading(["direct", "full", "imported"]) is None
    assert {name for name, entry in ARMS.items() if entry.compared} == {"static", "adaptive", "bilp", "random_pruning", "oracle"}


def test_arms_share_the_seeds_of_their_distillations_and_random_samples_are_drawn_anew_for_each() -> None:
    runs = planned_runs(config("unpruned", "static", "random_pruning", "direct", experiments=3, seed=5))
    assert {(run.arm, run.experiment): run.distill.seed for run in runs} == {
        (arm, experiment): 5 + experiment for arm in ("unpruned", "static", "random_pruning") for experiment in range(3)
    }
    assert [run.chosen for run in runs if run.arm == "random_pruning"] == [Chosen("as_many_random", 5 + k) for k in range(3)]
    assert len({run.chosen for run in runs if run.arm == "static"}) == 1
    assert [run.static for run in runs] == [False] * 3 + [True] * 3 + [False] * 3


def test_static_selection_is_made_for_whatever_needs_it() -> None:
    assert not needs_selection(config("unpruned", "adaptive", "oracle"))
    for arms in (["unpruned", "random_pruning"], ["unpruned", "direct"], ["static"]):
        assert needs_selection(config(*arms)), arms
    assert needs_selection(config("unpruned", evaluate={"baselines": ["random_kept"]}))
    assert evaluation_of(config("unpruned", "direct")).baselines == ("full", "random", "direct")
    assert evaluation_of(config("unpruned")) == config("unpruned").evaluate


def test_what_distills_nothing_needs_somebody_beside_it() -> None:
    with pytest.raises(ValidationError, match=r"arms \['direct'\] distill nothing: add one that does, such as unpruned"):
        config("direct")
    with pytest.raises(ValidationError, match="Input should be 'unpruned', 'static', .* or 'direct'"):
        config("pruned")
