"""The real samples a run may look at, class by class, and how batches are drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bilp.data import Dataset
from bilp.errors import ConfigError


class RealPool:
    """Candidates of every class after static pruning, with the images behind them.

    `by_class[c]` are the sample_ids of class c, int64, ascending. Drawing is uniform without replacement and needs
    nothing but a generator, so that a resumed run draws the same batches.
    """

    def __init__(self, dataset: Dataset, selected: Tensor | None = None) -> None:
        """All of `dataset.train`, or only the sample_ids in `selected` (int64, any order).

        Raises ConfigError if `selected` names a sample twice or one that the train split does not have.
        """
        self.dataset = dataset
        self.by_class: tuple[Tensor, ...] = tuple(dataset.train.by_class())
        if selected is not None:
            kept = _membership(selected, len(dataset.train))
            self.by_class = tuple(ids[kept[ids]] for ids in self.by_class)

    def __len__(self) -> int:
        return sum(len(ids) for ids in self.by_class)

    @property
    def classes(self) -> int:
        """Number of classes, empty ones included."""
        return len(self.by_class)

    def require(self, count: int, why: str, left: Callable[[int], int] | None = None) -> None:
        """Raise ConfigError naming every class that has fewer than `count` samples, of which `left` leaves so many."""
        sizes = [len(ids) if left is None else left(len(ids)) for ids in self.by_class]
        short = [f"{self.dataset.class_names[c]} ({size})" for c, size in enumerate(sizes) if size < count]
        if short:
            shown = ", ".join(short[:10]) + (f" and {len(short) - 10} more" if len(short) > 10 else "")
            raise ConfigError(
                f"{why} needs {count} real samples in every class, but these have fewer: {shown}; keep more samples or lower the need"
            )

    def draw(self, class_index: int, count: int, stream: torch.Generator, among: Tensor | None = None) -> Tensor:
        """`[count]` sample_ids of a class without replacement, in random order; all of them if there are fewer.

        `among` [n] replaces the class's own candidates (the adaptive pruner's remaining ones).
        """
        ids = self.by_class[class_index] if among is None else among
        return ids[torch.randperm(len(ids), generator=stream)[:count]]

    def keep_on(self, device: torch.device | str, classes: range | None = None) -> None:
        """Let a device keep the pixels of the train split, if it may: batches then cost no copy of images.

        With `classes`, which are some of those of the pool, it keeps their candidates alone; so it does where the whole split is too much.
        """
        own = torch.cat([self.by_class[c] for c in classes or range(self.classes)])
        if (classes is not None and len(classes) < self.classes) or not self.dataset.train.keep_on(device):
            self.dataset.train.keep_on(device, own)

    def images(self, ids: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Normalized float32 images `[n, C, H, W]` of these sample_ids, in their order."""
        return self.dataset.train.batch(ids, device=device)


def _membership(selected: Tensor, samples: int) -> Tensor:
    """Boolean mask `[samples]` of the selected ids."""
    if len(selected) and (int(selected.min()) < 0 or int(selected.max()) >= samples):
        raise ConfigError(
            f"the selection names sample_ids {int(selected.min())} to {int(selected.max())}, but the train split has 0 to {samples - 1}: "
            "it was made for another data set"
        )
    mask = torch.zeros(samples, dtype=torch.bool)
    mask[selected] = True
    if int(mask.sum()) != len(selected):
        raise ConfigError(f"the selection names {len(selected) - int(mask.sum())} sample(s) more than once: make it again with prune")
    return mask


def packs(sizes: Sequence[int], limit: int) -> list[list[tuple[int, int, int]]]:
    """Cut groups of the given sizes into packs of at most `limit` items, in order.

    A pack is a list of pieces (group, start, stop); small groups share a pack, a large one spans several. The cut
    depends on the sizes alone, so that sums over packs come out the same on every machine.
    """
    result: list[list[tuple[int, int, int]]] = []
    room = 0
    for group, size in enumerate(sizes):
        start = 0
        while start < size:
            if room == 0:
                result.append([])
                room = limit
            stop = min(size, start + room)
            result[-1].append((group, start, stop))
            room -= stop - start
            start = stop
    return result


def even_chunks(ids: Tensor, size: int) -> tuple[Tensor, ...]:
    """Consecutive chunks of `ids` [n], of nearly equal length, about `size` each and never a single sample alone.

    The effect of leaving a sample out needs at least one other, and scales with 1 / (chunk - 1): equal chunks keep the
    scores of one class comparable.
    """
    count = max(1, min(-(-len(ids) // size), len(ids) // 2))
    return tuple(torch.tensor_split(ids, count))
