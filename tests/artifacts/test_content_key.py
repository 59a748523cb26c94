from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.artifacts.artifact import content_key, plain
from bilp.config import DistillConfig, NetworkConfig
from bilp.errors import ConfigError

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below, max_size=5), max_leaves=30
)


def reordered(value: Any, order: st.DataObject) -> Any:
    """The same value with every mapping built in another order, and lists turned into tuples."""
    if isinstance(value, dict):
        items = order.draw(st.permutations(list(value.items())))
        return {key: reordered(item, order) for key, item in items}
    if isinstance(value, list):
        return tuple(reordered(item, order) for item in value)
    return value


@settings(deadline=None)
@given(parts=st.dictionaries(st.sampled_from("abcdefg"), VALUES), order=st.data())
def test_the_order_of_mappings_does_not_count(parts: dict[str, Any], order: st.DataObject) -> None:
    key = content_key("score", 1, **parts)
    assert content_key("score", 1, **reordered(parts, order)) == key
    assert len(key) == 16
    assert int(key, 16) >= 0


@settings(deadline=None)
@given(one=VALUES, other=VALUES)
def test_other_content_has_another_key(one: Any, other: Any) -> None:
    same = repr(plain(one)) == repr(plain(other)) or one == other  # 1 and 1.0 may differ: models give every setting one type
    assert same or content_key("score", 1, value=one) != content_key("score", 1, value=other)


def test_everything_that_goes_in_counts() -> None:
    keys = [
        content_key("score", 1, seed=0),
        content_key("score", 2, seed=0),
        content_key("prune", 1, seed=0),
        content_key("score", 1, seed=1),
        content_key("score", 1, seed=None),
        content_key("score", 1, seed="0"),
        content_key("score", 1, seed=0, extra=None),
        content_key("score", 1, seeds=0),
        content_key("score", 1),
    ]
    assert len(set(keys)) == len(keys)


def test_a_key_is_the_same_on_every_machine_and_in_every_version() -> None:
    # Another value here would lose every cache that users have.
    canonical = b'{"parts":{"dataset":"abc","keep":0.5,"shape":[3,32,32]},"stage":"score","version":1}'
    key = content_key("score", 1, shape=(3, 32, 32), keep=0.5, dataset="abc")
    assert key == hashlib.sha256(canonical).hexdigest()[:16] == "fad1ab9b750d2b09"


def test_models_count_by_their_values() -> None:
    config = DistillConfig(ipc=10, iterations=20, network=NetworkConfig(width=64))
    assert content_key("distill", 1, config=config) == content_key("distill", 1, config=plain(config))
    assert content_key("distill", 1, config=config) == content_key("distill", 1, config=DistillConfig(**config.model_dump(mode="json")))
    assert content_key("distill", 1, config=config) != content_key("distill", 1, config=DistillConfig(ipc=10, iterations=20))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", np.float32(1.0), np.int64(1), {1: "a"}, object()])
def test_what_json_cannot_hold_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"value\.outer\[1\]"):
        content_key("score", 1, outer=[0, value])
