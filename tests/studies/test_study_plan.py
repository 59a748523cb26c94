"""What a study's file may say, the order of its blocks, and what arms share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from study_parts import TWO_CELLS, plan_of

from bilp.errors import ConfigError
from bilp.studies.definition import Study, load_study, shipped, study_of
from bilp.studies.study_part import part_key, study_key
from bilp.studies.study_plan import planned
from bilp.studies.time_left import expected, left


def test_seeds_are_outermost_so_that_what_is_there_is_balanced() -> None:
    plan = plan_of()
    assert [(block.seed, block.cell.title) for block in plan.blocks] == [(s, c) for s in range(3) for c in ("clean", "20 % wrong")]
    for stop in range(len(plan.blocks)):
        done = [sum(block.cell == cell for block in plan.blocks[:stop]) for cell in plan.cells]
        assert max(done) - min(done) <= 1


def test_arms_that_differ_in_which_arm_alone_are_one_pipeline() -> None:
    plan = plan_of(arms={**TWO_CELLS["arms"], "upper": {"arms": ["adaptive"], "beta": 0.3}})
    first, second = plan.blocks[0].groups
    assert first.config.arms == ("unpruned", "static", "bilp") and first.config.evaluate.baselines == ("random",)
    assert first.arms == {"unpruned": "unpruned", "static": "static", "bilp": "bilp"} and first.baselines == {"random": "random"}
    assert second.arms == {"adaptive": "upper"} and second.config.beta == 0.3 and second.config.evaluate.baselines == ()


def test_each_seed_draws_anew_what_it_says_and_nothing_else() -> None:
    def seeds(**changes: Any) -> list[tuple[int, ...]]:
        configs = [block.groups[0].config for block in plan_of(grid={}, first_seed=5, seeds=2, **changes).blocks]
        return [(each.score.seed, each.prune.seed, each.distill.seed, each.evaluate.seed) for each in configs]

    assert seeds() == [(5, 5, 5, 5), (6, 6, 6, 6)]
    assert seeds(new_per_seed=["distillation"]) == [(0, 0, 5, 0), (0, 0, 6, 0)]


def test_cells_are_all_combinations_but_those_that_are_excluded() -> None:
    grid = {"ipc": [1, 10], "distill": {"iterations": [5, 6]}, "labels": {"clean": {}, "wrong": {"keep": 0.7}}}
    plan = plan_of(grid=grid, exclude=[{"ipc": 10, "labels": ["wrong"]}, {"distill.iterations": 6, "labels": "clean"}])
    assert [cell.title for cell in plan.cells] == [
        "ipc 1, iterations 5, clean",
        "ipc 1, iterations 5, wrong",
        "ipc 1, iterations 6, wrong",
        "ipc 10, iterations 5, clean",
    ]
    assert [(b.groups[0].config.ipc, b.groups[0].config.distill.iterations, b.groups[0].config.keep) for b in plan.blocks[:4]] == [
        (1, 5, 0.8),
        (1, 5, 0.7),
        (1, 6, 0.7),
        (10, 5, 0.8),
    ]


def test_an_arm_may_be_left_out_of_some_cells() -> None:
    plan = plan_of(exclude=[{"labels": "clean", "arm": ["bilp", "random"]}], seeds=1)
    assert [[*group.arms.values(), *group.baselines.values()] for block in plan.blocks for group in block.groups] == [
        ["unpruned", "static"],
        ["unpruned", "static", "bilp", "random"],
    ]
    assert plan.first["bilp"].keep == 0.7, "of the first cell that has it"
    assert plan.runs == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seedz": 3}, "study: seedz: no such key; a study has name, "),
        ({"seeds": 0}, "study: seeds: "),
        ({"name": "A b"}, "study: name: "),
        ({"arms": {}}, "study: arms: "),
        ({"reference": ["none"]}, "study: reference: no arm is called 'none'; arms: random, unpruned, static, bilp"),
        ({"main": "x"}, "study: main: no arm is called 'x'"),
        ({"arms": {"upper": {}}}, r"study: arm upper in cell clean: arms.*upper"),
        ({"arms": {"a": {"arms": ["static", "bilp"]}}}, "an arm of a study is one of them"),
        ({"arms": {"a": {"arms": ["static"]}, "static": {}}}, "study: arms.static has the same settings as arms.a: remove one of them"),
        ({"arms": {"bilp": {"keep": 7}}}, "study: arm bilp in cell clean: keep = 7: input should be less than or equal to 1"),
        ({"grid": {"ipcc": [1, 2]}}, "study: grid.ipcc is the name of no setting: did you mean ipc?"),
        ({"grid": {"ipc": []}}, "study: grid.ipc gives no list of values"),
        ({"grid": {"distill": {"iterations": 5}}}, r"study: grid.distill.iterations gives no list of values: write iterations: \[1, 10\]"),
        ({"grid": {"labels": {"clean": 5}}}, "study: grid.labels.clean: give settings"),
        ({"grid": {"distill": {"iteration": [5]}}}, "iteration: no such setting; did you mean distill.iterations?"),
        ({"exclude": [{"ipc": 1}]}, "study: exclude: ipc is no axis of the grid; axes: labels"),
        ({"exclude": [{"labels": "dirty"}]}, "study: exclude: labels has no value dirty"),
        ({"exclude": [{"labels": ["clean", "20 % wrong"]}]}, "study: exclude leaves no cell"),
        ({"exclude": [{"arm": "bilp"}]}, "study: exclude leaves no cell to arm bilp"),
        ({"exclude": [{"arm": "best"}]}, "study: exclude: no arm is called 'best'"),
        ({"seeds": 5000}, "are more than 10,000 combinations"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        plan_of(**changes)
    assert "\n" not in str(refused.value)


def test_files_are_read_as_recipes_are(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: x\narms: {unpruned: {}, bilp: {keep: 0.6}}\nseeds: 2\n")
    assert load_study(str(file))[0].arms["bilp"].settings == {"keep": 0.6}
    for text, message in (("name: [", "is not valid YAML: line"), ("name: x\n", "arms: is missing"), ("", "is empty")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=message) as refused:
            load_study(str(file))
        assert str(file) in str(refused.value)
    with pytest.raises(ConfigError, match="no study is called 'none'"):
        load_study("none")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_study(str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize("name", shipped())
def test_the_studies_that_come_with_the_program_are_right(name: str) -> None:
    study, _ = load_study(name)
    assert planned(study.model_copy(update={"seeds": 1}), name).blocks


def test_the_key_is_of_what_is_compared_so_that_a_study_may_grow_by_seeds() -> None:
    key = study_key(plan_of())
    assert study_key(plan_of(seeds=5, title="Other", minutes=3, tolerance=1)) == key
    assert len({key, *(study_key(plan_of(**changes)) for changes in ({"first_seed": 1}, {"grid": {}}, {"arms": {"bilp": {}}}))}) == 4
    more = plan_of(seeds=5)
    assert [part_key(key, block) for block in more.blocks[:6]] == [part_key(key, block) for block in plan_of().blocks]


def test_settings_that_are_typed_go_before_all_of_it() -> None:
    plan = planned(study_of(TWO_CELLS, "study"), "study", {"ipc": 3, "distill": {"iterations": 7}})
    assert {(group.config.ipc, group.config.distill.iterations) for block in plan.blocks for group in block.groups} == {(3, 7)}


def test_the_estimate_is_of_the_same_cell_where_that_is_known() -> None:
    blocks = plan_of().blocks
    worked = {0: 10.0, 1: 30.0, 2: 12.0}
    assert [expected(block, blocks, worked) for block in blocks[3:]] == [30.0, 11.0, 30.0]
    assert left(blocks[3:], blocks, worked) == 71.0
    assert expected(blocks[1], blocks, {0: 10.0}) == 10.0
    assert expected(blocks[0], blocks, {}) is None and left(blocks, blocks, {}) is None


def test_the_model_describes_its_file() -> None:
    assert all(field.description for field in Study.model_fields.values())
