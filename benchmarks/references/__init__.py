"""Every method once more, as one would write it first: a loop over the classes, whole batches, plain autograd, torch.nn's layers.

The formulas and loops are those of the papers. What is not compared is shared with the program: the definition of the random
streams, augmentation, the architecture of the networks, k-means. Tests compare results with these, benchmarks time them.
Batch norm and adaptive pruning are left out.
"""

from __future__ import annotations

from benchmarks.references.aligned import AlignedReference
from benchmarks.references.characteristic import CharacteristicReference
from benchmarks.references.classwise import KernelReference, PoolReference
from benchmarks.references.crops import CropReference
from benchmarks.references.curriculum import CurriculumReference
from benchmarks.references.hallucinated import HallucinatedReference
from benchmarks.references.heads import HeadReference
from benchmarks.references.inversion import InversionReference, ResidualReference
from benchmarks.references.partly_real import PartlyRealReference
from benchmarks.references.parts import Reference
from benchmarks.references.query import QueryReference
from benchmarks.references.regression import FeatureRegressionReference, RandomFeatureReference
from benchmarks.references.summed import AlignmentReference, SummedReference
from benchmarks.references.trajectory import TrajectoryReference

REFERENCES: dict[str, type[Reference]] = {
    **dict.fromkeys(("dm", "dc", "dsa"), SummedReference),
    **dict.fromkeys(("idc", "dream"), KernelReference),
    **dict.fromkeys(("mtt", "tesla"), TrajectoryReference),
    "idm": PoolReference,
    "cafe": AlignmentReference,
    "ncfm": CharacteristicReference,
    **dict.fromkeys(("rded", "ca2d"), CropReference),
    "lgm": HeadReference,
    **dict.fromkeys(("datm", "pad"), AlignedReference),
    **dict.fromkeys(("sre2l", "cda", "lpld"), InversionReference),
    "fadrm": ResidualReference,
    "linba": QueryReference,
    "haba": HallucinatedReference,
    "frepo": FeatureRegressionReference,
    "rfad": RandomFeatureReference,
    "selmatch": PartlyRealReference,
    "ccfs": CurriculumReference,
}
"""The reference of every method."""
