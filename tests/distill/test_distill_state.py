"""The checkpoint file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bilp.artifacts.tensors import read_tensors, write_tensors
from bilp.distill.step.state import DistillState, decode_state, decode_tensors, encode_state, encode_tensors, read_state, write_state
from bilp.errors import DamagedArtifact
from bilp.seeds import generator


def _state() -> DistillState:
    stream = generator(0, "state")
    return DistillState(
        images=torch.randn(6, 3, 4, 4, generator=stream),
        labels=torch.arange(3).repeat_interleave(2),
        momentum=torch.randn(6, 3, 4, 4, generator=stream),
        iteration=17,
        reference_loss=0.1,
        pruner={"visits": torch.arange(9, dtype=torch.int32), "last": torch.full((9,), torch.nan)},
        method={"step_size": torch.tensor(0.01)},
    )


def test_a_state_survives_its_file_bit_by_bit() -> None:
    state = _state()
    found = decode_state(encode_state(state), "here")
    for one, other in ((state.images, found.images), (state.labels, found.labels), (state.momentum, found.momentum)):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert (found.iteration, found.reference_loss) == (17, 0.1)
    assert found.pruner.keys() == state.pruner.keys()
    assert torch.equal(found.pruner["visits"], state.pruner["visits"])
    assert found.pruner["last"].isnan().all()
    assert found.method.keys() == {"step_size"}
    assert torch.equal(found.method["step_size"], state.method["step_size"])


def test_files_hold_what_the_bytes_do_and_read_the_same_in_one_and_in_two(tmp_path: Path) -> None:
    state, one, checkpoint, momentum = _state(), *(tmp_path / name for name in ("one", "checkpoint", "momentum"))
    one.write_bytes(encode_state(state))
    write_state(state, checkpoint, momentum)
    write_tensors(tmp_path / "again", read_tensors(one, "one"))
    assert (tmp_path / "again").read_bytes() == one.read_bytes(), "as the library's own bytes"
    assert read_tensors(momentum, "momentum").keys() == {"momentum"}
    found = [read_state((checkpoint, "checkpoint"), (momentum, "momentum")), read_state((one, "one"), None)]
    for path in (one, checkpoint, momentum):
        path.unlink()
    assert [encode_state(each) for each in found] == [encode_state(state)] * 2, "also after the files are gone"
    with pytest.raises(DamagedArtifact, match="again lacks the tensors .*momentum"):
        write_tensors(tmp_path / "again", {"images": state.images})
        read_state((tmp_path / "again", "again"), None)


def test_without_steps_one_file_has_it_all_and_its_momentum_is_zero(tmp_path: Path) -> None:
    state, one = _state(), tmp_path / "one"
    write_state(state, one, None)
    assert read_tensors(one, "one")["momentum"].numel() == 0
    found = read_state((one, "one"), None)
    assert torch.equal(found.images, state.images)
    assert torch.equal(found.momentum, torch.zeros_like(state.images))
    assert found.method.keys() == state.method.keys()


def test_a_start_has_no_momentum_no_pruner_and_no_reference() -> None:
    state = DistillState.start(torch.ones(2, 1, 2, 2), torch.tensor([0, 1]))
    found = decode_state(encode_state(state), "here")
    assert not found.momentum.any()
    assert found.iteration == 0
    assert math.isnan(found.reference_loss)
    assert found.pruner == {}


def test_equal_states_have_equal_bytes_whatever_the_order_of_their_tensors() -> None:
    state, other = _state(), _state()
    other.pruner = dict(reversed(list(other.pruner.items())))
    assert encode_state(state) == encode_state(other)


def test_a_copy_shares_no_memory() -> None:
    state = _state()
    copy = state.to("cpu")
    copy.images.zero_()
    copy.momentum.zero_()
    assert state.images.any()
    assert state.momentum.any()


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_named(damage) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DamagedArtifact, match="run/checkpoint"):
        decode_state(damage(encode_state(_state())), "run/checkpoint")


def test_missing_tensors_are_listed() -> None:
    data = encode_tensors({"images": torch.zeros(1), "labels": torch.zeros(1)})
    assert decode_tensors(data, "x").keys() == {"images", "labels"}
    with pytest.raises(DamagedArtifact, match="iteration, momentum, reference_loss"):
        decode_state(data, "run/checkpoint")
