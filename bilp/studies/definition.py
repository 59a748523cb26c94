"""What a study is: the models of its file, and the file itself, read with one clear line for whatever is wrong in it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bilp.config import recipe_yaml
from bilp.config.base import Frozen, Positive, Seed
from bilp.config.baselines import BaselineName
from bilp.errors import ConfigError
from bilp.text.escaping import shortened, shown

SUFFIXES = (".yaml", ".yml")
MOST_BYTES = 1 << 20
"""Of a study's file; settings need some hundred."""
MOST_PROCESSES = 256
"""Of one machine that may compute the blocks of a study side by side."""
UNPRUNED = "unpruned"
"""The arm that differences are taken to where a study names no other one."""

Part = Literal["data", "scores", "distillation", "evaluation"]
"""What may be drawn anew with each seed."""


class ArmEntry(BaseModel):
    """An arm of a study: what it is called, and the settings that make it; a baseline trains on real images and distills nothing."""

    model_config = ConfigDict(frozen=True, extra="allow")

    title: str = ""
    """What tables call it; empty takes its name."""
    baseline: BaselineName | None = None
    """Real images that networks are trained on, instead of a synthetic set."""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings over those of the study and the cell."""
        return dict(self.model_extra or {})


class Study(Frozen):
    """A study as its file says it."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"reference", "main"})

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    """Short name: lower case, digits, hyphens."""
    title: str = ""
    """Of the page; empty takes the name."""
    about: str = ""
    """What is asked, in sentences for the reader of the page."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What all pipelines have in common, as in a recipe."""
    grid: dict[str, Any] = Field(default_factory=dict)
    """Axes: a setting with a list of values, or a name of its own whose values have names and settings. Cells are all combinations."""
    exclude: tuple[dict[str, Any], ...] = ()
    """Cells that are left out: those that agree with all that one of these says, a value or a list of values by axis. With an entry
    `arm`, that arm or list of arms is left out there."""
    arms: Annotated[dict[str, ArmEntry], Field(min_length=1)]
    """What is compared in every cell, by name."""
    seeds: Positive = 3
    """Repetitions of every cell. All arms of a cell meet the same seeds, so differences are paired."""
    first_seed: Seed = 0
    """The first of them; others follow."""
    new_per_seed: tuple[Part, ...] = ("scores", "distillation", "evaluation")
    """What is drawn anew with each seed; whatever is not here is the same for all seeds."""
    reference: tuple[str, ...] = ()
    """Arms that others are compared with; empty takes the arm unpruned, if there is one."""
    main: str = ""
    """The arm that the summary speaks of; empty takes the last one."""
    tolerance: Annotated[float, Field(gt=0.0, le=100.0)] | None = None
    """Percentage points: a difference whose 90 % interval lies within this is called equivalent."""
    minutes: Annotated[float, Field(gt=0.0)] | None = None
    """Budget: no cell is begun that would not end within so many minutes of work, those of earlier calls included."""
    pages: bool = False
    """Whether each pipeline gets a report of its own as well."""

    @property
    def shown_title(self) -> str:
        """Of the page."""
        return self.title or self.name


def load_study(file: str) -> tuple[Study, str]:
    """The study of a file, or of one that comes with the program, by its name; with the text of the file.

    Raises ConfigError in one line for what is no such file, and for whatever in it is not as it is meant.
    """
    text = _text(file)
    return study_of(recipe_yaml.parse(text.encode(), f"study {shown(file)}"), f"study {shown(file)}"), text


def study_of(values: Mapping[str, Any], place: str) -> Study:
    """The study that a mapping describes. Raises ConfigError in one line, which begins with `place`."""
    try:
        study = Study.model_validate(dict(values))
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        path = ".".join(str(part) for part in wrong[0]["loc"])
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        reason = str(wrong[0]["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"{place}: {path}: {shortened(shown(_said(path, reason)), 300)}{more}") from None
    named = {"reference": study.reference, "main": (study.main,) if study.main else ()}
    for key, arms in named.items():
        unknown = [arm for arm in arms if arm not in study.arms]
        if unknown:
            raise ConfigError(f"{place}: {key}: no arm is called {shown(unknown[0])!r}; arms: {', '.join(map(shown, study.arms))}")
    return study


def _said(path: str, reason: str) -> str:
    if reason.startswith("Extra inputs"):
        return f"no such key; a study has {', '.join(Study.model_fields)}"
    if reason == "Field required":
        return "is missing: a study needs a name and arms"
    return reason


def shipped() -> dict[str, str]:
    """The texts of the studies that come with the program, by name."""
    folder = files("bilp.studies").joinpath("files")
    found = (entry for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return {entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8") for entry in sorted(found, key=lambda entry: entry.name)}


def _text(file: str) -> str:
    if not file.endswith(SUFFIXES):
        known = shipped()
        if file not in known:
            raise ConfigError(f"no study is called {shown(file)!r}: give the path of a .yaml file, or one of {', '.join(known)}")
        return known[file]
    try:
        content = Path(file).read_bytes()
        if len(content) > MOST_BYTES:
            raise ConfigError(f"study {shown(file)} holds more than {MOST_BYTES} bytes: a study is a file of settings; give its path")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"study {shown(file)} cannot be read: {error.strerror}: give the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"study {shown(file)} is not UTF-8: save it as UTF-8") from error
