"""What trained networks say of test images: the class they take each for, and whether its own class is among the k likeliest.

Several clips of one video have one answer: that of their mean probabilities, as programs for video have it (SlowFast sums softmax
outputs over the clips of a video, mmaction2's `average_clips="prob"` averages them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """What networks say of N images: `predicted` `[..., N]`, and whether the label is `within` the k likeliest classes, `[..., N]`.

    `within` is None where nobody asked, or so few classes leave no doubt.
    """

    predicted: Tensor
    within: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Self:
        """Those of all images, of the answers on one mini-batch after the other."""
        within = [each.within for each in parts if each.within is not None]
        return cls(torch.cat([each.predicted for each in parts], dim=-1), torch.cat(within, dim=-1) if within else None)

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, top_k: int | None) -> Self:
        """Those of logits `[..., B, classes]` on images with the labels `[B]`."""
        asked = top_k is not None and logits.shape[-1] > top_k
        return cls(logits.argmax(-1), within_top(logits, labels, top_k) if asked and top_k is not None else None)

    def top_k_shares(self) -> list[float]:
        """Share of the images whose label is within the k likeliest classes, of each of K networks; empty where `within` is None."""
        if self.within is None:
            return []
        return [hits / self.within.shape[-1] for hits in torch.atleast_2d(self.within).sum(-1).tolist()]


@dataclass(frozen=True)
class Windows:
    """Test samples of which several have one answer: the number `[N]` of each one's answer, and the label `[V]` of each answer."""

    number: Tensor
    labels: Tensor

    @classmethod
    def of(cls, videos: Tensor, labels: Tensor, device: str) -> Self:
        """Those of clips `[N]` by their videos and labels; clips of one video with different labels have answers of their own."""
        pairs, number = torch.unique(torch.stack([videos, labels]), dim=1, return_inverse=True)
        return cls(number.to(device), pairs[1].to(device))


class Gathering:
    """The answers to a test, gathered from one mini-batch after the other."""

    def __init__(self, labels: Tensor, windows: Windows | None, top_k: int | None) -> None:
        """Of samples with the labels `[N]`, some of which share an answer if there are `windows`."""
        self._labels, self._windows, self._top_k = labels, windows, top_k
        self._found: list[Answers] = []
        self._summed: Tensor | None = None

    def add(self, logits: Tensor, batch: Tensor) -> None:
        """The logits `[..., B, classes]` of the samples at indices `[B]`."""
        there = batch.to(self._labels.device, non_blocking=True)
        if self._windows is None:
            self._found.append(Answers.of(logits, self._labels[there], self._top_k))
            return
        said = logits.float().softmax(-1)
        if self._summed is None:
            self._summed = said.new_zeros(*said.shape[:-2], len(self._windows.labels), said.shape[-1])
        self._summed.index_add_(-2, self._windows.number[there], said)

    def answers(self) -> Answers:
        """Those of all samples, or of all videos."""
        if self._windows is None:
            return Answers.joined(self._found)
        assert self._summed is not None  # a test has samples
        return Answers.of(self._summed, self._windows.labels, self._top_k)


def within_top(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether each label `[B]` is among the k classes with the greatest logits `[..., B, classes]`: `[..., B]`.

    Of equal logits the one of the lower class comes first, so that constant logits make no label right but those of the first k
    classes, whatever the device.
    """
    places = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    own = logits.gather(-1, places)
    lower = torch.arange(logits.shape[-1], device=places.device) < places
    found: Tensor = ((logits > own) | ((logits == own) & lower)).sum(-1) < k
    return found
