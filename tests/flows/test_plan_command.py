"""The command `bilp plan`, as it prints."""

from __future__ import annotations

import pytest

from bilp.config.recipes import recipe_names
from flows.plan import Options, configured, planned, show


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_with_the_program_can_be_planned(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(configured({"recipe": name}), Options(workers=4))
    show(plan)
    told = capsys.readouterr().out
    assert "?" not in told and "counts: " in told
    assert plan.critical_path > 0 and all(unit.seconds > 0 for unit in plan.units)
