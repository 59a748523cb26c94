"""RDED (Sun et al. 2024, section 4) and CA2D: of each image of a pool the crop that the teacher recognizes best, the best as tiles.

Nothing is optimized. An iteration draws one more crop of every image of every class and keeps it where the teacher's cross-entropy is
lower than that of the crops before; a synthetic image is made of the crops that are best so far, one of an image. What is chosen lies in
the state, so that a run that is cut between two iterations goes on to the same bytes.

RDED's program (synthesize/utils.py of LINs-lab/RDED) shows crops that are smaller than an image in the middle of one of mean color, as is
done here. It chooses the pool by a global shuffle and stores JPEG; here both are named streams of the seed, and images are float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bilp.artifacts.tensors import require_tensors
from bilp.config import DistillConfig
from bilp.config.shapes import side_of
from bilp.data.pool import RealPool
from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import Setting
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.images.tiles import cut_out, draw_boxes, framed, stitch, tile_side
from bilp.progress import Progress, silent
from bilp.seeds import generator

IDS, SCORES, BOXES, LOGITS = "ids", "scores", "boxes", "logits"
"""What a state carries for these methods: of every image of the pools, class by class, its sample_id, int64 `[n]`, the cross-entropy of
its best crop, float32 `[n]`, and the box of that, int64 `[n, 4]`; and the teacher's answers to the synthetic images, float32
`[classes * ipc, classes]`, after the last iteration of a round."""
AT_ONCE = 128
"""Images that pass the teacher together."""


class CropIterations(Iterations):
    """Iterations that choose; real samples meet the teacher of the setting and nothing else."""

    def prepare(self) -> None:
        """The teacher, the pools, and what was chosen so far. Raises ConfigError without a teacher or with a pruner."""
        setting, state = self.setting, self.state
        if setting.inputs.teacher is None or self.pruner is not None:
            raise ConfigError(
                f"method {setting.config.method} asks a teacher and has no adaptive pruning: start the run with a teacher and beta = 0"
            )
        self._teacher = setting.inputs.teacher.network(setting.pool.dataset, setting.config.gpu, setting.device)
        self._everything = setting.pool.dataset.train.by_class()
        self._pools = pools(setting.config, setting.pool, setting.classes)
        self._ends = torch.tensor([len(ids) for ids in self._pools]).cumsum(0).tolist()
        if not state.method:
            count = self._ends[-1]
            state.method = {
                IDS: torch.cat(self._pools).to(setting.device),
                SCORES: torch.full((count,), torch.finfo(torch.float32).max, device=setting.device),
                BOXES: torch.zeros(count, 4, dtype=torch.int64, device=setting.device),
            }
        elif not torch.equal(state.method[IDS].cpu(), torch.cat(self._pools)):
            raise DamagedArtifact("the state of the round before is of other real samples than those of the run: start the run again")

    def advance(self, stop: int, progress: Progress = silent) -> list[Record]:
        """See Iterations; the images are put together, and their soft labels asked for, once after the last."""
        records = super().advance(stop, progress)
        self._put_together()
        return records

    def iteration(self, number: int) -> Iterator[Step]:
        """One more crop of every image; its one step is the choice of every class."""
        losses = [self._look(number, place, c) for place, c in enumerate(self.setting.classes)]
        yield Step(losses, self._ends[-1], 0.0)

    def _rows(self, place: int) -> slice:
        """Where what is carried of a class lies."""
        return slice(self._ends[place] - len(self._pools[place]), self._ends[place])

    def _look(self, number: int, place: int, c: int) -> float:
        """Draw and score a crop of each image of a class; the mean cross-entropy of the crops that make its images now."""
        carried, rows, ids = self.state.method, self._rows(place), self._pools[place]
        boxes = crop_boxes(self.setting, number, c, self._everything[c])[torch.searchsorted(self._everything[c], ids)]
        scores = torch.cat([self._scores(part, own, c) for part, own in zip(ids.split(AT_ONCE), boxes.split(AT_ONCE), strict=True)])
        if not bool(scores.isfinite().all()):
            name = self.setting.pool.dataset.class_names[c]
            raise Diverged(f"the teacher's answers to images of class {name} are not finite: train it with a lower step size")
        better = scores < carried[SCORES][rows]
        carried[SCORES][rows] = torch.where(better, scores, carried[SCORES][rows])
        carried[BOXES][rows] = torch.where(better.unsqueeze(1), boxes.to(better.device), carried[BOXES][rows])
        return float(carried[SCORES][rows][self._best(place)].double().mean())

    @torch.no_grad()
    def _scores(self, ids: Tensor, boxes: Tensor, c: int) -> Tensor:
        """The teacher's cross-entropy `[n]` of the crops."""
        logits = self._teacher(framed(self._tiles(ids, boxes), self.setting.side))
        return functional.cross_entropy(logits.float(), self.setting.class_labels(c, len(ids)), reduction="none")

    def _tiles(self, ids: Tensor, boxes: Tensor) -> Tensor:
        setting = self.setting
        side = tile_side(setting.side, setting.config.patches.factor)
        return cut_out(setting.pool.images(ids, setting.device), boxes.cpu(), side)

    def _best(self, place: int) -> Tensor:
        """Within a class, the images whose crops are chosen: the lowest cross-entropy first, of equal ones the first of the pool."""
        return self._ranked(place)[: tiles_of_class(self.setting.config)]

    def _ranked(self, place: int) -> Tensor:
        """Within a class, all images, by the cross-entropy of their best crops."""
        return self.state.method[SCORES][self._rows(place)].argsort(stable=True)

    def _put_together(self) -> None:
        """The synthetic images of the crops that are best so far, and what the teacher says of them."""
        setting, state = self.setting, self.state
        for place, c in enumerate(setting.classes):
            best, rows = self._best(place), self._rows(place)
            ids, boxes = state.method[IDS][rows][best].cpu(), state.method[BOXES][rows][best]
            tiles = torch.cat([self._tiles(part, own) for part, own in zip(ids.split(AT_ONCE), boxes.split(AT_ONCE), strict=True)])
            state.images[setting.rows(c)] = stitch(tiles, setting.config.patches.factor, setting.side)
        with torch.no_grad():
            state.method[LOGITS] = torch.cat([self._teacher(part).float() for part in state.images.split(AT_ONCE)])


def tiles_of_class(config: DistillConfig) -> int:
    """Tiles of all synthetic images of a class."""
    return config.ipc * config.patches.factor**2


def pools(config: DistillConfig, pool: RealPool, classes: Sequence[int]) -> list[Tensor]:
    """The sample_ids `[n]` of each class that are looked at: the first of a random order of all samples of the class that take part.

    So of two runs that prune differently, both look at what both keep, as far as the size of the pool lets them.
    """
    found, everything = [], pool.dataset.train.by_class()
    for c in classes:
        stream = generator(config.seed, "crop_pool", c)
        ids = everything[c][torch.randperm(len(everything[c]), generator=stream)]
        found.append(ids[torch.isin(ids, pool.by_class[c])][: config.patches.pool])
    return found


def crop_boxes(setting: Setting, iteration: int, class_index: int, everything: Tensor) -> Tensor:
    """The crops int64 `[N, 4]` of an iteration of all samples `[N]` of a class, so that none depends on which of them take part."""
    stream = generator(setting.config.seed, "crop", iteration, class_index)
    return draw_boxes(len(everything), setting.side, setting.config.patches.smallest, stream)


def require_images(pool: RealPool, config: DistillConfig) -> None:
    """Raise ConfigError if classes have too few samples for the tiles of their images, the pool is too small, or tiles have no pixel."""
    needed, factor = tiles_of_class(config), config.patches.factor
    if config.patches.pool < needed:
        raise ConfigError(
            f"ipc = {config.ipc} with {factor} x {factor} tiles takes {needed} images of a class, one for each tile, and patches.pool = "
            f"{config.patches.pool}: raise distill.patches.pool to {needed}"
        )
    pool.require(needed, f"method {config.method} with ipc = {config.ipc} and {factor} x {factor} tiles")
    if min(tile_side(side_of(pool.dataset.shape), factor)) < 1:
        raise ConfigError(f"images of {side_of(pool.dataset.shape)} pixels have no {factor} x {factor} tiles: lower distill.patches.factor")


def require_crops(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `state.method` is that of a run that chooses crops among these samples."""
    count = len(tensors[IDS]) if tensors.get(IDS, torch.tensor(0)).dim() == 1 else 0
    images = len(tensors[LOGITS]) if tensors.get(LOGITS, torch.tensor(0)).dim() == 2 else 0
    forms = {
        IDS: (torch.int64, (count,)),
        SCORES: (torch.float32, (count,)),
        BOXES: (torch.int64, (count, 4)),
        LOGITS: (torch.float32, (images, pool.classes)),
    }
    require_tensors(tensors, forms, where)
    ids, boxes, labels = tensors[IDS], tensors[BOXES], pool.dataset.train.labels
    if count and not (int(ids.min()) >= 0 and int(ids.max()) < len(labels)):
        raise DamagedArtifact(f"{where} holds crops of samples that the data set does not have: run the round again")
    present = labels[ids].unique().tolist()
    expected = sum(min(config.patches.pool, len(pool.by_class[c])) for c in present)
    if len(ids.unique()) != count or count != expected or images != len(present) * config.ipc:
        raise DamagedArtifact(f"{where} does not hold one crop of each image that is looked at: run the round again")
    height, width = side_of(pool.dataset.shape)
    if bool(((boxes[:, :2] < 0) | (boxes[:, 2:] < 1) | (boxes[:, :2] + boxes[:, 2:] > torch.tensor([height, width]))).any()):
        raise DamagedArtifact(f"{where} holds crops beyond the images: run the round again")


distill = CropIterations.distill
