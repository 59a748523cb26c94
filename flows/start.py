"""What people start from the UI: a few questions, and behind them a pipeline, a published cell or a sweep.

All of them are called `start`, so that they stand together in every list; deployments tell them apart (`start/digits`). Programs
use `pipeline`, `reproduce` and `sweep`, whose parameters are the settings themselves.
"""

from __future__ import annotations

from bilp.config.forms import DataSetForm, DigitsForm, OwnImagesForm, PublishedForm, SweepForm
from bilp.config.given import checked
from flows.local.flow import flow
from flows.pipeline import pipeline
from flows.reproduce import reproduce
from flows.sweep import sweep

NAME = "start"
RUN_NAME = "{config.label}"
UNTOUCHED_DIGITS, UNTOUCHED_DATA_SET, UNTOUCHED_SWEEP = DigitsForm(), DataSetForm(), SweepForm()


@flow(name=NAME, flow_run_name=RUN_NAME)
def digits(config: DigitsForm = UNTOUCHED_DIGITS) -> str:
    """The URI of report.html of a pipeline on scikit-learn's digits.

    Args:
        config: Whatever stays empty is derived.
    """
    return pipeline.fn(config.config(), None)


@flow(name=NAME, flow_run_name=RUN_NAME)
def data_set(config: DataSetForm = UNTOUCHED_DATA_SET) -> str:
    """The URI of report.html of a pipeline on a built-in data set.

    Args:
        config: Whatever stays empty is derived.
    """
    return pipeline.fn(config.config(), None)


@flow(name=NAME, flow_run_name=RUN_NAME)
def my_images(config: OwnImagesForm) -> str:
    """The URI of report.html of a pipeline on images of one's own.

    Args:
        config: Whatever stays empty is derived.
    """
    return pipeline.fn(config.config(), None)


@flow(name=NAME, flow_run_name=RUN_NAME)
def published_recipe(config: PublishedForm) -> str:
    """The URI of the comparison with what a paper states for a recipe.

    Args:
        config: Whatever stays empty is as the recipe says.
    """
    from bilp.evaluate.reproduction import load_published, scaled

    load_published(config.recipe)
    scale = config.scale or 1.0
    return reproduce.fn(config.recipe, checked(config.given(), lambda given: scaled(config.recipe, scale, dict(given))), None)


@flow(name=NAME, flow_run_name=RUN_NAME)
def sweep_values(config: SweepForm = UNTOUCHED_SWEEP) -> list[str]:
    """The URIs of the reports, one for each combination of the values.

    Args:
        config: Whatever stays empty is derived.
    """
    return sweep.fn(config.given(), config.lists(), None)
