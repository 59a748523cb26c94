"""Entries of static pruning and reselection: complete, and tested nowhere by their names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from import_graph import texts

from bilp.artifacts.tables import SUMMARY
from bilp.config import CRITERIA, Criterion, PruneConfig, ReselectConfig, ScoreConfig
from bilp.config.criteria import PHRASES, SUMMARIZED, Column
from bilp.config.estimators import ESTIMATORS
from bilp.config.measures import MEASURES
from bilp.config.reselect import RESELECT_SCORES
from bilp.distill.step.substitutes import Substitute
from bilp.registry import resolve
from bilp.report.wording import phrases, score_meaning

REPOSITORY = Path(__file__).resolve().parents[2]
HOMES = {REPOSITORY / "bilp" / "config" / f"{name}.py" for name in ("criteria", "measures", "estimators", "reselect")}
SOURCES = [path for layer in ("bilp", "tasks", "flows") for path in sorted((REPOSITORY / layer).rglob("*.py")) if path not in HOMES]
NAMES = {*CRITERIA, *MEASURES, *ESTIMATORS, *RESELECT_SCORES}
SETTINGS = ("criterion", "measure", "estimator", "score")
"""What the names are compared with is called like one of these."""


def compared(source: str) -> Iterator[str]:
    """Comparisons of such a setting with the name of an entry: `==`, `in`, and patterns of `match`."""
    if not any(setting in source for setting in SETTINGS):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides: list[ast.expr] = [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            sides = [
                node.subject,
                *(part.value for case in node.cases for part in ast.walk(case.pattern) if isinstance(part, ast.MatchValue)),
            ]
        else:
            continue
        named = {leaf.value for side in sides for leaf in ast.walk(side) if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)}
        asked = {part for side in sides for leaf in ast.walk(side) for part in (getattr(leaf, "id", ""), getattr(leaf, "attr", ""))}
        if named & NAMES and asked & set(SETTINGS):
            yield ast.unparse(node)


def test_no_name_is_tested_outside_of_the_entries() -> None:
    assert {str(path): found for path in SOURCES if (found := list(compared(path.read_text(encoding="utf-8"))))} == {}


@pytest.mark.parametrize(
    "source",
    [
        'config.measure == "trajectory"',
        'x = 1 if "ite" != reselect.score else 2',
        'criterion in ("el2n", "grand")',
        'match estimator:\n case "auto":\n  x = 1',
    ],
)
def test_a_name_that_is_tested_is_noticed(source: str) -> None:
    assert list(compared(source))


def test_names_that_mean_nothing_else_stand_in_no_other_module() -> None:
    """Names that are words of their own: others are arms, columns of records or modes as well."""
    own = {
        "loss_init",
        "loss_converge",
        "forgetting",
        "grand",
        "monte_carlo",
        "external",
        "ite",
        "feature_distance",
        "cotangent",
        "taylor",
        "sketch",
    }
    assert own <= NAMES
    found = {(path.name, text) for path in SOURCES for text, *_ in texts(path.read_text(encoding="utf-8")) if text in own}
    # The default of a setting and of a call, the causal room's public name, a stored column and its uses; label scores are entries of their
    # own, called like the criterion that they rank by, and their functions read its column.
    modules = ("suspects.py", "label_scores.py", "stage.py", "suspects_table.py")
    scores = {(name, value) for name in modules for value in ("loss_init", "loss_converge", "forgetting")}
    # A method's entry says which estimators apply to it, by what its experts are taught in an order, and which criterion ranks its samples.
    stated = {("prune.py", "loss_init"), ("subsets.py", "monte_carlo"), ("lgm.py", "cotangent"), ("datm.py", "grand")}
    stated |= {(f"{method}.py", name) for method in ("linba", "frepo") for name in ("cotangent", "sketch")}
    stated |= {("inversion.py", "cotangent"), ("selmatch.py", "forgetting"), ("ccfs.py", "forgetting")}
    assert {(name, value) for name, value in found if value != "ite"} <= scores | stated


@pytest.mark.parametrize("name", CRITERIA)
def test_an_entry_of_a_criterion_is_complete(name: str) -> None:
    criterion = CRITERIA[name]
    prune = PruneConfig.model_construct(criterion=name)
    title, sentence = score_meaning(prune, ScoreConfig(trials=2))
    assert title and sentence.endswith(".") and "{" not in sentence
    for path in (criterion.ranking, criterion.column.of_trial if criterion.column else None):
        assert path is None or callable(resolve(path))
    page = (REPOSITORY / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = [
        line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line and line.rstrip("| ").endswith(criterion.drop)
    ]
    assert len(rows) == 1, "the table of criteria in docs/methods.md has a row for it"
    assert criterion.paper in rows[0] or criterion.paper.split(" (")[0] in rows[0] or name in ("herding", "k_center")


def test_what_is_summarized_together_are_columns_of_the_table() -> None:
    together = {name: criterion.column for name, criterion in CRITERIA.items() if criterion.column in SUMMARIZED.values()}
    assert together == {name: column for name, column in SUMMARIZED.items() if name != "accuracy"}
    assert [name for name in SUMMARY.names[2:] if not name.endswith("_std")] == list(SUMMARIZED)
    assert {name.removesuffix("_std") for name in SUMMARY.names if name.endswith("_std")} == set(SUMMARIZED) - {"accuracy"}


def test_the_page_has_every_phrase_that_a_meaning_may_hold() -> None:
    assert set(phrases(ScoreConfig())) == set(PHRASES)
    used = {name for criterion in CRITERIA.values() for _, name, _, _ in Formatter().parse(criterion.meaning) if name}
    assert used == set(PHRASES)


@pytest.mark.parametrize("name", MEASURES)
def test_an_entry_of_a_measure_is_complete(name: str) -> None:
    measure = MEASURES[name]
    assert callable(resolve(measure.trial))
    assert {*measure.settings, *measure.averaged} <= ScoreConfig.model_fields.keys()
    assert [criterion.name for criterion in CRITERIA.values() if criterion.measure == name]
    assert measure.per_epoch or CRITERIA[name].measure == name


@pytest.mark.parametrize("name", RESELECT_SCORES)
def test_an_entry_of_a_score_is_complete(name: str) -> None:
    score = RESELECT_SCORES[name]
    told = ("name", "noun", "title", "word", "meaning")
    assert all(getattr(score, name) for name in told) and {*told} < {field.name for field in fields(score)}
    assert score.substitute is None or isinstance(resolve(score.substitute), Substitute)
    others = [other.name for other in RESELECT_SCORES.values() if (other.substitute, other.signed) == (score.substitute, score.signed)]
    assert others == [name]
    assert ReselectConfig(score=name).by_rank == (score.uniform or score.signed)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"column": None}, "give a column with a measure of every epoch"),
        ({"measure": None}, "give a column with a measure of every epoch, or a ranking with measure None"),
        ({"measure": None, "column": None}, "or a ranking with measure None"),
        ({"measure": "herding", "column": None}, "the scores of measure herding are those of the criterion of that name"),
        ({"meaning": "Averaged over {passes}."}, r"its meaning holds \['passes'\], the phrases are trials"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    entry = {"name": "toy", "title": "toy", "meaning": "A score.", "column": Column("x:y"), **changes}
    with pytest.raises(ValueError, match=f"criterion toy: .*{said}"):
        Criterion(**entry)
