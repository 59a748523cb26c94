"""The registry of data sources: what the settings, the rules and the page know of each, and what opens it.

A further source is one entry here, or one of an installed package under the entry points `bilp.sources`, and one class that is
made from an IngestConfig and has the members of `bilp.data.contents.Source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bilp.config.network import CONVNET3D
from bilp.config.set_counts import SetCounts
from bilp.config.set_rules import AT_64, AT_128, AT_224, CLIPS_AT_64, CLIPS_AT_112, SetRules
from bilp.config.shapes import Shape, channels_of
from bilp.registry import Registry


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel, in units of the pixel range [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class KnownSet:
    """A published data set, which its name, the shape of a sample and number of classes (None: any) make known, and its constants."""

    shape: Shape | None
    classes: int | None
    constants: Normalization

    def constants_of(self, shape: Shape, classes: int) -> Normalization | None:
        """The published constants if the data have the shape and the number of classes of this set, where it says so, else None.

        Without a shape, the number of channels must be that of the constants.
        """
        of_shape = self.shape == shape if self.shape is not None else len(self.constants.mean) == channels_of(shape)
        return self.constants if of_shape and self.classes in (None, classes) else None


@dataclass(frozen=True)
class IdcFacts:
    """What the program of IDC (Kim et al. 2022) sets for a data set, and DREAM's after it."""

    metric: Literal["mse", "l1"]
    rate: float
    """Step size on pixels at ipc 10 and side `base`; it grows with ipc and with the number of pixels."""
    train_samples: int
    side: int
    base: int
    mixes_parts: bool = True
    """Whether CutMix and cutout are used on images made of parts; of a stroke they would leave nothing."""
    cutout_of_one: bool = False
    """Whether cutout is used in place of CutMix where a class is one whole image."""


@dataclass(frozen=True)
class SourceEntry:
    """What is known of a data source before it is opened."""

    name: str
    title: str
    """What the page calls its data; of data of the user's own, the kind of place that they lie in."""
    opener: str
    """"module:name" of what makes a `bilp.data.contents.Source` of an IngestConfig; imported when it is used."""
    layout: str = ""
    """"module:name" of what tells, of an IngestConfig, in which of several forms the data lie there, without reading them."""
    needs_uri: bool = False
    """Whether ingest.uri must say where the data lie."""
    reads: frozenset[str] = frozenset()
    """Settings of ingestion that are refused unless a source reads them: of uri, train, test, classes, config, image_column and
    label_column."""
    suffix: str = ""
    """How the names of its files end, where that alone tells them from images."""
    from_python: str = ""
    """The call that hands its data over, where no command can and no form offers it."""
    media: Literal["image", "video"] = "image"
    """What a sample is: a picture [C, H, W], or a clip [T, C, H, W], for which rules choose networks that take clips."""
    network: str = ""
    """The network of the papers on these clips; the ConvNet on each frame unless it is given."""
    counterpart: str = ""
    """The source that reads the same layout with samples of the other kind: clips in place of pictures, or pictures in place of clips."""
    any_data: bool = False
    """Data of the user's own, which may be a copy of any set: rules know nothing of them, and a recipe for any set may meet them."""
    known: KnownSet | None = None
    constants: Normalization | None = None
    """Published constants that hold for a set of any resolution and any part of its classes."""
    mirroring_changes_meaning: bool = False
    """Whether a mirrored image may be one of another class, so that flip is left out (Zhao & Bilen 2021, section 4)."""
    small: bool = False
    """Whether images are so few and small that a narrow network and short schedules teach them: every rule then shortens its own.

    No paper has such numbers. Those of the rules are this project's, for the digits (1,438 training images of 8x8) on two cores. For
    other small data they are a start: raise evaluate.full_epochs until the accuracy of baseline full does not grow any more, then
    distill.iterations until the set does not get better, which `bilp sweep` tries side by side.
    """
    per_class: int | None = None
    """Training images of a class, on average."""
    keep: float | None = None
    """Share of each class that static pruning keeps where the usual half is too little."""
    orientation: Literal["apply", "ignore"] = "apply"
    """Whether EXIF orientation is applied: of public sets whose pixels are upright as distributed, tags that say otherwise are ignored."""
    dc_operations: bool = False
    """Whether DC's program augments images of this set for evaluation even where it distills without augmentation (get_daparam)."""
    counts: SetCounts | None = None
    """How large the usual copy is."""
    usual: SetRules | None = None
    """What papers share about the set."""
    soft_batch: int = 1
    """How many times the usual mini-batch of the protocol with soft labels is."""
    idc: IdcFacts | None = None
    ncfm_epochs: Mapping[int, int] = field(default_factory=dict)
    """Epochs of the tests of NCFM's program by images per class, where they are not 2000."""
    selmatch_epochs: Mapping[int, int] = field(default_factory=dict)
    """Epochs of the scripts of SelMatch's program by images per class; 1000 of other sizes."""
    ccfs_epochs: Mapping[int, int] = field(default_factory=dict)
    """Epochs of the scripts of CCFS's program by images per class; 500 of other sizes."""
    ccfs_batch: int | None = None
    """Mini-batch of these scripts, where it does not grow with the set."""
    ingest: Mapping[str, Any] = field(default_factory=dict)
    """Settings of ingestion that its papers share, and that rules therefore set."""

    @property
    def noun(self) -> str:
        """What a sample is called: image or clip."""
        return "clip" if self.media == "video" else "image"

    @property
    def video_files(self) -> bool:
        """Whether its samples are clips that are decoded here, of which it says how many frames are taken."""
        return "frames" in self.reads

    def __post_init__(self) -> None:
        """Raises ValueError for an entry whose source could never be configured."""
        if self.needs_uri and "uri" not in self.reads:
            raise ValueError(f"source {self.name} needs uri, so that reads must name it")


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

DEFAULT_SOURCE = "digits"
UNKNOWN_DATA = "folder"
"""A source of whose data no rule knows anything."""

_CLIPS = frozenset(("uri", "classes", "frames", "sampling", "fps", "stride", "pre_crop", "clips"))

# Everybody's copy of a set of clips lacks some and has damaged ones.
_INCOMPLETE = {"on_corrupt": "skip", "most_corrupt": 0.05}
# As in the programs of Wang et al. 2024: 8 frames stretched to 64 x 64, or 16 frames of 160 x 120 from which 112 x 112 are cut.
_STRETCHED = {"frames": 8, "resolution": 64, "fit": "stretch", **_INCOMPLETE}
_WINDOWS = {"frames": 16, "sampling": "window", "stride": 4, "resolution": 112, "pre_crop": "160x120", **_INCOMPLETE}


def _clips(
    name: str, title: str, opener: str, counts: SetCounts, usual: SetRules, settings: Mapping[str, Any], more: tuple[str, ...] = ()
) -> SourceEntry:
    """A public set of clips, which the papers teach to a network with convolutions in time."""
    return SourceEntry(
        name,
        title,
        f"bilp.data.sources.video.{opener}",
        needs_uri=True,
        reads=_CLIPS | set(more),
        media="video",
        network=CONVNET3D,
        per_class=counts.train // counts.classes,
        counts=counts,
        ingest=settings,
        usual=usual,
    )


_KINETICS, _SSV2 = SetCounts(240258, 19881, 400), SetCounts(168913, 24777, 174)
"""Of Kinetics-400 what exists in the usual copy, of 246,534 and 19,906 clips that are listed."""

CLIP_SETS = (
    _clips("kinetics400", "Kinetics-400", "kinetics:Kinetics", _KINETICS, CLIPS_AT_64, {**_STRETCHED, "sampling": "middle"}),
    _clips("ucf101", "UCF101", "ucf:Ucf", SetCounts(9537, 3783, 101), CLIPS_AT_112, _WINDOWS, ("split",)),
    _clips("miniucf", "miniUCF", "ucf:Ucf", SetCounts(4662, 1861, 50), CLIPS_AT_112, _WINDOWS, ("split",)),
    _clips("hmdb51", "HMDB51", "hmdb:Hmdb", SetCounts(3570, 1530, 51), CLIPS_AT_112, _WINDOWS, ("split", "unused")),
    replace(
        _clips("ssv2", "Something-Something V2", "ssv2:SomethingSomething", _SSV2, CLIPS_AT_64, _STRETCHED),
        mirroring_changes_meaning=True,
    ),
    SourceEntry(
        "video_folder",
        "Folder of clips",
        "bilp.data.sources.video.class_folders:VideoFolder",
        needs_uri=True,
        reads=_CLIPS | {"train", "test"},
        media="video",
        counterpart="folder",
        any_data=True,
        ingest=_INCOMPLETE,
    ),
    SourceEntry(
        "video_webdataset",
        "Webdataset of clips",
        "bilp.data.sources.video.clip_shards:ClipShards",
        needs_uri=True,
        reads=_CLIPS,
        media="video",
        counterpart="webdataset",
        any_data=True,
        ingest=_INCOMPLETE,
    ),
)

_TORCHVISION = "bilp.data.sources.torchvision:TorchvisionSet"
_FILES = frozenset(("uri", "train", "test", "classes"))
_LAYOUT = "bilp.data.sources.public_set:layout_of"
_CHOSEN = frozenset(("uri", "classes"))


def _imagenet(name: str, title: str, usual: SetRules, classes: int = 10, counts: SetCounts | None = None) -> SourceEntry:
    """ImageNet-1K, or a part of its classes. Its tags of orientation are wrong: the pixels are upright as they are distributed."""
    counts = counts or SetCounts(1300 * classes, 50 * classes, classes)
    return SourceEntry(
        name,
        title,
        "bilp.data.sources.imagenet.imagenet_set:ImageNet",
        layout=_LAYOUT,
        needs_uri=True,
        reads=_CHOSEN,
        per_class=counts.train // counts.classes,
        constants=IMAGENET,
        usual=usual,
        counts=counts,
        orientation="ignore",
    )


# Constants are those of the reference program of DC, DSA and DM (Zhao & Bilen).
OWN = (
    # scikit-learn's 1,797 images of 8x8. Few and similar images have less to spare than a half; the paper, too, finds little to
    # prune in low-diversity data such as MNIST.
    SourceEntry("digits", "Digits", "bilp.data.sources.digits:Digits", mirroring_changes_meaning=True, small=True, per_class=143, keep=0.8),
    SourceEntry(
        "mnist",
        "MNIST",
        _TORCHVISION,
        counts=SetCounts(60000, 10000, 10),
        per_class=6000,
        known=KnownSet((1, 28, 28), 10, Normalization((0.1307,), (0.3081,))),
        mirroring_changes_meaning=True,
        dc_operations=True,
        idc=IdcFacts("l1", 1e-4, 500, 28, 28, mixes_parts=False),
    ),
    SourceEntry(
        "fashion_mnist",
        "Fashion-MNIST",
        _TORCHVISION,
        counts=SetCounts(60000, 10000, 10),
        per_class=6000,
        known=KnownSet((1, 28, 28), 10, Normalization((0.2861,), (0.3530,))),
        idc=IdcFacts("l1", 1e-4, 500, 28, 32),  # of side 28, but scaled as if 32 were its own
    ),
    SourceEntry(
        "svhn",
        "SVHN",
        _TORCHVISION,
        counts=SetCounts(73257, 26032, 10),
        per_class=7325,
        known=KnownSet((3, 32, 32), 10, Normalization((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))),
        mirroring_changes_meaning=True,
        idc=IdcFacts("mse", 5e-3, 500, 32, 32, cutout_of_one=True),
    ),
    SourceEntry(
        "cifar10",
        "CIFAR-10",
        _TORCHVISION,
        counts=SetCounts(50000, 10000, 10),
        per_class=5000,
        known=KnownSet((3, 32, 32), 10, Normalization((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))),
        idc=IdcFacts("mse", 5e-3, 2000, 32, 32),
        selmatch_epochs={250: 1000, 500: 500, 1000: 250, 1500: 167},
        ccfs_epochs={250: 500, 500: 500, 1000: 250, 1500: 200},
    ),
    SourceEntry(
        "cifar100",
        "CIFAR-100",
        _TORCHVISION,
        counts=SetCounts(50000, 10000, 100),
        per_class=500,
        known=KnownSet((3, 32, 32), 100, Normalization((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762))),
        soft_batch=2,
        idc=IdcFacts("mse", 5e-3, 2000, 32, 32),
        selmatch_epochs={25: 1000, 50: 500, 100: 250, 150: 167},
        ccfs_epochs={25: 500, 50: 500, 100: 250, 150: 200},
    ),
    _imagenet("imagenet1k", "ImageNet-1K", AT_64, counts=SetCounts(1281167, 50000, 1000)),
    _imagenet("imagenette", "ImageNette", AT_128),
    _imagenet("imagewoof", "ImageWoof", AT_128),
    _imagenet("imagefruit", "ImageFruit", AT_128),
    _imagenet("imageyellow", "ImageYellow", AT_128),
    _imagenet("imagemeow", "ImageMeow", AT_128),
    _imagenet("imagesquawk", "ImageSquawk", AT_128),
    _imagenet("imagenet10", "ImageNet-10", AT_224),
    _imagenet("imagenet100", "ImageNet-100", AT_224, 100),
    SourceEntry(
        "tiny_imagenet",
        "TinyImageNet",
        "bilp.data.sources.tiny_imagenet:TinyImageNet",
        layout=_LAYOUT,
        needs_uri=True,
        reads=_CHOSEN,
        per_class=500,
        counts=SetCounts(100000, 10000, 200),
        constants=IMAGENET,
        usual=AT_64,
        orientation="ignore",
        ncfm_epochs={10: 300, 50: 40},
        selmatch_epochs={50: 500, 100: 250},
        ccfs_epochs={50: 100, 100: 100},
        ccfs_batch=64,
    ),
    *CLIP_SETS,
    SourceEntry(
        "folder",
        "Image folder",
        "bilp.data.sources.folder.source:ImageFolder",
        needs_uri=True,
        reads=_FILES,
        counterpart="video_folder",
        any_data=True,
    ),
    SourceEntry(
        "parquet",
        "Parquet files",
        "bilp.data.sources.parquet:HuggingFaceParquet",
        needs_uri=True,
        reads=_FILES | {"config", "image_column", "label_column"},
        suffix=".parquet",
        any_data=True,
    ),
    SourceEntry(
        "webdataset",
        "Webdataset",
        "bilp.data.sources.webdataset:WebDataset",
        needs_uri=True,
        reads=_CHOSEN,
        counterpart="video_webdataset",
        any_data=True,
    ),
    SourceEntry(
        "npz", "NumPy files", "bilp.data.sources.npz_arrays:NpzArrays", needs_uri=True, reads=_CHOSEN, suffix=".npz", any_data=True
    ),
    SourceEntry(
        "arrays",
        "Arrays",
        "bilp.data.sources.arrays:HeldArrays",
        needs_uri=True,
        reads=frozenset(("uri",)),
        from_python="bilp.ingest(images=..., labels=...)",
        any_data=True,
    ),
    SourceEntry(
        "clip_arrays",
        "Arrays of clips",
        "bilp.data.sources.arrays:HeldArrays",
        needs_uri=True,
        reads=frozenset(("uri",)),
        from_python="bilp.ingest(images=..., labels=...)",
        media="video",
        any_data=True,
    ),
)

SOURCES: Registry[SourceEntry] = Registry("source", SourceEntry, OWN, "bilp.sources", hidden=lambda source: bool(source.from_python))
