"""Soft labels in few bytes: what comes back, how much is lost, and that a set states it."""

from __future__ import annotations

import math

import pytest
import torch

from bilp.artifacts.tensors import decode_tensors
from bilp.distill.soft_labels import CLASSES, divergence, restored, soft_labels
from bilp.seeds import generator


def teacher_logits(images: int, classes: int, spread: float = 6.0) -> torch.Tensor:
    """As those of a network that is sure of one class in most images, and torn between a few in others."""
    return spread * torch.randn(images, classes, generator=generator(3, "logits"))


def by_hand(logits: torch.Tensor, other: torch.Tensor, temperature: float) -> float:
    """The mean divergence, sum by sum."""
    total = 0.0
    for row, found in zip(logits.double().tolist(), other.double().tolist(), strict=True):
        true, told = ([math.exp(value / temperature) for value in values] for values in (row, found))
        total += sum(p / sum(true) * math.log(p / sum(true) / (q / sum(told))) for p, q in zip(true, told, strict=True))
    return total / len(logits)


def test_sixteen_bits_lose_next_to_nothing() -> None:
    """Half a unit in the last place of a logit z is |z| / 2048 at most: labels change by a part in a thousand of it at T = 20."""
    logits = teacher_logits(200, 100)
    data, facts = soft_labels(logits, None, 20.0)
    back = restored(decode_tensors(data, "here"), 100)
    assert (facts.form, facts.top_k, facts.bytes) == ("float16", None, len(data))
    assert 200 * 100 * 2 < len(data) < 200 * 100 * 2 + 200
    assert float((back - logits).abs().max()) <= float(logits.abs().max()) / 2048
    assert facts.divergence == pytest.approx(by_hand(logits, back, 20.0), abs=1e-12)
    assert facts.divergence < 1e-7
    assert facts.agreement > 0.99


@pytest.mark.parametrize(("few", "sharp", "soft"), [(1, 1.0, 0.041), (10, 0.017, 0.026), (40, 6e-5, 0.01)])
def test_the_largest_logits_lose_what_is_stated(few: int, sharp: float, soft: float) -> None:
    """At the temperature of training soft labels are nearly uniform, so that the few largest say little of them; at 1, nearly all."""
    logits = teacher_logits(200, 100)
    losses = {}
    for temperature in (1.0, 20.0):
        data, facts = soft_labels(logits, few, temperature)
        tensors = decode_tensors(data, "here")
        back = restored(tensors, 100)
        assert (facts.form, facts.top_k, facts.agreement) == ("top_k", few, 1.0)
        assert facts.bytes == len(data) < 200 * (4 * few + 2) + 300
        assert facts.divergence == pytest.approx(by_hand(logits, back, temperature), rel=1e-6)
        losses[temperature] = facts.divergence
        true, told = ((value.double() / temperature).softmax(1) for value in (logits, back))
        kept = tensors[CLASSES].long()
        assert torch.allclose(true.gather(1, kept).sum(1), told.gather(1, kept).sum(1), atol=2e-3), "the others keep their share"
    assert losses[1.0] < sharp
    assert losses[20.0] < soft


def test_more_logits_lose_less_and_all_of_them_are_form_float16() -> None:
    logits = teacher_logits(50, 10)
    lost = [soft_labels(logits, few, 20.0)[1].divergence for few in (1, 2, 3, 4)]
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] > soft_labels(logits, None, 20.0)[1].divergence
    assert soft_labels(logits, 5, 20.0) == soft_labels(logits, None, 20.0), "the same bytes or fewer"
    assert soft_labels(logits, 4, 20.0) == soft_labels(logits, 4, 20.0)


def test_logits_beyond_sixteen_bits_stay_numbers() -> None:
    logits = torch.tensor([[1e6, 0.0, -1e6]])
    data, facts = soft_labels(logits, None, 20.0)
    assert restored(decode_tensors(data, "here"), 3).isfinite().all()
    assert facts.agreement == 1.0
    assert divergence(logits, logits, 20.0) == 0.0
