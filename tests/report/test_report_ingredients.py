"""What the page shows of sets that are stored as something smaller than their images, and of labels that were learned."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from small_pipeline import NETWORK, run_pipeline, small_config

from bilp.images.factors import Factors, one
from bilp.images.hallucinations import BASES, HALLUCINATIONS
from bilp.images.memories import COEFFICIENTS, MEMORIES, MEMORY_SUMS, SHOWN
from bilp.report.galleries import picture
from bilp.report.ingredients import Ingredients, ingredient_rows, levels
from bilp.report.label_rows import MeanLabels, label_rows
from bilp.storage.objects import read

NAMES = ("zero", "one")


def memories(count: int) -> dict[str, torch.Tensor]:
    """Memories whose norms differ, and coefficients of four images."""
    drawn = torch.Generator().manual_seed(3)
    sizes = torch.arange(1.0, count + 1).view(-1, 1, 1, 1)
    return {
        MEMORIES: torch.randn(count, 1, 4, 4, generator=drawn) * sizes,
        COEFFICIENTS: torch.randn(4, count, generator=drawn),
    }


def test_memories_that_are_shown_first_change_the_image_most() -> None:
    factors = memories(9)
    whole = MEMORY_SUMS.rendered(factors, (1, 4, 4))[2]
    change = []
    for k in range(9):
        kept = factors[COEFFICIENTS].clone()
        kept[2, k] = 0.0
        change.append(float((MEMORY_SUMS.rendered({**factors, COEFFICIENTS: kept}, (1, 4, 4))[2] - whole).norm()))
    expected = np.argsort(-np.array(change), kind="stable")[:SHOWN]
    found = MEMORY_SUMS.ingredients(factors, 2)
    assert [part.words.partition(" of")[0] for part in found] == [f"memory {k + 1}" for k in expected]
    first = int(expected[0])
    assert torch.equal(found[0].values, factors[MEMORIES][first] * factors[COEFFICIENTS][2, first])
    assert found[0].words == f"memory {first + 1} of 9, times {float(factors[COEFFICIENTS][2, first]):.3g}"


def test_few_memories_add_up_to_the_image() -> None:
    factors = memories(3)
    made = torch.stack([part.values for part in MEMORY_SUMS.ingredients(factors, 1)]).sum(0)
    assert torch.allclose(made, MEMORY_SUMS.rendered(factors, (1, 4, 4))[1], atol=1e-5)


def test_images_of_one_base_have_that_base() -> None:
    count, bases = 3, torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    kernel = torch.zeros(count, 1, 1, 1, 1) + 2.0
    scale = torch.ones(count, 1, 5, 5)
    factors = {
        BASES: bases,
        "encoder": kernel,
        "encoder_bias": torch.zeros(count, 1),
        "inner_scale": scale,
        "inner_shift": torch.zeros(count, 1, 5, 5),
        "decoder": kernel,
        "decoder_bias": torch.zeros(count, 1),
    }
    images = HALLUCINATIONS.rendered(factors, (1, 5, 5))
    assert HALLUCINATIONS.together(factors) == count
    for number in range(len(images)):
        (base,) = HALLUCINATIONS.ingredients(factors, number)
        assert torch.allclose(images[number], 4 * base.values)
    assert HALLUCINATIONS.ingredients(factors, 5)[0].words == "base 2 of 4"


def test_factors_of_which_no_ingredients_are_known_have_none() -> None:
    factors = Factors((), lambda tensors, shape: torch.zeros(0, *shape), lambda tensors, images: True)
    assert not factors.ingredients({}, 0)
    assert factors.together({}) == one({}) == 1


def test_ingredients_are_shown_over_their_whole_range() -> None:
    values = torch.tensor([[[-3.0, -1.0], [0.0, 1.0]]])
    assert levels(values).flatten().tolist() == [0, 128, 191, 255]
    assert levels(torch.full((1, 2, 2), 7.0)).flatten().tolist() == [0] * 4


def test_a_row_has_the_images_that_are_made_of_the_same() -> None:
    images = np.arange(8, dtype=np.uint8).repeat(4).reshape(8, 1, 2, 2) * 30
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    base = picture(images[0], "base 1 of 4")
    rows = ingredient_rows(Ingredients("Their base", "", 2, {1: (base,)}), images, labels, NAMES)
    assert [row.name for row in rows] == ["one"]
    made, parts = rows[0].cells
    assert [shown.alt for shown in made.pictures] == ["synthetic image 1 of class one", "synthetic image 2 of class one"]
    assert [_pixel(shown.uri) for shown in made.pictures] == [120, 150]
    assert (made.heading, parts.heading, parts.pictures) == ("First images", "Their base", (base,))
    assert ingredient_rows(None, images, labels, NAMES) == ()


def _pixel(uri: str) -> int:
    plane = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return int(np.asarray(plane)[0, 0])


def test_values_of_labels_have_signs_and_shares_are_per_cent() -> None:
    values = np.array([[0.75, -0.25], [-0.5, 0.5]])
    told = [(row.name, row.own, row.others) for row in label_rows(MeanLabels(values, shares=False), NAMES, [0, 1])]
    assert told == [("zero", "0.750", "one: −0.250"), ("one", "0.500", "zero: −0.500")]
    (row,) = label_rows(MeanLabels(np.array([[0.75, 0.25], [0.5, 0.5]]), shares=True), NAMES, [0])
    assert (row.own, row.others) == ("75\N{NO-BREAK SPACE}%", "one: 25\N{NO-BREAK SPACE}%")
    assert label_rows(None, NAMES, [0]) == ()


def page_of(method: str, own: dict[str, Any], root: Path) -> str:
    """The page of two iterations of a method, with one distillation of all real images."""
    distill = {"iterations": 2, "rounds": 1, "batch_real": 8, "network": NETWORK, **own}
    evaluate = {"networks": [NETWORK], "seeds": 2, "epochs": 1, "baselines": []}
    config = small_config(method=method, arms=["unpruned"], ipc=2, distill=distill, evaluate=evaluate)
    return read(run_pipeline(config, str(root)).page()).decode()


def test_a_page_shows_the_memories_of_the_first_image_of_each_class(tmp_path: Path) -> None:
    page = page_of("linba", {"memories": {"count": 6, "steps": 2, "per_class": 2}}, tmp_path)
    section = page.partition("What they are stored as (Unpruned)")[2].partition("</table>")[0]
    assert "Every image is a sum of memories that all classes share" in section
    assert len(re.findall(r'alt="synthetic image 1 of class \d"', section)) == 10
    assert len(re.findall(r'alt="memory \d of 6, times -?[\d.e-]+"', section)) == 10 * SHOWN
    assert "What their labels say" not in page
    course = page.partition("How they came about (Unpruned)")[2].partition("</table>")[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', course) == ["after 2 iterations"], (
        "what memories begin as makes other images than noise"
    )


def test_a_page_tells_values_that_were_learned_as_labels(tmp_path: Path) -> None:
    page = page_of("frepo", {"regression": {"networks": 1, "mirrored": False}}, tmp_path)
    section = page.partition("What their labels say (Unpruned)")[2].partition("</section>")[0]
    assert "They are no probabilities" in section
    assert len(re.findall(r'data-label="The class itself">0\.\d{3}<', section)) == 10
    assert "What they are stored as" not in page
