"""Real samples: candidates, draws, packs and chunks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_distillation import Store

from bilp.data.pool import RealPool, even_chunks, packs
from bilp.errors import ConfigError
from bilp.seeds import generator


def test_pool_without_selection_holds_every_sample_of_its_class(store: Store) -> None:
    pool = RealPool(store.dataset)
    assert len(pool) == len(store.dataset.train)
    for c, ids in enumerate(pool.by_class):
        assert (store.dataset.train.labels[ids] == c).all()


def test_pool_with_selection_holds_exactly_the_selected(store: Store) -> None:
    chosen = torch.randperm(len(store.dataset.train), generator=generator(3, "test"))[:200]
    pool = RealPool(store.dataset, chosen)
    assert torch.cat(pool.by_class).sort().values.tolist() == sorted(chosen.tolist())
    for c, ids in enumerate(pool.by_class):
        assert (store.dataset.train.labels[ids] == c).all()
        assert (ids.diff() > 0).all()


@pytest.mark.parametrize(
    ("chosen", "message"), [([0, 1, 10**6], "another data set"), ([-1, 4], "another data set"), ([4, 4, 5], "more than once")]
)
def test_pool_refuses_a_selection_that_does_not_fit(store: Store, chosen: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RealPool(store.dataset, torch.tensor(chosen))


def test_draw_is_without_replacement_and_repeatable(few: Callable[[int], RealPool]) -> None:
    pool = few(12)
    one, again, other = (pool.draw(4, 8, generator(0, "real", k)) for k in (1, 1, 2))
    assert len(set(one.tolist())) == 8
    assert set(one.tolist()) <= set(pool.by_class[4].tolist())
    assert one.tolist() == again.tolist() != other.tolist()


def test_draw_takes_all_of_a_class_that_is_smaller_than_the_batch(few: Callable[[int], RealPool]) -> None:
    pool = few(3)
    assert sorted(pool.draw(2, 256, generator(0, "real")).tolist()) == pool.by_class[2].tolist()


def test_draw_among_others_ignores_the_class_candidates(few: Callable[[int], RealPool]) -> None:
    pool = few(12)
    among = pool.by_class[5][:4]
    assert set(pool.draw(5, 3, generator(0, "real"), among=among).tolist()) <= set(among.tolist())


def test_require_names_the_classes_that_are_too_small(store: Store) -> None:
    ids = torch.cat([found[: 1 if c == 7 else 5] for c, found in enumerate(store.dataset.train.by_class())])
    pool = RealPool(store.dataset, ids)
    pool.require(1, "anything")
    with pytest.raises(ConfigError, match=rf"ipc = 3 needs 3 .*: {store.dataset.class_names[7]} \(1\);"):
        pool.require(3, "ipc = 3")


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 25))
def test_packs_cover_every_item_once_in_order_and_are_full(sizes: list[int], limit: int) -> None:
    found = packs(sizes, limit)
    items = [(group, item) for pack in found for group, start, stop in pack for item in range(start, stop)]
    assert items == [(group, item) for group, size in enumerate(sizes) for item in range(size)]
    lengths = [sum(stop - start for _, start, stop in pack) for pack in found]
    assert all(length == limit for length in lengths[:-1])
    assert all(0 < length <= limit for length in lengths[-1:])


@given(st.integers(2, 300), st.integers(2, 64))
def test_even_chunks_leave_no_sample_alone(count: int, size: int) -> None:
    chunks = even_chunks(torch.arange(count), size)
    assert torch.cat(chunks).tolist() == list(range(count))
    lengths = [len(chunk) for chunk in chunks]
    assert min(lengths) >= 2
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= max(size, 3)
