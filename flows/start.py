"""What people start from the UI: a few questions, and behind them a pipeline, a published cell, a sweep or a study.

All of them are called `start`, so that they stand together in every list; deployments tell them apart (`start/digits`). Programs
use `pipeline`, `reproduce`, `sweep` and `study`, whose parameters are the settings themselves.
"""

from __future__ import annotations

from bilp.config.forms import DataSetForm, DigitsForm, OwnImagesForm, PublishedForm, SweepForm
from bilp.config.given import checked
from bilp.errors import BilpError
from bilp.studies.study_form import StudyForm
from flows import reproduce as reproduction
from flows import study as studying
from flows import sweep as sweeping
from flows.local.flow import flow
from flows.pipeline import pipeline
from tasks import run_texts
from tasks.run_name import unless_given

NAME = "start"

UNTOUCHED_DIGITS, UNTOUCHED_DATA_SET, UNTOUCHED_SWEEP = DigitsForm(), DataSetForm(), SweepForm()
UNTOUCHED_STUDY = StudyForm()


def _pipeline_name(config: DigitsForm | DataSetForm | OwnImagesForm) -> str:
    """As that of a pipeline; settings that are none are refused by the run itself, in words."""
    try:
        return run_texts.run_name(config.config())
    except BilpError:
        return NAME


def _published_name(config: PublishedForm) -> str:
    return f"{reproduction.run_name(config.recipe)}{f' x {config.scale:g}' if config.scale else ''}"


def _sweep_name(config: SweepForm) -> str:
    return sweeping.run_name(config.given(), config.lists())


def _study_name(config: StudyForm) -> str:
    try:
        return studying.run_name(config.definition()[0], {}, "")
    except BilpError:
        return NAME


@flow(name=NAME, flow_run_name=unless_given(_pipeline_name))
def digits(config: DigitsForm = UNTOUCHED_DIGITS) -> str:
    """The URI of report.html of a pipeline on scikit-learn's digits.

    Args:
        config: Whatever stays empty is derived.
    """
    return pipeline.fn(config.config(), None)


@flow(name=NAME, flow_run_name=unless_given(_pipeline_name))
def data_set(config: DataSetForm = UNTOUCHED_DATA_SET) -> str:
    """The URI of report.html of a pipeline on a built-in data set.

    Args:
        config: Whatever stays empty is derived.
    """
    return pipeline.fn(config.config(), None)


@flow(name=NAME, flow_run_name=unless_given(_pipeline_name))
def my_images(config: OwnImagesForm) -> str:
    """The URI of report.html of a pipeline on images of one's own.

    Args:
        config: Whatever stays empty is derived.
    """
    return pipeline.fn(config.config(), None)


@flow(name=NAME, flow_run_name=unless_given(_published_name))
def published_recipe(config: PublishedForm) -> str:
    """The URI of the comparison with what a paper states for a recipe.

    Args:
        config: Whatever stays empty is as the recipe says.
    """
    from bilp.evaluate.reproduction import load_published, scaled

    load_published(config.recipe)
    scale = config.scale or 1.0
    return reproduction.reproduce.fn(config.recipe, checked(config.given(), lambda given: scaled(config.recipe, scale, dict(given))), None)


@flow(name=NAME, flow_run_name=unless_given(_sweep_name))
def sweep_values(config: SweepForm = UNTOUCHED_SWEEP) -> list[str]:
    """The URIs of the reports, one for each combination of the values.

    Args:
        config: Whatever stays empty is derived.
    """
    return sweeping.sweep.fn(config.given(), config.lists(), None)


@flow(name=NAME, flow_run_name=unless_given(_study_name))
def study_of_arms(config: StudyForm = UNTOUCHED_STUDY) -> str:
    """The URI of the page of a study.

    Args:
        config: Whatever stays empty is as the study says.
    """
    definition, place = config.definition()
    return studying.study.fn(definition, config.given(), place, None, config.processes or 1)
