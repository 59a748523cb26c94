"""A captured step is what CUDA makes of it: refused where CUDA refuses, replayed on whatever lies in its tensors, equal to the step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from launch_counts import NotCapturable
from pretend_cuda import pretend_cuda
from torch import Tensor, nn
from torch.nn import functional

from bilp.capture import CapturedStep
from bilp.capture.captured_step import WARM_UPS
from bilp.seeds import generator

CUDA = torch.device("cuda")


def capture(step: Callable[[], object]) -> CapturedStep:
    """A step that has run as often as it does before it is captured."""

    def without_result() -> None:
        step()

    captured = CapturedStep(without_result, CUDA)
    for _ in range(WARM_UPS):
        captured()
    return captured


class Training:
    """Momentum SGD of a small network on images that are chosen from outside, on one device or another."""

    def __init__(self, device: torch.device) -> None:
        self.store = torch.randn(12, 3, 8, 8, generator=generator(0, "store")).to(device)
        self.labels = (torch.arange(12) % 3).to(device)
        self.chosen = torch.zeros(4, dtype=torch.int64).to(device)
        self.loss = torch.zeros(()).to(device)
        self.network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        stream = generator(0, "parameters")
        for parameter in self.network.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=stream) * 0.1)
        self.network.to(device)
        self.velocity = [torch.zeros_like(parameter) for parameter in self.network.parameters()]

    def step(self) -> None:
        """One step on the chosen images."""
        loss = functional.cross_entropy(self.network(self.store[self.chosen]), self.labels[self.chosen])
        gradients = torch.autograd.grad(loss, list(self.network.parameters()))
        with torch.no_grad():
            self.loss.copy_(loss)
            for parameter, velocity, gradient in zip(self.network.parameters(), self.velocity, gradients, strict=True):
                velocity.mul_(0.9).add_(gradient)
                parameter.sub_(velocity, alpha=0.1)


def test_replays_train_as_calls_do() -> None:
    at_home = Training(torch.device("cpu"))
    with pretend_cuda() as counts:
        away = Training(CUDA)
        captured = CapturedStep(away.step, CUDA)
        for number in range(WARM_UPS + 4):
            rows = torch.randperm(12, generator=generator(0, "rows", number))[:4]
            at_home.chosen.copy_(rows)
            away.chosen.copy_(rows.cuda())
            at_home.step()
            counts.clear()
            captured()
            assert not counts.waits
            assert (counts.operations["graph"], counts.launches == 1) == ((1, True) if number >= WARM_UPS else (0, False))
            assert counts.kernels > 10
            assert torch.equal(away.loss.cpu(), at_home.loss)
        for one, other in zip(away.network.parameters(), at_home.network.parameters(), strict=True):
            assert torch.equal(one.detach().cpu(), other)


def test_a_capture_runs_nothing_and_leaves_rubbish_in_what_it_made() -> None:
    with pretend_cuda():
        total, made = torch.zeros(3, device="cuda"), []

        def step() -> None:
            total.add_(1.0)
            made.append(total * 2)

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        assert torch.equal(total.cpu(), torch.zeros(3))
        assert made[0].cpu().isnan().all()
        for count in (1.0, 2.0):
            graph.replay()
            assert torch.equal(total.cpu(), torch.full((3,), count))
            assert torch.equal(made[0].cpu(), torch.full((3,), 2 * count))


def test_what_python_decided_stays_as_it_was() -> None:
    """What a step reads from the host is part of the graph, so that it must come through a tensor of the device."""
    with pretend_cuda():
        total, number = torch.zeros(2, device="cuda"), [1.0]
        scalar = torch.tensor(1.0)

        def step() -> None:
            total.add_(number[0]).add_(scalar)

        captured = capture(step)
        captured()
        number[0] = 100.0
        scalar.fill_(100.0)
        captured()
        assert total.tolist() == [2.0 * (WARM_UPS + 2)] * 2


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (lambda x: float(x.sum()), "the host waits: _local_scalar_dense"),
        (lambda x: x.tolist(), "the host waits: tolist"),
        (lambda x: x.cpu(), "the host waits: copy to the CPU"),
        (lambda x: x[x > 0], "the host waits: index"),
        (lambda x: x.nonzero(), "the host waits: nonzero"),
        (lambda x: torch.tensor([1.0, 2.0], device="cuda"), "a copy to the device: torch.tensor"),
        (lambda x: x + torch.ones(3).cuda(), "a copy to the device: to the device"),
        (lambda x: x[torch.tensor([0, 1])], "a copy to the device: index"),
        (lambda x: x + torch.randn(3, device="cuda"), "draws random numbers"),
    ],
)
def test_what_cuda_does_not_capture_raises(step: Callable[[Tensor], object], why: str) -> None:
    with pretend_cuda() as counts:
        values = torch.ones(3, device="cuda")
        captured = capture(lambda: step(values))
        with pytest.raises(NotCapturable, match=why):
            captured()
        assert torch.equal(values.cpu(), torch.ones(3))
        assert counts.operations["graph"] == 0


def test_a_tensor_that_nobody_kept_is_gone() -> None:
    with pretend_cuda():
        total, held = torch.zeros(3, device="cuda"), {"given": torch.ones(3, device="cuda")}
        captured = capture(lambda: total.add_(held["given"]))
        captured()
        held["given"] = torch.ones(3, device="cuda")
        with pytest.raises(NotCapturable, match=r"tensor \[3\] that was given up"):
            captured()


def test_a_view_shares_what_it_is_a_view_of() -> None:
    with pretend_cuda():
        total = torch.zeros(2, 3, device="cuda")

        def step() -> None:
            row = total[1]
            row += torch.ones(3, device="cuda")
            total.t().narrow(0, 0, 1).mul_(2.0)

        captured = capture(step)
        captured()
        captured()
        columns = [0.0] * (WARM_UPS + 3)
        for call in range(WARM_UPS + 2):
            columns[call + 1] = 2 * (columns[call] + 1)
        assert total.tolist() == [[0.0] * 3, [columns[WARM_UPS + 2], WARM_UPS + 2.0, WARM_UPS + 2.0]]


def test_where_cuda_refuses_the_step_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("bilp.capture.captured_step.say_once", said.append)
    with pretend_cuda():
        total = torch.zeros((), device="cuda")
        refused = False

        def step() -> None:
            nonlocal refused
            if not refused and torch.tensor(WARM_UPS) == round(float(total.inner)):
                refused = True
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore about it")
            total.add_(1.0)

        captured = CapturedStep(step, CUDA)
        for _ in range(WARM_UPS + 3):
            captured()
        assert float(total) == WARM_UPS + 3
    assert len(said) == 1
    assert said[0].endswith("slower and no different: CUDA error: operation not permitted when stream is capturing")
