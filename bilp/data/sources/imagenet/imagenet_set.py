"""ImageNet-1K and parts of its classes, in every layout in which people have it."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.data.class_lists import class_order
from bilp.data.sources.hub_copy import is_hub_copy, read_hub_copy
from bilp.data.sources.imagenet.classic import base_of, is_folders, is_loose, is_tars, read_classic, solution
from bilp.data.sources.imagenet.downsampled import is_downsampled, read_downsampled
from bilp.data.sources.imagenet.imagenet_shards import is_shards, read_shards
from bilp.data.sources.imagenet.stems import IMAGENET1K, is_canonical, stem_of, wnid_in
from bilp.data.sources.layouts import Found, Layout, View
from bilp.data.sources.public_set import PublicSet, Published
from bilp.storage import objects


def _read_hub(view: View) -> Found:
    return read_hub_copy(view, class_order(IMAGENET1K), lambda path: (wnid_in(path), stem_of(path) if is_canonical(stem_of(path)) else ""))


LAYOUTS = (
    Layout("Parquet of the hub", "data/train-00000-of-00294.parquet, validation-*.parquet", is_hub_copy, _read_hub),
    Layout("downsampled npz", "train_data_batch_1.npz, val_data.npz", is_downsampled, read_downsampled, sizes_differ=False),
    Layout(
        "tars of ILSVRC 2012",
        "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, the devkit",
        is_tars,
        read_classic,
    ),
    Layout("Kaggle CLS-LOC", "ILSVRC/Data/CLS-LOC with train/<wnid>/, a loose val/, LOC_val_solution.csv", is_loose, read_classic),
    Layout("folders", "train/<wnid>/ and val/<wnid>/", is_folders, read_classic),
    Layout("webdataset", "imagenet1k-train-0000.tar, imagenet1k-validation-00.tar of .jpg with .cls or .json", is_shards, read_shards),
)


class ImageNet(PublicSet):
    """ImageNet-1K; or the part of its classes after which the source is named."""

    published = Published(IMAGENET1K, LAYOUTS, {"train": 1_281_167, "test": 50_000})

    def _elsewhere(self, view: View) -> Sequence[str]:
        """Kaggle's table of labels, which may lie above the directory that was given."""
        base = base_of(view)
        table = None if base is None else solution(view, base)
        return () if table is None else tuple(map(str, objects.version(table)))
