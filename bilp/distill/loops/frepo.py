"""The loop of FRePo (neural feature regression with pooling; Zhou et al. 2022, algorithm 1).

For every iteration one network of a pool: labels of real samples are predicted by ridge regression on the features of the synthetic
images, half the squared error is differentiated by images and labels, and LAMB steps both. Then this network makes one step of Adam on
the synthetic images with their learned labels; one that has made `most_updates` of them is replaced by a new one instead. Features are
those in eval mode, under statistics of batch norm of which a step keeps a tenth (flax's momentum of 0.1). Facts are from the authors'
program (yongchaoz/FRePo, lib/datadistillation/frepo.py): ages of the networks of the beginning are numbers without training behind
them; with mirror images, images and mirror images enter one regression together; the term on labels is the mean of -min(largest less
second largest value, 1 / classes).

The loss that is told is the squared error alone, as the term on labels may be negative and sees no real sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.iterations import Step
from bilp.distill.loops.regression import IMAGES, LABELS, RegressionIterations, begin, learned_forms
from bilp.distill.step import moments
from bilp.distill.step.regressor import Gradients, Regressor, stays
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.errors import DamagedArtifact
from bilp.matching.kernel_regression import Kernel, squared_error
from bilp.nets import Network, build, initialize
from bilp.nets.flat_values import flattened, parts_of, values_of
from bilp.nets.initialization import lecun
from bilp.seeds import generator

NETWORKS, FIRST, SECOND, TRAINED, AGES, BORN = "networks", "first", "second", "trained", "ages", "born"
"""What a state carries of the pool: of each network a row of parameters and running statistics, float32 `[n, values]`, Adam's moments
`[n, parameters]`, its steps of Adam and its age, int64 `[n]`; and how many there ever were. The last three lie on the CPU."""
ON_HOST = (TRAINED, AGES, BORN)
STATISTICS_MOMENTUM = 0.9
"""Part of the running statistics of batch norm that a step replaces."""


class FeaturePool:
    """The networks of `tensors`, which it changes; `network` is the one module that their rows are loaded into."""

    def __init__(self, config: DistillConfig, network: Network, tensors: dict[str, Tensor]) -> None:
        """Make the networks of the beginning, unless there are some."""
        self._config, self._network, self._tensors = config, network, tensors
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = STATISTICS_MOMENTUM
        tensors.update({name: tensors[name].cpu() for name in ON_HOST if name in tensors})
        if NETWORKS not in tensors:
            self._begin()

    def __len__(self) -> int:
        return len(self._tensors[NETWORKS])

    def load(self, which: int) -> None:
        """A row becomes the network, in eval mode."""
        values = values_of(self._network)
        with torch.no_grad():
            torch._foreach_copy_(values, parts_of(self._tensors[NETWORKS][which], values))
        self._network.eval().requires_grad_(False)

    def grow_older(self, which: int, images: Tensor, labels: Tensor) -> None:
        """The row that was loaded is trained for a step on images `[B, C, H, W]` with labels `[B, classes]`, or becomes a new network."""
        if int(self._tensors[AGES][which]) > self._config.regression.most_updates:
            self._renew(which)
            self._tensors[AGES][which] = 0
            return
        self._train(which, images, labels)
        self._tensors[AGES][which] += 1

    def _train(self, which: int, images: Tensor, labels: Tensor) -> None:
        network, tensors = self._network, self._tensors
        network.train().requires_grad_(True)
        parameters = list(network.parameters())
        optimizer = torch.optim.Adam(parameters, lr=self._config.network_learning_rate)
        taken = float(tensors[TRAINED][which])
        rows = (parts_of(tensors[name][which], parameters) for name in (FIRST, SECOND))
        for parameter, first, second in zip(parameters, *rows, strict=True):
            optimizer.state[parameter] = {"step": torch.tensor(taken), "exp_avg": first, "exp_avg_sq": second}
        with torch.enable_grad():
            loss = 0.5 * (network(images) - labels).square().sum(dim=1).mean()
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()  # which changes the rows of the moments
        optimizer.zero_grad(set_to_none=True)
        network.eval().requires_grad_(False)
        tensors[NETWORKS][which] = flattened(values_of(network))
        tensors[TRAINED][which] += 1

    def _renew(self, which: int) -> None:
        tensors = self._tensors
        initialize(self._network, generator(self._config.seed, "regression_network", int(tensors[BORN])), lecun)
        tensors[NETWORKS][which] = flattened(values_of(self._network))
        tensors[FIRST][which], tensors[SECOND][which], tensors[TRAINED][which] = 0.0, 0.0, 0
        tensors[BORN] = tensors[BORN] + 1

    def _begin(self) -> None:
        count, tensors = self._config.regression.networks, self._tensors
        device = next(self._network.parameters()).device
        values, parameters = _sizes(self._network)
        tensors[NETWORKS] = torch.zeros(count, values, device=device)
        tensors[FIRST], tensors[SECOND] = (torch.zeros(count, parameters, device=device) for _ in range(2))
        tensors[TRAINED] = torch.zeros(count, dtype=torch.int64)
        tensors[AGES] = self._config.regression.most_updates // count * torch.arange(count)
        tensors[BORN] = torch.zeros((), dtype=torch.int64)
        for which in range(count):
            self._renew(which)


class PoolIterations(RegressionIterations):
    """Regressions on features of networks from a pool, which lives in `state.method`."""

    def prepare(self) -> None:
        """The labels, and the pool."""
        begin_labels(self.setting, self.state)
        super().prepare()
        self._pool = FeaturePool(self.setting.config, self.setting.network, self.state.method)

    def draw(self, number: int) -> Regressor:
        """See RegressionIterations."""
        self._which, regressor = _drawn(self.setting, self._pool, self.state, "pool_choice", number)
        return regressor

    def move(self, found: Gradients, number: int) -> None:
        """See RegressionIterations."""
        settings, carried = self.setting.config.regression, self.state.method
        rate = step_size(self.setting.config, number)
        moments.step(moments.lamb, carried, IMAGES, self.state.images, found.images, number, rate)
        if settings.learn_labels:
            labels = carried[LABELS]
            gradient = found.labels + settings.label_margin * margin_gradient(labels.double())
            moments.step(moments.lamb, carried, LABELS, labels, gradient, number, rate)

    def iteration(self, number: int) -> Iterator[Step]:
        """The regression, the step, and a step of the network."""
        yield from super().iteration(number)
        setting, state = self.setting, self.state
        size = setting.config.batch_train
        rows: Tensor | slice = slice(None)
        if len(state.images) >= size:
            order = torch.randperm(len(state.images), generator=generator(setting.config.seed, "pool_training", number))
            rows = order[:size].to(setting.device)
        self._pool.grow_older(self._which, state.images[rows], state.method[LABELS][rows])


def begin_labels(setting: Setting, state: DistillState) -> None:
    """Centered one-hot labels, divided by sqrt(classes / 10), unless there are some."""
    if LABELS not in state.method:
        begin(setting, state)
        state.method[LABELS] /= math.sqrt(setting.pool.classes / 10)


def draw_pool_network(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """A network as the image steps of FRePo meet them, for a reselection: one of the pool."""
    held = DistillState(state.images, state.labels, state.momentum, method=dict(state.method))
    begin_labels(setting, held)
    _drawn(setting, FeaturePool(setting.config, setting.network, held.method), held, "reselect_network", round_number, which)


def step_size(config: DistillConfig, iteration: int) -> float:
    """Step size of images and labels, which falls along half a cosine."""
    rest = config.regression.final_rate
    return config.learning_rate * (rest + (1.0 - rest) * 0.5 * (1.0 + math.cos(math.pi * iteration / config.iterations)))


def margin_gradient(labels: Tensor) -> Tensor:
    """The gradient `[M, classes]` of the mean over labels `[M, classes]` of -min(largest less second largest value, 1 / classes)."""
    classes = labels.shape[1]
    if classes < 2:
        return torch.zeros_like(labels)
    order = labels.argsort(dim=1, descending=True, stable=True)[:, :2]
    values = labels.gather(1, order)
    close = (values[:, :1] - values[:, 1:] < 1.0 / classes).to(labels.dtype) / len(labels)
    signs = torch.cat([-close, close], dim=1)
    return torch.zeros_like(labels).scatter(1, order, signs)


def regression_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of what FRePo carries (see `bilp.costs.run_files.Carries`).

    Args:
        config: Settings of the distillation.
        parameters: Of the network.
        values: These and its running statistics.
        iterations: That are done, on which it does not depend.
        images: Shape of the synthetic images.
    """
    count = config.regression.networks
    pool: dict[str, Form] = {
        NETWORKS: (torch.float32, (count, values)),
        **dict.fromkeys((FIRST, SECOND), (torch.float32, (count, parameters))),
        **dict.fromkeys((TRAINED, AGES), (torch.int64, (count,))),
        BORN: (torch.int64, ()),
    }
    return pool | learned_forms(config, images[0] // config.ipc, images)


def require_regression(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `tensors` are what FRePo carries in such a run."""
    network = build(config.network, pool.dataset.shape, pool.classes)
    values, parameters = _sizes(network)
    require_tensors(tensors, regression_forms(config, parameters, values, 0, (pool.classes * config.ipc, *pool.dataset.shape)), where)
    moments.require_squares(tensors, where)
    ages, trained, born = tensors[AGES], tensors[TRAINED], int(tensors[BORN])
    oldest = config.regression.most_updates + 1
    if not (born >= len(ages) and bool(((ages >= 0) & (ages <= oldest) & (trained >= 0) & (trained <= ages)).all())):
        raise DamagedArtifact(f"{where} holds a pool of networks whose ages cannot be: run the round again")


def _drawn(setting: Setting, pool: FeaturePool, state: DistillState, *path: str | int) -> tuple[int, Regressor]:
    """A network of the pool from the stream called `path`: its place, and what it predicts with the labels of the state."""
    which = int(torch.randint(len(pool), (1,), generator=generator(setting.config.seed, *path)))
    settings = setting.config.regression
    pool.load(which)
    parts = (setting.network, (stays,), Kernel(settings.ridge), squared_error, state.method[LABELS], settings.mirrored)
    return which, setting.drawn.take(Regressor(*parts))


def _sizes(network: Network) -> tuple[int, int]:
    """Values of a row, and parameters among them."""
    return sum(part.numel() for part in values_of(network)), sum(part.numel() for part in network.parameters())


distill = PoolIterations.distill
