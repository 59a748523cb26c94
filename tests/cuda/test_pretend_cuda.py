"""The pretended device keeps CUDA's rules, computes what the CPU computes, and tells what would wait, copy and launch."""

from __future__ import annotations

import pytest
import torch
from pretend_cuda import DeviceMismatch, pretend_cuda
from torch.func import grad, vmap
from torch.nn import functional

from bilp.nets.arithmetic import arithmetic


def test_a_tensor_on_it_says_so_and_results_are_those_of_the_cpu() -> None:
    x, w = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)
    with pretend_cuda() as counts:
        up, kernel = x.to("cuda"), w.cuda().requires_grad_()
        assert (up.device.type, up.is_cuda, up.is_cpu) == ("cuda", True, False)
        loss = functional.conv2d(up, kernel).relu().square().sum()
        (found,) = torch.autograd.grad(loss, kernel)
        assert found.device.type == "cuda"
        assert counts.operations["convolution"] == 1
        assert counts.copied_bytes == 4 * (x.numel() + w.numel())
        assert not counts.waits
        down = found.cpu()
        assert sum(counts.waits.values()) == 1
    at_home = w.clone().requires_grad_()
    (expected,) = torch.autograd.grad(functional.conv2d(x, at_home).relu().square().sum(), at_home)
    assert torch.equal(down, expected)


def test_tensors_of_two_devices_do_not_meet() -> None:
    with pretend_cuda():
        up = torch.ones(3, device="cuda")
        with pytest.raises(DeviceMismatch, match="add of"):
            up + torch.ones(3)
        assert torch.equal((up + torch.tensor(2.0)).cpu(), torch.full((3,), 3.0)), "a number may lie on the CPU, as on CUDA"


def test_what_waits_is_counted() -> None:
    with pretend_cuda() as counts:
        up = torch.arange(4.0, device="cuda")
        counts.clear()
        assert float(up.sum()) == 6.0
        assert up[up > 1].shape == (2,)
        assert up.tolist() == [0.0, 1.0, 2.0, 3.0]
        assert sum(counts.waits.values()) == 3
        counts.clear()
        up[torch.tensor([1, 2])]
        assert (sum(counts.waits.values()), sum(counts.copies.values())) == (0, 1)
        up.masked_fill_(up > 1, 0.0)
        assert not counts.waits, "one value for all needs no number of elements"
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            up.numpy()


def test_under_torch_func() -> None:
    x = torch.randn(5, 3)
    with pretend_cuda():

        def loss(row: torch.Tensor) -> torch.Tensor:
            assert row.device.type == "cuda"
            return row.sin().sum()

        found = vmap(grad(loss))(x.cuda())
        assert torch.equal(found.cpu(), x.cos())


def sampled_at(points: torch.Tensor) -> torch.Tensor:
    """The gradient of an image `[1, 1, 4, 4]` that is resampled at points `[1, 2, 2, 2]`."""
    image = torch.ones(1, 1, 4, 4, device="cuda", requires_grad=True)
    return torch.autograd.grad(functional.grid_sample(image, points, align_corners=False).sum(), image)[0]


def test_what_has_no_deterministic_form_is_refused_where_one_is_asked_for_and_else_counted() -> None:
    with pretend_cuda() as counts:
        points = torch.zeros(1, 2, 2, 2, device="cuda")
        sampled_at(points)
        assert [name.split()[0] for name in counts.unordered] == ["grid_sampler_2d_backward"]
        with arithmetic("float32", "cuda"), pytest.raises(RuntimeError, match="grid_sampler_2d_backward does not have a deterministic"):
            sampled_at(points)
        values = torch.zeros(3, device="cuda")
        with arithmetic("float32", "cuda"), pytest.raises(RuntimeError, match="median does not"):
            values.median(0)
        assert values.median() == 0.0, "which of equal values it is matters only where its place is told"


def test_a_product_outside_of_an_arithmetic_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend_cuda() as counts:
        rows = torch.ones(3, 3, device="cuda")
        with arithmetic("float32", "cuda"):
            rows @ rows
            rows.index_add(0, torch.tensor([0, 0], device="cuda"), rows[:2])
            monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
            with pytest.raises(RuntimeError, match="mm is not deterministic because it uses cuBLAS"):
                rows @ rows
        assert not counts.unordered
        rows @ rows
        rows.index_add(0, torch.tensor([0, 0], device="cuda"), rows[:2])
        assert [name.split()[0] for name in counts.unordered] == ["mm", "index_add"]
