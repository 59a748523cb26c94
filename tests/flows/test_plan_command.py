"""The command `bilp plan`, as it prints."""

from __future__ import annotations

import re

import pytest

from bilp.config.recipes import recipe_names
from flows.plan import Options, configured, planned, show


def one_of_each() -> list[str]:
    """A recipe for each method and data set: those that differ in the images per class alone are planned alike."""
    return list({re.sub(r"ipc\d+", "", name): name for name in recipe_names()}.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of_each())
def test_a_recipe_of_every_method_and_data_set_can_be_planned(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan, _ = planned(configured({"recipe": name}), Options(workers=4))
    show(plan)
    told = capsys.readouterr().out
    assert "?" not in told and "counts: " in told
    assert plan.critical_path > 0 and all(unit.seconds > 0 for unit in plan.units)


@pytest.mark.slow
def test_what_was_timed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    network = {"width": 8, "depth": 2}
    given = {
        "dataset": "digits",
        "ipc": 2,
        "distill": {"network": network},
        "score": {"network": network},
        "evaluate": {"networks": [network]},
    }
    show(*planned(configured(given), Options(measure=1)))
    told = capsys.readouterr().out
    _, _, timed = told.partition("measured on cpu with generated samples:\n")
    assert [line.split(":")[0].split(" (")[0].strip() for line in timed.splitlines()] == [
        "a batch of scoring",
        "an iteration of unpruned",
        "an iteration of bilp",
        "effects of bilp",
        "a batch of evaluation",
        "not measured, by assumed speeds",
    ]
    assert "1 x 1 CPU core" in told and "resident" not in told
