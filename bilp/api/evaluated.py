"""What networks learn from sets, and the page about it."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from bilp.api import showing
from bilp.api.distilled import DistilledSet
from bilp.api.ingested import Dataset
from bilp.api.keywords import Given
from bilp.api.placed import Result
from bilp.api.pruned import Scores, Selection
from bilp.artifacts import layout
from bilp.artifacts.artifact import open_artifact
from bilp.config.shapes import sample_noun
from bilp.evaluate import Row, summary
from bilp.evaluate.results import KIND, evaluation_rows
from bilp.report.wording import arm_words
from bilp.storage import objects
from bilp.text.sample_words import speaking_of

if TYPE_CHECKING:
    import pandas as pd


class Evaluation:
    """Accuracies of networks that were trained on sets and on real images, all tested on the same real test images.

    It consists of an artifact for each set, which `uris` names.
    """

    def __init__(self, uris: Sequence[str], sets: Sequence[DistilledSet], data: Dataset, given: Given) -> None:
        """Use `bilp.evaluate`."""
        self.uris, self.sets, self.data, self.given = tuple(uris), tuple(sets), data, given

    @cached_property
    def rows(self) -> list[Row]:
        """Mean and 95 % interval of each arm and network, as fractions."""
        return summary(self.uris)

    @property
    def _titles(self) -> list[str]:
        """What each row's networks were trained on."""
        with speaking_of(sample_noun(self.data.shape)):
            return [arm_words(row.arm).title for row in self.rows]

    @property
    def accuracy(self) -> pd.DataFrame:
        """One row per arm and network: trained_on, network, accuracy and half of its 95 % interval (0 to 1), number of trainings."""
        import pandas as pd

        columns = {
            "arm": [row.arm for row in self.rows],
            "trained_on": self._titles,
            "network": [row.network for row in self.rows],
            "accuracy": [row.mean for row in self.rows],
            "half_width95": [row.half_width95 for row in self.rows],
            "trainings": [row.n for row in self.rows],
        }
        return pd.DataFrame(columns)

    def to_pandas(self) -> pd.DataFrame:
        """One row per training: arm, experiment, network, seed, accuracy, best_accuracy, train_images and epochs."""
        import pandas as pd

        return pd.DataFrame([row for uri in self.uris for row in evaluation_rows(open_artifact(uri, KIND))])

    def __repr__(self) -> str:
        told = [f"{title} {_accuracy(row)} %" for title, row in zip(self._titles, self.rows, strict=True)]
        trainings = sorted({row.n for row in self.rows})
        several = f"{trainings[0]}" if len(trainings) == 1 else f"{trainings[0]} to {trainings[-1]}"
        test, noun = self.data.opened.test, sample_noun(self.data.shape)
        tested = f"{test.answers:,} test {noun if test.videos is None else 'video'}s"
        return f"accuracy on {tested}: {', '.join(told)} ({several} trainings each)"

    def _repr_html_(self) -> str:
        rows = [(title, row.network, _accuracy(row), row.n) for title, row in zip(self._titles, self.rows, strict=True)]
        return showing.table(("trained on", "network", "accuracy, %", "trainings"), rows)


class Report(Result):
    """The page about a comparison, report.html, with everything that it was made of."""

    def __init__(self, uri: str, evaluation: Evaluation, scores: Scores | None, selection: Selection | None) -> None:
        """Use `bilp.report` or `bilp.run`."""
        super().__init__(uri)
        self.evaluation, self.scores, self.selection = evaluation, scores, selection

    @property
    def place(self) -> str:
        """The folder of the page in its storage."""
        return layout.place_of(self.uri.rpartition("/")[0])

    @property
    def data(self) -> Dataset:
        """The real images."""
        return self.evaluation.data

    @property
    def sets(self) -> tuple[DistilledSet, ...]:
        """The synthetic sets, in the order of arms and experiments."""
        return self.evaluation.sets

    @property
    def accuracy(self) -> pd.DataFrame:
        """See `Evaluation.accuracy`."""
        return self.evaluation.accuracy

    @property
    def html(self) -> str:
        """The whole page."""
        return objects.read(self.uri).decode()

    def show(self, height: int = 800) -> object:
        """The whole page inside of a notebook, as the last value of a cell. Raises ImportError outside of one."""
        from IPython.display import HTML

        return HTML(f'<iframe srcdoc="{html.escape(self.html)}" width="100%" height="{int(height)}" sandbox></iframe>')

    def __repr__(self) -> str:
        return f"{self.evaluation!r}, page {self.place}"

    def _repr_html_(self) -> str:
        shown_once = {one.made.arm: one for one in reversed(self.sets)}
        sets = [one._repr_html_() for one in reversed(shown_once.values())]
        return "".join([self.evaluation._repr_html_(), *sets, showing.paragraph(f"page: {self.place}")])


def _accuracy(row: Row) -> str:
    """In per cent, with the interval if there is more than one training."""
    told = f"{100 * row.mean:.1f}"
    return told if math.isinf(row.half_width95) else f"{told} ± {100 * row.half_width95:.1f}"
