"""The same iterations twice give the same bytes, on the CPU and, where there is one, on a GPU in every precision that is offered."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from benchmarks.gpu.iterations import SHORT, config_for, images_of
from bilp.config.arithmetics import ARITHMETICS, FLOAT32
from bilp.config.methods import optimizing

pytestmark = pytest.mark.slow

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
WHERE = [("cpu", FLOAT32), *(pytest.param("cuda", kind, marks=needs_gpu) for kind in ARITHMETICS.choosable())]


@pytest.mark.parametrize("method", optimizing())
@pytest.mark.parametrize(("device", "kind"), WHERE)
def test_twice_the_same(method: str, device: str, kind: str) -> None:
    config = config_for(method, 2, 8, 16, {**SHORT.get(method, {}), "gpu": kind})
    before, *first = (images.cpu().clone() for images in islice(images_of(config, torch.device(device)), 3))
    *_, again = islice(images_of(config, torch.device(device)), 3)
    assert torch.equal(first[-1], again.cpu())
    assert not torch.equal(first[-1], before), "something was learned"
