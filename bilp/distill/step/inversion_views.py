"""Views of the batches of an inversion, from named streams."""

from __future__ import annotations

from bilp.distill.step.inversion_batches import InversionBatch
from bilp.distill.step.setting import Setting
from bilp.images.view import View, draw_view, smallest_crop
from bilp.seeds import generator


def view_of(setting: Setting, batch: InversionBatch, iteration: int, *path: str | int) -> View:
    """The view of a batch with the crops of an iteration, from the stream called `path` and the batch's own numbers."""
    settings = setting.config.inversion
    smallest = smallest_crop(settings.smallest, settings.curriculum, iteration, setting.config.iterations)
    return draw_view(setting.side, smallest, settings.flip, settings.roll, generator(setting.config.seed, *path, *batch.path))
