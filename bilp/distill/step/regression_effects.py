"""Causal effects of methods of kernel regression: their loss is a mean of losses of single samples, so effects are exactly linear.

The loss is the mean over C classes of the mean over the n samples of the class's batch, and g_i is the gradient of a sample's own loss with
respect to synthetic images and labels. Without sample i the gradient of the whole changes by

    ITE_i = (g_i - g) / (C (n - 1)),   g = the mean of g_i over the class's batch,

no approximation and no other class is involved. Its length is over images and labels together, as both are learned.

* exact (`cotangent`, `auto`): g_i is known in closed form as far as the features (`Regression.each`), and pulled through the network.
* `sketch`: components of all g_i along random directions take one forward derivative of the features for each direction, however many
  samples there are; the root mean square of k standard normal components has the relative deviation 1 / sqrt(2 k).
* `oracle`: the definition, by autograd: the gradient anew without each sample.
* score `signed`: <ITE_i, v> along directions v of the images, likewise from a forward derivative, and exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from bilp.causal.effect_settings import BYTE_BUDGET
from bilp.config.estimators import ESTIMATORS
from bilp.config.reselect import RESELECT_SCORES
from bilp.distill.step.batch import Batch
from bilp.distill.step.held_out_loss import halves, held_out_directions
from bilp.distill.step.regressor import Regressor
from bilp.distill.step.sample_scores import Scored
from bilp.distill.step.setting import Setting
from bilp.distill.step.synthetic import image_bytes
from bilp.matching import Vectors
from bilp.matching.kernel_regression import Blocks, Regression, predictions_by_definition
from bilp.seeds import generator


@dataclass(frozen=True)
class Measured:
    """The samples of a class's batch under a regressor, and what their effects are measured on."""

    setting: Setting
    regressor: Regressor
    synthetic: Tensor
    """All synthetic images `[M, C, H, W]`."""
    solved: Regression
    batch: Batch

    @cached_property
    def images(self) -> Tensor:
        """The real samples, `[n, C, H, W]`."""
        found = self.setting.pool.images(self.batch.ids, self.setting.device)
        return found.to(self.synthetic.dtype)

    @cached_property
    def labels(self) -> Tensor:
        """Their class, int64 `[n]`."""
        return self.setting.class_labels(self.batch.class_index, len(self.batch.ids))

    @cached_property
    def features(self) -> Blocks:
        """Of the real samples."""
        return self.regressor.features(self.images)

    @cached_property
    def residuals(self) -> Tensor:
        """dl_i/dp_i `[n, classes]`."""
        return self.regressor.loss(self.solved.predictions(self.features), self.labels)[1]

    @property
    def share(self) -> float:
        """1 / (C (n - 1))."""
        return 1.0 / (len(self.setting.classes) * max(1, len(self.batch.ids) - 1))

    def along(self, directions: Blocks, labels: Tensor | None = None) -> Tensor:
        """Components of the effects along directions that lead the features as `Regressor.pushed` says, float64 `[k, n]`."""
        found = self.solved.along(self.features, self.residuals, directions, labels)
        return self.share * (found - found.mean(dim=1, keepdim=True))


Score = Callable[[Measured], Tensor]
"""From the samples of a batch to a value for each of them `[n]`."""


def measure(setting: Setting, synthetic: Tensor, batches: Iterable[Batch]) -> Iterator[Scored]:
    """Norms of causal effects, or signed effects, of the samples of every batch, under the regressor that was drawn last.

    A sample is left out of its own batch. The means of a batch are of no use to these methods, so none is given.
    """
    regressor = setting.drawn.regressor
    solved = regressor.regression(synthetic)
    signed = RESELECT_SCORES[setting.reselect.score].signed
    score: Score | None = None
    for batch in batches:
        own = Measured(setting, regressor, synthetic, solved, batch)
        if score is None:  # what all batches share is drawn by the path of the first
            score = _signed(own) if signed else _estimator(own)
        yield Scored(batch.class_index, score(own).float().cpu(), _no_mean, _no_mean)


def _no_mean(kept: Tensor) -> Vectors:
    return ()


def _estimator(first: Measured) -> Score:
    """From the samples of a batch to the norms of their effects `[n]`."""
    entry = ESTIMATORS[first.setting.reselect.estimator]
    if entry.by_definition:
        return leave_one_out_norms
    return partial(sketched_norms, *_directions(first)) if entry.sketches and not entry.exact_where_better else exact_norms


def exact_norms(of: Measured) -> Tensor:
    """|ITE_i| `[n]`, as many samples at a time as memory allows."""
    setting, rows = of.setting, torch.arange(len(of.batch.ids), device=of.labels.device)
    shown = len(of.solved.labels)
    values = 8 * 3 * sum(block.shape[1] for block in of.features)  # of the cotangents of a synthetic image
    at_once = max(1, BYTE_BUDGET.on(setting.device) // (shown * (image_bytes(setting) + values)))
    mean = of.solved.gradient(of.features, of.residuals / len(rows))
    squares = []
    for part in rows.split(at_once):
        blocks, by_label = of.solved.each(tuple(block[part] for block in of.features), of.residuals[part])
        pulled = of.regressor.pulled(of.synthetic, tuple(own - all_ for own, all_ in zip(blocks, mean[0], strict=True)))
        told = of.regressor.folded(by_label - mean[1])
        squares.append(pulled.double().flatten(1).square().sum(dim=1) + told.flatten(1).square().sum(dim=1))
    return of.share * torch.cat(squares).sqrt()


def sketched_norms(features: Blocks, labels: Tensor, of: Measured) -> Tensor:
    """Estimates of |ITE_i| `[n]` from random directions of features and labels, as `_directions` draws them."""
    return of.along(features, labels).square().mean(dim=0).sqrt()


def _directions(of: Measured) -> tuple[Blocks, Tensor]:
    """What standard normal directions of the images do to features, and those of the labels, `[k, ...]` of as many as the settings say."""
    setting, count = of.setting, of.setting.reselect.directions
    stream = generator(setting.config.seed, "regression_sketch", *of.batch.path)
    moved = torch.randn(count, *of.synthetic.shape, generator=stream).to(of.synthetic)
    told = torch.randn(count, *of.regressor.labels.shape, generator=stream).to(of.labels.device)
    return of.regressor.pushed(of.synthetic, moved), of.regressor.unfolded(told)


def leave_one_out_norms(of: Measured) -> Tensor:
    """|ITE_i| `[n]` by their definition. Slow."""
    count = len(of.batch.ids)
    everyone = torch.full((count,), 1.0 / count, dtype=torch.float64, device=of.labels.device)
    whole = _gradient(of, everyone)
    found = []
    for left_out in range(count):
        rest = torch.full_like(everyone, 1.0 / (count - 1))
        rest[left_out] = 0.0
        apart = [one - other for one, other in zip(whole, _gradient(of, rest), strict=True)]
        found.append(torch.stack([part.double().square().sum() for part in apart]).sum().sqrt())
    return torch.stack(found) / len(of.setting.classes)


def _gradient(of: Measured, shares: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient, by images and by labels, of the loss of the class with these shares of its samples, by autograd through the solve."""
    regressor, labels = of.regressor, of.regressor.labels.detach().double().requires_grad_()
    synthetic = tuple(block.detach().requires_grad_() for block in of.solved.synthetic)
    with torch.enable_grad():
        real = tuple(block.double() for block in of.features)
        predictions = predictions_by_definition(regressor.kernel, real, synthetic, regressor.unfolded(labels))
        loss = (shares * regressor.loss(predictions, of.labels)[0]).sum()
    by_label, *blocks = torch.autograd.grad(loss, (labels, *synthetic))
    return regressor.pulled(of.synthetic, tuple(block.unsqueeze(0) for block in blocks)).squeeze(0), by_label


def _signed(first: Measured) -> Score:
    """From the samples of a batch to <ITE_i, v> `[n]`, where v comes from the half of the samples that i does not belong to."""
    setting = first.setting
    half_of = halves(setting)
    directions = held_out_directions(setting, first.synthetic, half_of, *first.batch.path)
    pushed = first.regressor.pushed(first.synthetic, directions)

    def score(of: Measured) -> Tensor:
        own = half_of[of.batch.ids].unsqueeze(0)
        return of.along(pushed).cpu().gather(0, own).squeeze(0)

    return score
