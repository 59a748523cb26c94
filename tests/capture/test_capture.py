"""What the host chooses for a step reaches it in one copy; on a CPU a captured step is the step."""

from __future__ import annotations

import threading

import pytest
import torch

from bilp.capture import Ahead, CapturedStep, Field, Inputs

CPU = torch.device("cpu")
FIELDS = {
    "ids": Field(torch.int64, (2, 3)),
    "pixels": Field(torch.uint8, (5,)),
    "nothing": Field(torch.float32, (0, 4)),
    "numbers": Field(torch.float32, (7,)),
    "one": Field(torch.float64, ()),
}


def test_a_row_fills_all_values_where_they_are() -> None:
    inputs = Inputs(FIELDS, CPU)
    places = {name: value.data_ptr() for name, value in inputs.values.items()}
    for number in (0, 1, 2):
        row = inputs.row(number)
        for name, field in FIELDS.items():
            row[name].fill_(number + 1)
            assert (row[name].shape, row[name].dtype) == (torch.Size(field.shape), field.dtype)
        assert all((value == number).all() for value in inputs.values.values()), "what is written has not been sent"
        inputs.send(number)
        assert all((value == number + 1).all() for value in inputs.values.values())
    assert {name: value.data_ptr() for name, value in inputs.values.items()} == places
    assert inputs.bytes == 4 * 256, "values begin at multiples of 256 bytes, and one that is empty takes none"


def test_the_next_row_may_be_written_before_the_last_one_is_sent() -> None:
    inputs = Inputs({"x": Field(torch.float32, (4,))}, CPU)
    inputs.row(0)["x"].fill_(1.0)
    inputs.row(1)["x"].fill_(2.0)
    inputs.send(0)
    assert inputs.values["x"].tolist() == [1.0] * 4
    inputs.send(1)
    assert inputs.values["x"].tolist() == [2.0] * 4


def test_on_a_cpu_a_step_is_called_as_it_is() -> None:
    calls: list[int] = []
    step = CapturedStep(lambda: calls.append(len(calls)), CPU)
    for _ in range(6):
        step()
    assert calls == list(range(6))


def test_what_is_announced_is_made_once_in_another_thread() -> None:
    made: list[tuple[int, str]] = []

    def make(number: int) -> int:
        made.append((number, threading.current_thread().name))
        return number * number

    with Ahead(make) as ahead:
        ahead.announce(3)
        ahead.announce(3)
        assert [ahead.take(3), ahead.take(4)] == [9, 16]
        assert ahead.take(3) == 9, "what was taken is made anew when it is asked for again"
    assert [number for number, _ in made] == [3, 4, 3]
    assert {name for _, name in made} == {made[0][1]}
    assert made[0][1] != threading.current_thread().name
    assert made[0][1] not in {thread.name for thread in threading.enumerate()}


def test_what_making_raises_is_raised_where_it_is_taken() -> None:
    with Ahead(lambda number: 1 // number) as ahead:
        ahead.announce(0)
        assert ahead.take(1) == 1
        with pytest.raises(ZeroDivisionError):
            ahead.take(0)
