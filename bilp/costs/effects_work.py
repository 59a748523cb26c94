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
from bilp.costs.work import FORWARD, TRAINING
from bilp.registry import resolve

Measuring = Callable[[DistillConfig, ReselectConfig, int, int], float]
"""Forward passes for each of some samples: of the settings, the samples of all classes that are measured together, and the classes."""

HALVES = 2
"""Directions of signed effects: one from each half of the held-out samples."""


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
    method, images = METHODS[distill.method], entering_images(distill)
    product = method.product_cost
    if score.whole:  # a network learns the set, and looks at the samples as the teacher does
        return 2 * FORWARD + TRAINING * reselect.mistakes.epochs * distill.decode.count(distill.ipc) / samples
    if score.substitute is not None:
        return FORWARD
    if method.measuring_work:
        measuring: Measuring = resolve(method.measuring_work)
        return measuring(distill, reselect, samples * classes, classes)
    if method.acts_on is not None:  # directions serve the samples of all classes
        return vector + product * method.acts_on(distill, classes) * _products(run, samples * classes)
    if score.signed:  # one product of the derivative with a direction serves all samples
        return vector + PUSHFORWARD * product * images / samples
    size = values_in(shape)
    sketched = estimator.sketches and not estimator.exact_where_better
    if sketched or (estimator.sketches and prefers_sketch(samples, distill.ipc, size, parameters, reselect.directions)):
        leading, rest = directions_per_image(reselect.directions, distill.ipc, size, samples)
        return vector + product * images * (leading + PUSHFORWARD * (leading + rest)) / samples
    return vector + product * images


def _products(run: PlannedRun, samples: int) -> float:
    """Products with the derivative of the synthetic features, in backward passes of the synthetic images, that each of `samples` samples
    costs where all share directions."""
    score, estimator = RESELECT_SCORES[run.reselect.score], ESTIMATORS[run.reselect.estimator]
    if score.signed:
        return PUSHFORWARD * HALVES / samples
    sketched = estimator.sketches and not estimator.exact_where_better
    return PUSHFORWARD * run.reselect.directions / samples if sketched else 1.0
