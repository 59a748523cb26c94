"""Settings that were renamed: former names and values are understood wherever settings are written, and keys keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ValidationError

from bilp import notices
from bilp.artifacts.artifact import content_key, plain
from bilp.config import EvaluateConfig, IngestConfig, PipelineConfig, settings
from bilp.config.base import Frozen
from bilp.config.command_line import configure
from bilp.config.explain import explain
from bilp.config.former import Former, former_paths, formerly, models
from bilp.config.given import model_of
from bilp.config.nested import nest
from bilp.errors import ConfigError
from flows.sweep import combinations

FORMER = {"ingest": {"colour": "grey"}, "evaluate": {"optimiser": "adamw"}}
TODAY = {"ingest": {"color": "gray"}, "evaluate": {"optimizer": "adamw"}}


@pytest.fixture
def noticed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was noticed, in a process that has noticed nothing before."""
    lines: list[str] = []
    monkeypatch.setattr(notices, "_listener", lines.append)
    monkeypatch.setattr(notices, "_said", set())
    return lines


def recipe(values: dict[str, Any], folder: Path) -> str:
    lines = [f"{stage}: {{{name}: {value}}}" for stage, inner in values.items() for name, value in inner.items()]
    (folder / "mine.yaml").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "mine.yaml")


def flags(values: dict[str, Any]) -> list[str]:
    return [word for stage, inner in values.items() for name, value in inner.items() for word in (f"--{stage}.{name}", value)]


Written = Callable[[dict[str, Any], Path], PipelineConfig]

WAYS: dict[str, Written] = {
    "mapping": lambda values, _: PipelineConfig.model_validate(values),
    "keywords": lambda values, _: settings(**values),
    "models": lambda values, _: PipelineConfig(
        ingest=IngestConfig(**values["ingest"]), evaluate=EvaluateConfig(**values["evaluate"]), distill=settings().distill
    ),
    "mappings of a stage": lambda values, _: settings(
        ingest=model_of(IngestConfig, values["ingest"]), evaluate=model_of(EvaluateConfig, values["evaluate"])
    ),
    "recipe": lambda values, folder: settings(recipe=recipe(values, folder)).model_copy(update={"recipe": None}),
    "options": lambda values, _: configure(flags(values), "program", ""),
    "options with =": lambda values, _: configure([f"{a}={b}" for a, b in zip(*[iter(flags(values))] * 2, strict=True)], "program", ""),
    "JSON": lambda values, _: configure([f'--{s}={{"{n}": "{v}"}}' for s, i in values.items() for n, v in i.items()], "program", ""),
    "sweep": lambda values, _: combinations({}, {f"{s}.{n}": [v] for s, i in values.items() for n, v in i.items()})[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_former_spellings_are_todays_settings_with_one_notice_each(way: str, noticed: list[str], tmp_path: Path) -> None:
    expected = WAYS[way](TODAY, tmp_path)
    assert (expected.ingest.color, expected.evaluate.optimizer, noticed) == ("gray", "adamw", [])
    assert WAYS[way](FORMER, tmp_path) == expected
    # A stage of its own does not know below which name it will lie.
    ingest, evaluate = ("", "") if way in ("models", "mappings of a stage") else ("ingest.", "evaluate.")
    assert noticed == [
        f"{ingest}colour grey is written {ingest}color gray now; the old spelling is accepted until version 0.3",
        f"{evaluate}optimiser is written {evaluate}optimizer now; the old spelling is accepted until version 0.3",
    ]


def test_a_former_value_is_one_of_todays_setting_and_a_wrong_one_is_refused_as_such(noticed: list[str]) -> None:
    assert settings(ingest={"color": "grey"}).ingest.color == "gray"
    assert noticed == ["ingest.color grey is written ingest.color gray now; the old spelling is accepted until version 0.3"]
    with pytest.raises(ValidationError, match=r"ingest.color\n  Input should be 'auto', 'gray' or 'rgb'"):
        settings(ingest={"colour": "mauve"})


def test_settings_are_explained_under_todays_names(noticed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row.path: (row.value, row.origin) for row in explain(FORMER)}
    assert (rows["ingest.color"], rows["evaluate.optimizer"]) == (("gray", "given"), ("adamw", "given"))
    assert not rows.keys() & set(former_paths(PipelineConfig))
    with pytest.raises(SystemExit) as end:
        configure([*flags(FORMER), "--explain"], "program", "")
    assert end.value.code == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ingest.color", "gray", "given"] in lines
    assert not any("colour" in word or "optimiser" in word for line in lines for word in line)
    assert len(noticed) == 2


def test_no_help_tells_of_former_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        configure(["--help", "all"], "program", "")
    told = capsys.readouterr().out
    assert "--ingest.color" in told
    assert not any(path in told for path in former_paths(PipelineConfig))


@pytest.mark.parametrize(("stage", "former", "today"), [("ingest", "colour", "color"), ("evaluate", "optimiser", "optimizer")])
def test_both_names_at_once_are_one_error(
    stage: str, former: str, today: str, tmp_path: Path, noticed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    values = {former: FORMER[stage][former], today: TODAY[stage][today]}
    told = f"{stage}.{former} and {stage}.{today} are one setting: give {stage}.{today} alone"
    both = tmp_path / "both.yaml"
    both.write_text(f"{stage}: {{{former}: x, {today}: y}}", encoding="utf-8")
    for given in ({stage: values}, {"recipe": str(both)}):
        with pytest.raises(ValidationError, match=told):
            PipelineConfig.model_validate(given)
    model: type[Frozen] = {"ingest": IngestConfig, "evaluate": EvaluateConfig}[stage]
    with pytest.raises(ConfigError, match=f"{former} and {today} are one setting"):
        model_of(model, values)
    with pytest.raises(SystemExit) as end:
        configure(flags({stage: values}), "program", "")
    assert end.value.code == 2
    assert capsys.readouterr().err == f"program: error: {told}\n"
    assert noticed == []


def test_what_was_given_wins_over_a_recipe_whichever_names_they_use(tmp_path: Path, noticed: list[str]) -> None:
    for low, high in ((FORMER, TODAY), (TODAY, FORMER)):
        name = recipe({stage: dict.fromkeys(inner, "rgb" if stage == "ingest" else "sgd") for stage, inner in low.items()}, tmp_path)
        config = settings(recipe=name, **high)
        assert (config.ingest.color, config.evaluate.optimizer) == ("gray", "adamw")
        assert (config.origins or {})["ingest.color"] == "given"


def test_a_stage_alone_may_leave_nothing_out_that_its_protocol_decides(noticed: list[str]) -> None:
    values = settings(dataset="cifar10", evaluate={"protocol": "soft"}).evaluate.model_dump()
    former = {"optimiser" if name == "optimizer" else name: value for name, value in values.items()}
    assert EvaluateConfig.model_validate(former) == EvaluateConfig.model_validate(values)
    assert len(noticed) == 1


def test_keys_are_what_they_were_before_the_names_changed() -> None:
    parts = {"ingest": IngestConfig(color="gray"), "evaluate": EvaluateConfig(optimizer="adamw"), "whole": settings(dataset="mnist")}
    assert content_key("names", 1, **parts) == "835f1a92573f7abc"  # as version 0.1 computed it, with the former names
    config = settings(**TODAY)
    assert plain(config)["ingest"]["colour"] == plain(config.ingest)["colour"] == "grey"
    assert plain(config)["evaluate"]["optimiser"] == plain(config.evaluate)["optimiser"] == "adamw"


def renamed_in(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str, Former]]:
    yield from ((model, name, former) for name, former in formerly(model).items())
    for _, inner in models(model):
        yield from renamed_in(inner)


def test_every_renamed_setting_is_one_and_its_former_name_is_free() -> None:
    found = list(renamed_in(PipelineConfig))
    assert len(found) == 2
    for model, name, former in found:
        assert name in model.model_fields
        assert former.name not in model.model_fields
        assert len(set(former.values.values()) | set(former.values)) == 2 * len(former.values)


class Inner(Frozen):
    formerly: ClassVar[dict[str, Former]] = {"gray": Former("grey", {"yes": "aye"})}

    gray: str = "no"
    """Whether."""


class Outer(Frozen):
    inner: Inner = Inner()
    """What lies inside."""
    plain: int = 1
    """Never renamed."""


def test_models_inside_of_models_are_recorded_and_read_under_their_names(noticed: list[str]) -> None:
    outer = Outer.model_validate({"inner": {"grey": "aye"}})
    assert outer.inner.gray == "yes"
    assert plain({"of": [outer]}) == {"of": [{"inner": {"grey": "aye"}, "plain": 1}]}
    assert outer.model_dump(mode="json") == {"inner": {"gray": "yes"}, "plain": 1}
    assert list(former_paths(Outer)) == ["inner.grey"]
    assert noticed == ["inner.grey aye is written inner.gray yes now; the old spelling is accepted until version 0.3"]
    assert Outer.model_validate(nest("inner.gray", "no")) == Outer()
