"""Criteria of static pruning: one entry each, which knows everything that settings, stages and page ask about it.

To add a criterion, write its function and its entry:

    TOY = Criterion("toy", "toy score", "The score of an image is ...", drop="high", column=Column("bilp_toy.toy:toy"))

The function takes one trial's record (`bilp.scoring.criteria.Trajectory`, arrays `[epochs, N]`) and the ScoreConfig, and returns
the scores `[N]`. The entry goes into `CRITERIA`, or into the entry points `bilp.criteria` of another package. What was computed
before stays valid: trials are shared by all criteria, and a criterion that is not in `SUMMARIZED` has a summary of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Annotated, Any, Literal

from bilp.config.measures import MEASURES
from bilp.registry import EntryName, Registry

End = Literal["high", "low"]
Dropping = Literal["high", "low", "both"]
"""What a selection drops: an end of the ranking, or both."""

SHORT_EPOCHS = 20
"""The most that a scoring trains for on data that short schedules teach: a choice of this project for the digits, of which no
measurement is recorded (see `bilp.config.sources.SourceEntry.small`)."""

PHRASES = ("trials", "subsets", "first", "last", "early", "epochs", "norm_of", "networks", "share")
"""What the page fills into the `meaning` of a criterion, see `bilp.report.wording`."""


@dataclass(frozen=True)
class Column:
    """What is summarized of the trials' records: the mean over trials of a function of one record, and its spread.

    `of_trial` names the function: (Trajectory, ScoreConfig) -> float64 `[N]`.
    """

    of_trial: str
    spread: bool = True
    """Whether the table of all columns has the standard deviation over trials, too, called NAME_std."""
    lowest: float = 0.0
    highest: float = math.inf
    gradients: bool = False
    """Whether it is computed from gradient norms, which are recorded only if they are asked for; NaN without them."""
    loss: bool = False
    """Whether it is a mean cross-entropy, so that log 2 is that of a label which networks give half of the probability."""
    version: int = 1
    """Of the function: raised when it gives other values for the same record."""


SUMMARIZED: Mapping[str, Column] = {
    "loss_init": Column("bilp.scoring.criteria:loss_init", loss=True),
    "loss_converge": Column("bilp.scoring.criteria:loss_converge", loss=True),
    "accuracy": Column("bilp.scoring.criteria:accuracy", spread=False, highest=1.0),
    "el2n": Column("bilp.scoring.criteria:el2n"),
    "forgetting": Column("bilp.scoring.criteria:forgetting"),
    "aum": Column("bilp.scoring.criteria:aum", lowest=-math.inf),
    "grand": Column("bilp.scoring.criteria:grand", gradients=True),
}
"""The columns of a summary's table, in their order. Stored tables have these and no others: whatever is added stays out of here."""
EARLY_LOSS, LATE_LOSS = "loss_init", "loss_converge"
"""The columns that tell how images of a later version of the data compare: by drift, and the suspicious ones among them."""
PUBLISHED: Mapping[str, str] = {"LossConverge": "loss_converge", "LossInit": "loss_init", "MonteCarlo": "monte_carlo"}
"""How BiLP's preview code names its lists of scores, DATASET_NAME.json, and the criterion that each is."""


@dataclass(frozen=True)
class Mixed:
    """How scores show two populations, of well and of wrongly labeled samples (`bilp.pruning.auto`)."""

    normal: str
    """"module:name" of the increasing function of scores `[N]` after which they are roughly normal within each population."""
    doubtful: float
    """The score beyond which networks doubt the given label on average."""
    log: bool = False
    """Whether an axis of the scores is to be logarithmic, so that both populations look normal."""


_LOSSES = Mixed("bilp.pruning.normal:logarithm", math.log(2.0), log=True)  # a label of one half of the probability
_MARGINS = Mixed("bilp.pruning.normal:itself", 0.0)  # another class is as probable


@dataclass(frozen=True)
class Budget:
    """Epochs of a scoring that sees as many images as a later training on the distilled set: of_set * ipc images of each class."""

    of_set: int = 300
    """Epochs of the training on the set."""
    fewest: int = 6
    """The shortest that was published (CIFAR-100, 10 images per class)."""
    most: int = 60
    """The longest likewise (100 images per class)."""

    def epochs(self, ipc: int, per_class: int) -> int:
        """For ipc synthetic and `per_class` real images of each class."""
        return min(max(round(self.of_set * ipc / per_class), self.fewest), self.most)


@dataclass(frozen=True)
class Criterion:
    """A score of samples by which static pruning ranks them.

    Scores come from one of three places: a `column` computed from the records of trials (`measure` is then one that records
    every epoch), the score that another measure gives by itself, which the criterion is called like, or, with measure None,
    what `ranking` names: a function (dataset, PruneConfig) -> `bilp.pruning.rankings.Ranking` that needs no scoring.
    """

    name: str
    title: str
    """Short name of the score on the page."""
    meaning: str
    """One sentence for a reader who did not read the paper; may hold `{trials}` and the other PHRASES."""
    drop: End = "high"
    """The end of the ranking that is dropped unless told otherwise."""
    paper: str = ""
    """Where it was published."""
    measure: str | None = "trajectory"
    """Entry of MEASURES that has to be recorded; None if no scoring is needed."""
    column: Column | None = None
    ranking: str | None = None
    from_list: bool = False
    """Whether prune.score_list is read."""
    trials: int | None = None
    """Trials that the paper takes; None: as many as its measure."""
    epochs: int | None = None
    """Epochs that the paper records; None: as many as its measure."""
    fewest_epochs: int = 1
    """The fewest epochs of a record that it is defined for."""
    early: bool = False
    """Whether only the last of these epochs counts, which comes early in the training that the paper is about."""
    difficulty: bool = False
    """Whether it says how hard a sample is, `drop` being the hard end: how many images per class are distilled then decides which end is
    dropped (`bilp.config.direction`)."""
    budget: Budget | None = None
    """The rule for epochs, which needs to know how many real images a class has; `epochs` stand where that is not known."""
    mixed: Mixed | None = None
    """How `keep: auto` tells well from wrongly labeled samples by it; None if a mixture of two components says nothing about it."""

    def __post_init__(self) -> None:
        per_epoch = self.measure is not None and MEASURES[self.measure].per_epoch
        if (self.column is not None) != per_epoch or (self.ranking is not None) != (self.measure is None):
            raise ValueError(f"criterion {self.name}: give a column with a measure of every epoch, or a ranking with measure None")
        if self.measure not in (None, self.name) and not per_epoch:
            raise ValueError(f"criterion {self.name}: the scores of measure {self.measure} are those of the criterion of that name")
        unknown = {name for _, name, _, _ in Formatter().parse(self.meaning) if name is not None} - set(PHRASES)
        if unknown:
            raise ValueError(f"criterion {self.name}: its meaning holds {sorted(unknown)}, the phrases are {', '.join(PHRASES)}")

    @property
    def gradients(self) -> bool:
        """Whether it needs gradient norms to be recorded."""
        return self.column is not None and self.column.gradients

    def rules(self, short: bool, epochs: int | None, ipc: int = 1, per_class: int | None = None) -> dict[str, Any]:
        """What a pipeline sets for it: what is recorded and for how long, and the end that is dropped.

        Args:
            short: whether short schedules teach the data.
            epochs: what was given for score.epochs.
            ipc: synthetic images of each class.
            per_class: real images of each class; None if that is not known.
        """
        score: dict[str, Any] = {}
        if self.measure is not None:
            measure = MEASURES[self.measure]
            longest, trials = self.epochs or measure.epochs, self.trials or measure.trials
            if self.budget is not None and per_class is not None:
                longest = self.budget.epochs(ipc, per_class)
            score = {"measure": self.measure} | ({"trials": trials} if trials else {})
            if longest:
                score["epochs"] = min(longest, SHORT_EPOCHS) if short else longest
            if longest and self.early:
                early = min(longest, epochs or longest)
                score |= {"early_from": early, "early_to": early}
            if self.gradients:
                score["gradient_norm"] = "last_layer"
        return {"prune": {"drop": self.drop}, "score": score}


CAD_EPOCHS = 4
"""The fewest epochs of a record that CAD is defined for: windows of two, in which a deviation can be taken."""
_LOSS = "The score of an image is its loss, that is how wrong a network is about it"
_PLACE = "The score of an image is its place, from 0, in the order in which its class is picked so that"

# BiLP drops what is hard to fit and what comes with low accuracy (its preview code: LossInit_large, LossConverge_large,
# MonteCarlo_small), so every measure of difficulty drops its hard end here. The papers of EL2N, GraNd and forgetting
# prune for training on what is left of many samples and drop the easy end: set `drop` to follow them.
CRITERIA = Registry(
    "criterion",
    Criterion,
    (
        Criterion(
            "loss_init",
            "loss",
            f"{_LOSS}, averaged over {{first}} of {{trials}}.",
            paper="BiLP (Xu et al. 2024)",
            column=SUMMARIZED["loss_init"],
            difficulty=True,
            mixed=_LOSSES,
        ),
        Criterion(
            "loss_converge",
            "loss",
            f"{_LOSS}, averaged over {{last}} of {{trials}}.",
            paper="BiLP (Xu et al. 2024)",
            column=SUMMARIZED["loss_converge"],
            difficulty=True,
            mixed=_LOSSES,
        ),
        # Paul et al. 2021: the mean over ten networks at an early epoch, about 20.
        Criterion(
            "el2n",
            "error norm",
            "The score of an image is its error norm (EL2N), that is how far a network's probabilities are from its label, "
            "averaged over {early} of {trials}.",
            paper="Paul et al. 2021",
            column=SUMMARIZED["el2n"],
            difficulty=True,
            trials=10,
            epochs=20,
            early=True,
        ),
        # Toneva et al. 2019 count over a whole training.
        Criterion(
            "forgetting",
            "forgetting count",
            "The score of an image is how often a network that knew its class forgot it again during training; an image whose class "
            "was never known counts once per pass ({epochs}); averaged over {trials}.",
            paper="Toneva et al. 2019",
            column=SUMMARIZED["forgetting"],
            difficulty=True,
            epochs=200,
        ),
        # A small margin is a hard or wrongly labeled sample. Pleiss et al. 2020 average up to the first decay of the step size.
        Criterion(
            "aum",
            "margin",
            "The score of an image is its margin (AUM), that is how much a network prefers its class to the best other one, "
            "averaged over all passes of {trials}; wrong labels have low ones.",
            "low",
            "Pleiss et al. 2020",
            column=SUMMARIZED["aum"],
            difficulty=True,
            epochs=150,
            mixed=_MARGINS,
        ),
        Criterion(
            "grand",
            "gradient norm",
            "The score of an image is its gradient norm (GraNd), that is how much it alone would change {norm_of}, "
            "averaged over {early} of {trials}.",
            paper="Paul et al. 2021",
            column=SUMMARIZED["grand"],
            difficulty=True,
            trials=10,
            epochs=20,
            early=True,
        ),
        # Images that are still being learned within the budget: easy ones at few images per class, hard ones at many. One network, trained
        # for as long as the evaluation will train on the set: 300 epochs of ipc images of each class.
        Criterion(
            "cad",
            "change of the error norm",
            "The score of an image is how much its error norm (EL2N) still changes from pass to pass, as a standard deviation over "
            "{epochs} passes of {trials}; images that are known at once or are never learned have low ones.",
            "low",
            "CAD-Prune (arXiv 2604.18811)",
            column=Column("bilp.scoring.criteria:cad"),
            trials=1,
            epochs=30,
            fewest_epochs=CAD_EPOCHS,
            budget=Budget(),
        ),
        Criterion(
            "herding",
            "place in herding",
            f"{_PLACE} the mean of the features picked stays close to the mean of all{{networks}}.",
            paper="Welling 2009",
            measure="herding",
        ),
        Criterion(
            "k_center",
            "place in k-center",
            f"{_PLACE} each pick is the one farthest from those before{{networks}}.",
            paper="Sener & Savarese 2018",
            measure="k_center",
        ),
        # Their paper and program keep the middle: drop both.
        Criterion(
            "center_distance",
            "distance from the center",
            "The score of an image is how far its features are from the median of its class{networks}.",
            paper="Moderate (Xia et al. 2023)",
            measure="center_distance",
        ),
        Criterion(
            "monte_carlo",
            "class accuracy",
            "The score of an image is the accuracy of its class, on training images that were held out, of networks trained on random "
            "{share} of the training images with it among them; {subsets} in all.",
            "low",
            "BiLP (Xu et al. 2024)",
            measure="monte_carlo",
        ),
        Criterion(
            "random",
            "random number",
            "The score of an image is a random number: a control that shows what pruning without knowledge does.",
            measure=None,
            ranking="bilp.pruning.rankings:random_ranking",
        ),
        Criterion(
            "external",
            "score",
            "The scores were read from a list that was made elsewhere.",
            measure=None,
            ranking="bilp.pruning.rankings:external_ranking",
            from_list=True,
        ),
    ),
    group="bilp.criteria",
)

DEFAULT_CRITERION = "loss_init"

CriterionName = Annotated[str, EntryName("bilp.config.criteria:CRITERIA")]


def dropped_end(criterion: str) -> End:
    """The end of a criterion's ranking that is dropped unless told otherwise; "high" for a criterion that does not exist."""
    return CRITERIA[criterion].drop if criterion in CRITERIA else "high"
