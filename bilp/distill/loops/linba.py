"""The loop of LinBa (Deng & Russakovsky 2022, algorithm 1): memories get the gradient of a loss on real images, through a whole training.

For every iteration a new network; it takes some steps of SGD with momentum on mini-batches of the synthetic images, and its loss on
real images is differentiated through all of them (`bilp.matching.unrolled`) and on to memories and coefficients
(`bilp.distill.step.memory_steps`). One augmentation is drawn for an iteration, for all of these steps and for the real images (the
program's pair_aug).

The loss is the mean over classes of the mean over a class's samples: where classes have equally many, as in the program, the mean over
samples.

The program adds the norm of a mini-batch's coefficients to the loss of every step when it differentiates it, and only there
(compressor_bptt_standard.py:283). What it needs is the derivative of that loss's gradient with respect to the network's parameters, in
which the norm does not occur, so that its penalty changes nothing. Here `memories.penalty` adds the norms to the loss on real images;
the default of 0 is what the program does. It may also train on the images of some classes at a time (task_sampler_nc); here it is
always all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.causal.query_effects import Asked, effect_norms, effects_along, leave_one_out_norms, prefers_sketch, sketched_norms
from bilp.config.estimators import ESTIMATORS
from bilp.config.reselect import RESELECT_SCORES
from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.step.batch import Batch, joint_shares
from bilp.distill.step.held_out_loss import halves, held_out_gradients
from bilp.distill.step.memory_steps import Memories
from bilp.distill.step.sample_scores import Scored
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.matching import Vectors
from bilp.matching.query import weighted_loss
from bilp.seeds import generator


class QueryIterations(Iterations):
    """One image step per network."""

    def prepare(self) -> None:
        """What SGD steps; without any, memories and coefficients are drawn and the images follow."""
        self._memories = Memories(self.setting.config, self.state)

    def iteration(self, number: int) -> Iterator[Step]:
        """A new network, its training, and an image step through it."""
        setting, state, query = self.setting, self.state, self.setting.query
        query.train(state, number)
        batches = self.joint_batches(number)
        loss, adjoint = query_gradient(setting, batches)
        (gradient,) = query.training.pull([adjoint])
        self._memories.step(gradient, query.rows)
        yield self.joint_step(number, loss, gradient, batches)


def train_network(setting: Setting, state: DistillState, round_number: int, which: int) -> None:
    """A network and its training as the image steps meet them, for a reselection."""
    setting.query.train(state, "reselect", round_number, which)


def query_gradient(setting: Setting, batches: Sequence[Batch]) -> tuple[Tensor, Vectors]:
    """The loss of the trained network on real batches, a scalar, and its gradient with respect to that network's parameters; detached."""
    labels = torch.cat([setting.class_labels(batch.class_index, len(batch.ids)) for batch in batches])
    images = setting.query.real(torch.cat([batch.ids for batch in batches]))
    return weighted_loss(setting.network, images, labels, joint_shares(batches).to(setting.device))


def measure(setting: Setting, synthetic: Tensor, batches: Iterable[Batch]) -> Iterator[Scored]:
    """Causal effects on memories and coefficients, through the training that was done last: norms, or with a sign.

    A sample is left out of its own batch; the other classes are what all of their batches say together.
    """
    if RESELECT_SCORES[setting.reselect.score].signed:
        yield from _signed(setting, synthetic, batches)
        return
    batches = list(batches)
    if batches:
        norms = _norms_of(setting, batches)
        yield from (_scored(setting, batch, norms(batch)) for batch in batches)


def _signed(setting: Setting, synthetic: Tensor, batches: Iterable[Batch]) -> Iterator[Scored]:
    """Signed effects: how the loss on held-out real images would change without a sample in the next step of memories and coefficients.

    A sample is judged by the half of the candidates that it does not belong to (`bilp.distill.step.held_out_loss`).
    """
    batches, half_of, query = list(batches), halves(setting), setting.query
    if not batches:
        return
    wanted = query.memories.pull(list(held_out_gradients(setting, synthetic, half_of, *batches[0].path)))
    moved = query.push([value / torch.linalg.vector_norm(value).clamp_min(torch.finfo(value.dtype).tiny) for value in wanted])
    for batch in batches:
        along = effects_along(_asked(setting, batch), moved).cpu()
        yield _scored(setting, batch, along.gather(0, half_of[batch.ids].unsqueeze(0)).squeeze(0))


@dataclass(frozen=True)
class _Means:
    """Mean vectors of parts of a batch, as `Scored` offers them."""

    setting: Setting
    batch: Batch

    def kept(self, mask: Tensor) -> Vectors:
        return self.weighted(mask.float())

    def weighted(self, weights: Tensor) -> Vectors:
        images, labels = _shown(self.setting, self.batch)
        return weighted_loss(self.setting.network, images, labels, (weights / weights.sum()).to(images))[1]


def _scored(setting: Setting, batch: Batch, values: Tensor) -> Scored:
    means = _Means(setting, batch)
    return Scored(batch.class_index, values.float().cpu(), means.kept, means.weighted)


def _shown(setting: Setting, batch: Batch) -> tuple[Tensor, Tensor]:
    return setting.query.real(batch.ids), setting.class_labels(batch.class_index, len(batch.ids))


def _asked(setting: Setting, batch: Batch) -> Asked:
    return Asked(setting.network, *_shown(setting, batch), len(setting.classes))


def _norms_of(setting: Setting, batches: Sequence[Batch]) -> Callable[[Batch], Tensor]:
    """What measures the samples of any of the batches."""
    estimator, directions = ESTIMATORS[setting.reselect.estimator], setting.reselect.directions
    if estimator.by_definition:
        return _by_definition(setting, batches)
    samples = sum(len(batch.ids) for batch in batches)
    if estimator.sketches and (not estimator.exact_where_better or prefers_sketch(samples, directions)):
        moved = _moved(setting, batches)
        return lambda batch: sketched_norms(_asked(setting, batch), moved)
    return lambda batch: effect_norms(_asked(setting, batch), setting.query.pull)


def _by_definition(setting: Setting, batches: Sequence[Batch]) -> Callable[[Batch], Tensor]:
    means: dict[int, Vectors] = {}
    for c in dict.fromkeys(batch.class_index for batch in batches):
        ids = torch.cat([batch.ids for batch in batches if batch.class_index == c])
        means[c] = _Means(setting, Batch(c, ids, None)).kept(torch.ones(len(ids)))

    def norms(batch: Batch) -> Tensor:
        rest = [mean for c, mean in means.items() if c != batch.class_index]
        zero = tuple(torch.zeros_like(block) for block in means[batch.class_index])
        others = tuple(torch.stack(blocks).sum(dim=0) / len(setting.classes) for blocks in zip(zero, *rest, strict=True))
        return leave_one_out_norms(_asked(setting, batch), setting.query.pull, others)

    return norms


def _moved(setting: Setting, batches: Sequence[Batch]) -> list[Vectors]:
    """How the trained parameters move along normal directions of memories and coefficients."""
    stream, size = generator(setting.config.seed, "query_directions", *batches[0].path), setting.query.memories.size
    drawn = [torch.randn(size, generator=stream).to(setting.device) for _ in range(setting.reselect.directions)]
    return setting.query.push(drawn)


distill = QueryIterations.distill
