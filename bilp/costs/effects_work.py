"""What measuring the causal effect of a sample costs, from what each estimator does (`bilp.causal`)."""

from __future__ import annotations

from collections.abc import Callable

from bilp.causal.choose import PUSHFORWARD, prefers_sketch
from bilp.causal.sketch import directions_per_image
from bilp.config import METHODS, DistillConfig, ReselectConfig
from bilp.config.arms import PlannedRun
from bilp.config.entering import entering_images
from bilp.config.estimators import ESTIMATORS
from bilp.config.reselect import RESELECT_SCORES
from bilp.config.shapes import Shape, values_in
from bilp.costs.work import FORWARD
from bilp.registry import resolve

Measuring = Callable[[DistillConfig, ReselectConfig, int, int], float]
"""Forward passes for each of some samples: of the settings, the samples of all classes that are measured together, and the classes."""


def measured_forwards(run: PlannedRun, samples: int, vector: float, parameters: int, shape: Shape, classes: int = 1) -> float:
    """Forward passes that take as long as measuring one of `samples` that are measured together.

    A sample's own vector, and products with the derivative of the class's synthetic vector: one for each sample and image, or those of a
    sketch, which all samples share. A sketch that orders the samples too roughly is followed by the exact form, which is not counted.

    Args:
        run: Its settings of distillation and reselection.
        samples: Of a class, measured together.
        vector: Forward passes that the vector of a sample costs.
        parameters: Of the network.
        shape: Of a sample.
        classes: How many have as many samples that are measured with these.
    """
    distill, reselect = run.distill, run.reselect
    score, estimator = RESELECT_SCORES[reselect.score], ESTIMATORS[reselect.estimator]
    product, images = METHODS[distill.method].product_cost, entering_images(distill)
    if score.substitute is not None:
        return FORWARD
    if own := METHODS[distill.method].measuring_work:
        measuring: Measuring = resolve(own)
        return measuring(distill, reselect, samples * classes, classes)
    if score.signed:  # one product of the derivative with a direction serves all samples
        return vector + PUSHFORWARD * product * images / samples
    size = values_in(shape)
    sketched = estimator.sketches and not estimator.exact_where_better
    if sketched or (estimator.sketches and prefers_sketch(samples, distill.ipc, size, parameters, reselect.directions)):
        leading, rest = directions_per_image(reselect.directions, distill.ipc, size, samples)
        return vector + product * images * (leading + PUSHFORWARD * (leading + rest)) / samples
    return vector + product * images
