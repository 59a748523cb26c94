"""Training images whose label is probably wrong."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bilp.api import composition, showing
from bilp.api.ingested import Dataset, as_data
from bilp.api.keywords import for_device, for_images, merged
from bilp.api.placed import Result
from bilp.api.workspace import place_at
from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.facts import SuspectsFacts
from bilp.config.given import model_of
from bilp.config.suspects import SuspectsConfig
from bilp.storage.objects import Uri
from bilp.suspects.fitting import fitted
from bilp.suspects.handing_out import HandedOut, hand_out
from bilp.suspects.stage import FILE, KIND, find_suspects
from bilp.suspects.suspects_table import SUSPECTS

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 24
"""Images that a notebook shows."""


class Suspects(Result):
    """Every training image, ranked by how wrong its label looks."""

    def __init__(self, uri: str, data: Dataset) -> None:
        """Use `bilp.suspects`."""
        super().__init__(uri)
        self.data = data

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per training image, the most suspicious first, with the columns that cleanlab's Datalab has, and more."""
        frame: pd.DataFrame = self._artifact.table(FILE, SUSPECTS, rows=self._facts.samples).to_pandas()
        return frame.sort_values("rank", ignore_index=True)

    @property
    def estimated_errors(self) -> int:
        """How many labels are wrong, by confident learning."""
        return self._facts.estimated_errors

    @property
    def quality(self) -> pd.DataFrame:
        """AUROC, AUPRC and precision at the number of errors of each score; empty where nobody knows which labels are wrong."""
        import pandas as pd

        names = ("score", "auroc", "auprc", "precision_at_errors", "samples")
        return pd.DataFrame([each.model_dump() for each in self._facts.quality], columns=list(names))

    def save(self, to: Uri, decided: str | None = None) -> HandedOut:
        """Write page, contact sheet, CSV and a template of corrections into a folder; corrections that lie there are left alone.

        `decided` is the file of corrections that the data set was ingested with: the template begins with what it decides.
        """
        return hand_out(self.uri, to, decided)

    def __repr__(self) -> str:
        facts = self._facts
        trials = f"{facts.trials} trial{'' if facts.trials == 1 else 's'}"
        return f"about {facts.estimated_errors:,} of {facts.samples:,} labels are wrong, by {trials}, from {self.place}"

    def _repr_html_(self) -> str:
        worst = self.table[~self.table["reviewed"]].head(EXAMPLES)
        pixels, told = self.data.samples(worst["sample_id"].tolist())
        captions = [f"{given} \u2192 {predicted}" for given, predicted in zip(worst["given_label"], worst["predicted_label"], strict=True)]
        return showing.paragraph(repr(self)) + showing.strip(pixels, told, captions)

    @cached_property
    def _artifact(self) -> Artifact:
        return open_artifact(self.uri, KIND, {"dataset": self.data.opened.fingerprint})

    @property
    def _facts(self) -> SuspectsFacts:
        return self._artifact.stated(SuspectsFacts)


def suspects(
    data: Dataset | Uri,
    *,
    by: str | None = None,
    worst: int | None = None,
    relabel: float | None = None,
    root: Uri | None = None,
    device: str | None = None,
    **settings: object,
) -> Suspects:
    """Training images whose label is probably wrong: `suspects(bilp.ingest("photos/"))`. Nothing is distilled.

    Args:
        data: What `ingest` returned, or the path, URI or key of a data set.
        by: The label score that ranks them, by default aum.
        worst: How many are shown in pictures.
        relabel: Probability from which the corrections give an image the class that networks predict, by themselves.
        root: The storage that a key is looked for in, by default BILP_STORAGE.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one.
        settings: Dials, and settings of scoring, such as trials=3.
    """
    data = as_data(data, root)
    asked = {"by": by, "worst": worst, "relabel": relabel}
    ranking = model_of(SuspectsConfig, {name: value for name, value in asked.items() if value is not None})
    config = for_images(for_device(merged(data.given, "score", settings), device), data.config)
    with place_at(data.root, device) as place:
        score = fitted(config.score, config.origins, len(data.opened.train))
        scores = composition.scored_with_predictions(data.uri, score, place)
        progress = place.watch.step("comparing samples")
        return Suspects(find_suspects(data.uri, scores, ranking, data.root, data.record_uri, progress=progress), data)
