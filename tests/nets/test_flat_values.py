"""A network as a row of numbers, and back."""

from __future__ import annotations

import torch

from bilp.config import NetworkConfig
from bilp.nets import build, initialize
from bilp.nets.flat_values import flattened, parts_of, values_of
from bilp.seeds import generator


def test_a_row_holds_parameters_and_running_statistics_and_gives_them_back() -> None:
    """And no counter of batches, which is no floating number; the parts are the row's own memory."""
    network = build(NetworkConfig(width=4, depth=1, norm="batch"), (1, 8, 8), 3)
    initialize(network, generator(0, "network"))
    statistics = [buffer for name, buffer in network.named_buffers() if not name.endswith("num_batches_tracked")]
    values = values_of(network)
    assert len(statistics) == 2 and len(values) == len(list(network.parameters())) + 2
    row = flattened(values)
    assert row.shape == (sum(value.numel() for value in values),) and not row.requires_grad
    parts = parts_of(row, values)
    assert all(torch.equal(part, value) for part, value in zip(parts, values, strict=True))
    row.zero_()
    assert not any(part.any() for part in parts) and any(value.any() for value in values)
