"""The form in which people start a study from the UI."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from bilp.config import recipe_yaml
from bilp.config.base import Positive, SourceName
from bilp.config.forms.choices import OneOf, built_in
from bilp.config.forms.fields import MethodChoice
from bilp.config.forms.start import StageForm
from bilp.errors import ConfigError
from bilp.studies.definition import MOST_BYTES, MOST_PROCESSES, shipped
from bilp.text.escaping import shown

USUAL = "wrong-labels"
PASTED = "the given study"


class StudyForm(StageForm):
    """Named arms in every cell of a grid. Settings that are filled in go before all that the study says."""

    datasets = ()
    first: ClassVar[tuple[str, ...]] = ("study", "file", "dataset", "method", "ipc", "processes")
    not_settings = frozenset({"study", "file", "processes"})

    study: Annotated[str | None, OneOf(lambda: tuple(shipped()))] = Field(None, title="Study")
    """One that comes with the program. If empty: wrong-labels."""
    file: Annotated[str | None, Field(max_length=MOST_BYTES)] = Field(None, title="Or the text of a study's file")
    """YAML as `bilp study --example` prints it, in place of a study that comes with the program."""
    dataset: Annotated[SourceName | None, OneOf(built_in)] = Field(None, title="Data set")
    """Real images. If empty: as the study says."""
    method: MethodChoice = Field(None, title="Method")
    """How synthetic images are learned. If empty: as the study says."""
    ipc: Positive | None = Field(None, title="Images per class (ipc)")
    """Synthetic images per class. If empty: as the study says."""
    processes: Annotated[int, Field(ge=1, le=MOST_PROCESSES)] | None = Field(None, title="Processes")
    """Processes of the worker's machine that compute blocks side by side. If empty: 1."""

    def definition(self) -> tuple[dict[str, Any], str]:
        """What the study's file holds, and how errors call it. Raises ConfigError if two studies were given, or none can be read."""
        if self.file is not None:
            if self.study is not None:
                raise ConfigError("a study was chosen and the text of one was given: leave one of them empty")
            return recipe_yaml.parse(self.file.encode(), PASTED), PASTED
        name, known = self.study or USUAL, shipped()
        if name not in known:
            raise ConfigError(f"no study is called {shown(name)!r}: choose one of {', '.join(known)}, or give the text of a study's file")
        place = f"study {name}"
        return recipe_yaml.parse(known[name].encode(), place), place
