"""The loop of RFAD (random feature approximation; Loo et al. 2022, algorithm 1).

For every iteration several random networks, whose features f of d values each approximate the kernel of the Gaussian process that networks
with one more layer become with their width: k(x, z) = 2 <f(x), f(z)> / (networks d) + 0.1^2. Labels of real samples are predicted by
ridge regression on the synthetic images, the loss is differentiated by images, labels and the logarithm of the factor of Platt scaling, and
AdaBelief steps all of them. Images are `base` images times a matrix that they share, which begins as the identity and is learned
with them at a step size of its own.

From the authors' program (yolky/RFAD) it differs in this: real samples of an iteration are one batch without repetition, not four
that are drawn independently; a run ends after its iterations, not when the loss on samples that are drawn from the training images, too,
does not get better; gray images are padded as in every ConvNet here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.config.shapes import values_in
from bilp.data.pool import RealPool
from bilp.distill.loops.regression import IMAGES, LABELS, RegressionIterations, begin, learned_forms
from bilp.distill.step import moments
from bilp.distill.step.regressor import Gradients, Load, Regressor, stays
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.errors import ConfigError
from bilp.matching.kernel_regression import Kernel, Loss, mean_squared_error, platt
from bilp.nets.initialization import BIAS_DEVIATION, Initialization, gaussian_process
from bilp.seeds import generator

LOG_SCALE, TRANSFORM, BASE = "log_scale", "transform", "base"
"""What a state carries beside labels and moments: the logarithm of Platt's factor, a float64 scalar; the matrix float32 `[d, d]` for images
of d values, and the images before it, unless it is left out."""
MOST_VALUES = 2**14
"""Values of an image for which there may be a matrix: its moments included, it takes 3 GiB there."""


class RandomFeatureIterations(RegressionIterations):
    """Regressions on features of random networks."""

    def prepare(self) -> None:
        """What is learned beside images and labels."""
        super().prepare()
        begin_transform(self.setting.config, self.state)

    def draw(self, number: int) -> Regressor:
        """See RegressionIterations."""
        return _drawn(self.setting, self.state, "network", number)

    def move(self, found: Gradients, number: int) -> None:
        """See RegressionIterations."""
        config, carried, settings = self.setting.config, self.state.method, self.setting.config.random_features
        if settings.learn_labels:
            moments.step(moments.adabelief, carried, LABELS, carried[LABELS], found.labels, number, config.learning_rate)
        if settings.loss == "platt":
            along = (found.residuals * found.predictions).sum()
            moments.step(moments.adabelief, carried, LOG_SCALE, carried[LOG_SCALE], along, number, settings.scale_rate)
        if not settings.transform_rate:
            moments.step(moments.adabelief, carried, IMAGES, self.state.images, found.images, number, config.learning_rate)
            return
        base, gradient = carried[BASE].flatten(1), found.images.flatten(1)
        by_base = (gradient @ carried[TRANSFORM].T).view_as(carried[BASE])
        by_matrix = base.T @ gradient
        moments.step(moments.adabelief, carried, IMAGES, carried[BASE], by_base, number, config.learning_rate)
        moments.step(moments.adabelief, carried, TRANSFORM, carried[TRANSFORM], by_matrix, number, settings.transform_rate)
        self.state.images.copy_((carried[BASE].flatten(1) @ carried[TRANSFORM]).view_as(self.state.images))


def begin_transform(config: DistillConfig, state: DistillState) -> None:
    """Fill `state.method` with the factor 1 and the identity, unless they are there."""
    carried, settings, device = state.method, config.random_features, state.images.device
    if settings.loss == "platt":
        carried.setdefault(LOG_SCALE, torch.zeros((), dtype=torch.float64, device=device))
        moments.begin(carried, LOG_SCALE, carried[LOG_SCALE])
    if settings.transform_rate and TRANSFORM not in carried:
        carried[TRANSFORM] = torch.eye(state.images[0].numel(), device=device)
        carried[BASE] = state.images.clone()
        moments.begin(carried, TRANSFORM, carried[TRANSFORM])


def draw_random_networks(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """Networks as the image steps of RFAD meet them, for a reselection."""
    held = DistillState(state.images, state.labels, state.momentum, method=dict(state.method))
    begin(setting, held)
    begin_transform(setting.config, held)
    _drawn(setting, held, "reselect_network", round_number, which)


def random_feature_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of what RFAD carries (see `bilp.costs.run_files.Carries`).

    Args:
        config: settings of the distillation.
        parameters: of the network, on which nothing of this depends.
        values: likewise.
        iterations: likewise.
        images: shape of the synthetic images, `[classes * ipc, C, H, W]`.
    """
    settings, size = config.random_features, math.prod(images[1:])
    scalar: Form = (torch.float64, ())
    scale = {LOG_SCALE: scalar, **moments.forms(LOG_SCALE, scalar)} if settings.loss == "platt" else {}
    matrix: Form = (torch.float32, (size, size))
    transform = {TRANSFORM: matrix, BASE: (torch.float32, images), **moments.forms(TRANSFORM, matrix)} if settings.transform_rate else {}
    return learned_forms(config, images[0] // config.ipc, images) | scale | transform


def require_random_features(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `tensors` are what RFAD carries in such a run."""
    require_tensors(tensors, random_feature_forms(config, 0, 0, 0, (pool.classes * config.ipc, *pool.dataset.shape)), where)
    moments.require_squares(tensors, where)


def require_transform(pool: RealPool, config: DistillConfig) -> None:
    """Raise ConfigError for a matrix of images so large that it would fill the memory."""
    size = values_in(pool.dataset.shape)
    if config.random_features.transform_rate and size > MOST_VALUES:
        raise ConfigError(
            f"a matrix for images of {size} values is larger than {MOST_VALUES} x {MOST_VALUES}: set "
            "distill.random_features.transform_rate to 0"
        )


def _drawn(setting: Setting, state: DistillState, *path: str | int) -> Regressor:
    """Random networks from the streams called `path` and their numbers, and what they predict with the labels of the state."""
    settings, network = setting.config.random_features, setting.network
    network.eval().requires_grad_(False)
    initialization = Initialization(network, gaussian_process)
    rows = [initialization.draw(generator(setting.config.seed, *path, k)).to(setting.device) for k in range(settings.networks)]
    scale = 2.0 / (settings.networks * network.classifier.in_features)
    loss: Loss = partial(platt, log_scale=state.method[LOG_SCALE]) if settings.loss == "platt" else mean_squared_error
    kernel = Kernel(settings.ridge, scale, BIAS_DEVIATION**2)
    initialization.fill(rows[0])
    loads: list[Load] = [partial(initialization.fill, row) for row in rows] if len(rows) > 1 else [stays]
    return setting.drawn.take(Regressor(network, loads, kernel, loss, state.method[LABELS]))


distill = RandomFeatureIterations.distill
