"""RDED and CA2D: one image, one crop, one forward pass at a time, resampled by PyTorch's own function."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.references.parts import Reference
from bilp.distill.loops.crops import crop_boxes, pools
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState


class CropReference(Reference):
    """What is drawn is shared with the program; the best crops are kept in lists, and images are made of them pixel by pixel."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        assert setting.inputs.teacher is not None
        self._teacher = setting.inputs.teacher.network(setting.pool.dataset, self.config.gpu, setting.device)
        self._pools = pools(self.config, setting.pool, setting.classes)
        self.best: list[dict[int, tuple[float, Tensor]]] = [{} for _ in setting.classes]

    def iteration(self, t: int) -> None:
        """See Reference."""
        settings, losses = self.config.patches, []
        for best, ids, c in zip(self.best, self._pools, self.setting.classes, strict=True):
            everything = self.setting.pool.dataset.train.by_class()[c]
            boxes = dict(zip(everything.tolist(), crop_boxes(self.setting, t, c, everything).tolist(), strict=True))
            for sample in ids.tolist():
                tile = self._tile(sample, boxes[sample])
                with torch.no_grad():
                    score = float(functional.cross_entropy(self._teacher(self._framed(tile)[None]), self.targets(c, 1)))
                if sample not in best or score < best[sample][0]:
                    best[sample] = (score, tile)
            ranked = sorted(best.values(), key=lambda kept: kept[0])[: self.config.ipc * settings.factor**2]
            losses.append(torch.tensor([score for score, _ in ranked]).mean())
            self.images[self.setting.rows(c)] = self.joined([tile for _, tile in ranked])
        self.told(losses)

    def _tile(self, sample: int, box: list[int]) -> Tensor:
        """A crop `[1, C, h, w]` of a picture, reduced to a tile."""
        top, left, height, width = box
        image = self.setting.pool.images(torch.tensor([sample]), self.setting.device)
        side = [length // self.config.patches.factor for length in self.setting.side]
        cropped = image[..., top : top + height, left : left + width]
        return functional.interpolate(cropped, side, mode="bilinear", antialias=True)

    def _framed(self, tile: Tensor) -> Tensor:
        """A tile in the middle of a picture `[C, H, W]` of zeros."""
        height, width = self.setting.side
        top, left = (height - tile.shape[-2]) // 2, (width - tile.shape[-1]) // 2
        whole = torch.zeros(tile.shape[1], height, width, device=tile.device)
        whole[:, top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile[0]
        return whole

    def joined(self, tiles: list[Tensor]) -> Tensor:
        """Pictures `[ipc, C, H, W]` of tiles from the best to the worst: all first places, then all second ones."""
        factor, (height, width) = self.config.patches.factor, self.setting.side
        whole = torch.zeros(self.config.ipc, tiles[0].shape[1], height, width, device=tiles[0].device)
        for rank, tile in enumerate(tiles):
            place, number = divmod(rank, self.config.ipc)
            top, bottom = _part(place // factor, height, factor)
            left, right = _part(place % factor, width, factor)
            whole[number, :, top:bottom, left:right] = functional.interpolate(tile, (bottom - top, right - left), mode="nearest")[0]
        return whole


def _part(place: int, length: int, factor: int) -> tuple[int, int]:
    """Where a part of a side begins and ends: the first `length % factor` ones are a pixel larger."""
    sizes = [length // factor + (number < length % factor) for number in range(factor)]
    return sum(sizes[:place]), sum(sizes[: place + 1])
