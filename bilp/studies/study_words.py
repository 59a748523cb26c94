"""What a study says in words: cells of tables, marks, and the sentences at the top of its page."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bilp.config.criteria import CRITERIA
from bilp.config.reselect import RESELECT_SCORES
from bilp.evaluate.robustness import label_robust_score
from bilp.report.comparison import percent, points
from bilp.report.wording import ARMS, ArmWords, arm_words, count, share
from bilp.studies.statistics import Comparison
from bilp.studies.study_plan import Cell, Plan, real_images
from bilp.studies.study_table import Detected, Entry, Table

SIGNIFICANT, EQUAL = "*", "≈"
"""Marks of a difference that remains beyond chance, and of one that is shown to lie within the tolerance."""
NOTHING = "–"
MOST_SIDE_BY_SIDE = 6
"""Cells that tables have as columns. Of more, tables have rows, whose columns are arms, and sentences count them."""


def words_of(plan: Plan, arm: str) -> ArmWords:
    """Title, meaning and color class of an arm of a study: those of the pipeline's arm or baseline that it is."""
    entry = plan.study.arms[arm]
    own = arm_words(real_images(plan.study, arm) or plan.first[arm].arms[0])
    return ArmWords(plan.title(arm) if entry.title else own.title if arm in ARMS else arm, own.meaning, own.css)


def title_of(plan: Plan, arm: str) -> str:
    """What tables call an arm."""
    return words_of(plan, arm).title


def seeds_of(plan: Plan) -> str:
    """What intervals of a study are over (`bilp.studies.statistics`)."""
    return "the trainings of one seed" if plan.study.seeds == 1 else f"{plan.study.seeds} seeds"


def marked(found: Comparison) -> str:
    """'+2.1 ± 0.8 *'."""
    mark = SIGNIFICANT if found.significant else EQUAL if found.equivalent else ""
    return f"{points(found.value).removesuffix(' points')}{f' {mark}' if mark else ''}"


def tested(found: Comparison) -> str:
    """' (p = 0.012)', after Holm's correction; nothing where it was not tested, or is shown to be equal."""
    if math.isnan(found.p) or (found.equivalent and not found.significant):
        return ""
    return f" ({_chance(found)})"


def _chance(found: Comparison) -> str:
    return f"p = {found.adjusted:.2g}" if found.adjusted >= 0.001 else "p < 0.001"


def judged(found: Comparison) -> str:
    """What a comparison allows to say, in words."""
    if math.isnan(found.p):
        return "one seed: not tested"
    chance = f"{_chance(found)} after Holm's correction"
    if found.significant:
        return f"a {'gain' if found.value.mean > 0 else 'loss'} beyond chance ({chance})"
    if found.equivalent:
        return "equal within the tolerance"
    return f"no difference beyond chance ({chance})"


def cells_as_rows(plan: Plan) -> bool:
    """Whether a study has more cells than fit side by side."""
    return len(plan.cells) > MOST_SIDE_BY_SIDE


def sentences(table: Table) -> list[str]:
    """What came out on the first network: a sentence for each cell, of the main arm; of many cells one for each arm and reference."""
    if cells_as_rows(table.plan):
        return [told for arm in table.plan.study.arms for reference in table.plan.references if (told := _counted(table, arm, reference))]
    return [told for cell in table.plan.cells if (told := _sentence(table, cell))]


def _counted(table: Table, arm: str, reference: str) -> str:
    """'BiLP against Unpruned, 18 cells: 5 gains and 0 losses beyond chance, 3 equal within 3 points.'"""
    entries = [table.of(cell, arm, table.networks[0]) for cell in table.plan.cells] if table.networks else []
    found = [entry.against[reference] for entry in entries if entry is not None and reference in compared(table.plan, entry)]
    tested = [each for each in found if not math.isnan(each.p)]
    if not tested:
        return ""
    gains, losses = (sum(each.significant and sign * each.value.mean > 0 for each in tested) for sign in (1, -1))
    parts = [f"{count(gains, 'gain')} and {count(losses, 'loss', 'losses')} beyond chance"]
    if table.plan.study.tolerance is not None:
        equal = sum(not each.significant and each.equivalent is True for each in tested)
        parts.append(f"{equal} equal within {table.plan.study.tolerance:g} points")
    return f"{title_of(table.plan, arm)} against {title_of(table.plan, reference)}, {count(len(tested), 'cell')}: {', '.join(parts)}."


def compared(plan: Plan, entry: Entry) -> list[str]:
    """The references that an arm is shown with: of two references, the one that is named first is that of the other."""
    place = plan.references.index(entry.arm) if entry.arm in plan.references else len(plan.references)
    return [reference for reference in plan.references[:place] if reference in entry.against]


def _sentence(table: Table, cell: Cell) -> str:
    entry = table.of(cell, table.plan.main, table.networks[0]) if table.networks else None
    if entry is None:
        return ""
    parts = [f"{title_of(table.plan, entry.arm)} reaches {percent(entry.accuracy.value)}"]
    for reference, found in entry.against.items():
        other = table.of(cell, reference, entry.network)
        theirs = f" {percent(other.accuracy.value)}" if other is not None else ""
        parts.append(f"{title_of(table.plan, reference)}{theirs}, a difference of {points(found.value)}: {judged(found)}")
    lead = best(table, cell)
    if lead is not None:
        parts.append(found_words(lead))
    return f"{cell.title[:1].upper()}{cell.title[1:]}: {'; '.join(parts)}."


def best(table: Table, cell: Cell) -> Detected | None:
    """What the selection of a cell was made by; without a selection the score with the largest AUROC."""
    found = [each for each in table.detected if each.cell.number == cell.number and not each.arm]
    selected = [each for each in found if not math.isnan(each.kept)]
    return next(iter(selected), None) or max(found, key=lambda each: each.auroc[0], default=None)


def found_words(found: Detected) -> str:
    """'of the 288 images with the highest loss, 98 % have a wrong label (AUROC 0.998)'."""
    what = score_title(found.score)
    text = f"of the {found.wrong:,.0f} most suspicious images by {what}, {share(found.precision[0])} have a wrong label"
    return f"{text} (AUROC {found.auroc[0]:.3f})"


def score_title(score: str) -> str:
    """A criterion of static pruning or a score of reselection, as the report calls it."""
    if score in CRITERIA:
        return CRITERIA[score].title
    return RESELECT_SCORES[score].noun if score in RESELECT_SCORES else score


def status(table: Table) -> str:
    """'All 2 cells have 5 seeds.' or what is missing."""
    study, done = table.plan.study, table.done
    cells = count(len(table.plan.cells), "cell")
    if table.complete:
        return f"{cells}, {count(study.seeds, 'seed')} each: complete."
    there, wanted = sum(done.values()), len(table.plan.blocks)
    return f"Not complete: {there} of {count(wanted, 'block')} (a cell with a seed) are there; cells say how many seeds they have."


def notes(table: Table) -> Iterator[str]:
    """How to read the tables."""
    study = table.plan.study
    anew = ", ".join(study.new_per_seed) or "nothing"
    means = "by Student's t over the means of the seeds, which covers distillations and trainings"
    both = "over distillations and trainings, both of which vary: all seeds share their trainings (two-way model)"
    yield (
        f"Drawn anew with each seed: {anew}. All arms of a cell meet the same seeds. Intervals are 95 % "
        f"{both if table.plan.crossed else means}; where a cell has one seed, over its trainings."
    )
    if table.plan.references:
        names = ", ".join(title_of(table.plan, reference) for reference in table.plan.references)
        family = max((sum(reference in entry.against for entry in table.entries) for reference in table.plan.references), default=0)
        yield (
            f"Differences are in percentage points, paired by seed, to {names}. {SIGNIFICANT} marks p < 0.05 of the paired t test after "
            f"Holm's correction for {count(family, 'comparison')}; every p is in the CSV file."
        )
    if any(entry.label_robustness is not None for entry in table.entries):
        yield (
            "LRS is the label-robust score of DD-Ranking, from 0 to 100: half the gain over random real images less half of what is lost "
            f"to all real images, scaled; equal to both is {100 * label_robust_score(0.0, 0.0, 0.0, 0.0):.1f}."
        )
    if study.tolerance is not None:
        yield f"{EQUAL} marks what two one-sided tests at 5 % show to be equal within ± {study.tolerance:g} points."


def shown_accuracy(entry: Entry, planned: int) -> str:
    """'90.1 % ± 0.8', with the number of seeds where some are missing."""
    missing = f" ({entry.accuracy.seeds} of {planned})" if entry.accuracy.seeds < planned else ""
    return percent(entry.accuracy.value) + missing
