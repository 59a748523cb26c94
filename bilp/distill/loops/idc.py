"""The loop of IDC (Kim et al. 2022, algorithm 1) and of DREAM (Liu et al. 2023), which differ in their real batches.

For every iteration a new random network; for every image step one step per class towards the gradient of the kernels,
then one training pass of the network over real images. Images are kept within the range of pixels between iterations.

For ImageNet-100 the reference program trains ten networks beforehand (pretrain.py) and lets every iteration start from one
of them, drawn uniformly, under a new optimizer (condense_mp.py, `pretrain_sample`); so does `idc.pretrained` here. The
program also divides the classes among processes there (`nclass_sub`), which here is `shards`: the networks of all parts are
trained on all classes, each part steps its own images. Its parts draw networks of their own; here they draw the same ones.

The reference programs hold pixels in [0, 1] and normalize them on their way into the network. Here the images are
normalized all along, like those of every other method: with x = (p - mean) / std, a step lr on the gradient with
respect to p is a step lr / std^2 on that with respect to x, and decoding commutes with the change of units.

What remains different on purpose: real batches of a class are drawn each on its own, and the order of the real images begins
anew with every network (in the program both go on through a shuffled class or set, data.py ClassMemDataLoader), so that an
iteration depends on the seed and its number alone and a run can go on from any of them; initial images are random ones of a
class, not its first. DREAM clusters normalized images and takes each representative from its own cluster, unless
`dream.clustered` and `dream.nearest` say otherwise, as in the recipes of its published cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import torch

from bilp.config import METHODS
from bilp.distill.loops.class_steps import ClassIterations
from bilp.distill.loops.iterations import Step
from bilp.distill.step.pixel_range import PixelRange
from bilp.distill.step.real_training import RealTraining, sgd, without_cutout
from bilp.distill.step.representatives import Representatives
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.registry import resolve
from bilp.seeds import generator


class KernelIterations(ClassIterations):
    """Image steps class by class towards the gradients of the kernels; progress counts them.

    Between iterations every pixel lies in [0, 1] (normalized).
    """

    def prepare(self) -> None:
        """Pixels within their range."""
        self._pixels = PixelRange.of(self.setting)
        self._pixels.clamp_(self.state.images)
        self.scale, self.progress_steps = self._pixels.scale, self.setting.schedule.outer_loops
        super().prepare()

    def iteration(self, number: int) -> Iterator[Step]:
        """The image steps of one network."""
        setting = self.setting
        part = METHODS[setting.config.method].parts.get("representatives")
        representatives: type[Representatives] | None = resolve(part) if part else None
        chooser = None if representatives is None else representatives(setting)
        training = _Training(setting, "network", number)
        for step in range(setting.schedule.outer_loops):
            if step > 0:
                training.one_pass()
            setting.freeze_statistics(number, step)
            drawn = None if chooser is None else partial(chooser.chosen, self.pruner, number, step)
            yield self.class_steps(number, step, self.targets(number, step, by_class=True, drawn=drawn))
        self._pixels.clamp_(self.leaf.images)


def draw_trained_network(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """A network as the image steps of IDC and DREAM meet them, for a reselection: random or pretrained, then trained on real
    images for as many passes as a uniformly drawn step of an iteration has behind it."""
    training = _Training(setting, "reselect_network", round_number, which)
    stream = generator(setting.config.seed, "reselect_steps", round_number, which)
    for _ in range(int(torch.randint(setting.schedule.outer_loops, (1,), generator=stream))):
        training.one_pass()
    setting.freeze_statistics("reselect", round_number, which)


class _Training:
    """The network of one iteration, random or pretrained, and its training on real images."""

    def __init__(self, setting: Setting, *path: str | int) -> None:
        """Draws the network from the stream called `path` and trains it for the early epochs. Momentum begins at zero."""
        config = setting.config
        self._setting, self._path, self._passes = setting, path, itertools.count()
        if setting.inputs.pretrained is None:
            setting.draw_network(*path)
        else:
            setting.draw_pretrained(setting.inputs.pretrained, *path)
        self._optimizer = sgd(setting.network, config.network_learning_rate, config.idc.network_momentum, config.idc.network_weight_decay)
        families = without_cutout(config.augment, config.idc.cutmix)
        self._real = RealTraining(setting.pool, config.batch_train, families, config.idc.cutmix, config.seed, setting.device)
        self._waiting = self._real.endless(*path)
        for _ in range(config.idc.early_epochs):
            self._pass(None)

    def one_pass(self) -> None:
        """Over `train_samples` real images, up to the end of a mini-batch; passes go on through the epochs of the real images."""
        if self._setting.config.idc.train_samples:
            self._pass(self._setting.config.idc.train_samples)

    def _pass(self, most: int | None) -> None:
        place = (*self._path, next(self._passes))
        self._real.run(self._setting.network, self._optimizer, self._real.one_pass(self._waiting, most), *place)


distill = KernelIterations.distill
