"""What the models of facts are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bilp.config import shapes

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""A content key or a fingerprint."""
Name = Annotated[str, Field(max_length=4096)]
EntryName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""Name of an entry of a registry; its package need not be installed where the artifact is read."""
Number = Annotated[int, Field(ge=0, lt=2**53)]
Ordinal = Annotated[int, Field(ge=1, lt=2**53)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Counts = tuple[Number, ...]
Floats = tuple[float, ...]
Positive = Annotated[float, Field(gt=0.0)]
Means = tuple[Annotated[float, Field(ge=-1e3, le=1e3)], ...]
"""Of the pixels, from 0 to 1, of each channel."""
Deviations = tuple[Annotated[float, Field(ge=1e-9, le=1e3)], ...]
"""Standard deviations likewise: pixels that are divided by them stay inside of the range of float32."""


class Facts(BaseModel):
    """Base of the facts of every kind: finite numbers of exactly the right types, and no fact that this version does not know.

    An unknown fact is refused because it may change what the others mean, as `whitening` and `decode` did when they came.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    keyed: ClassVar[str | None] = None
    """Name of the fact that is the artifact's key once more."""


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("two classes have the same name")
    return names


ClassNames = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_different)]


def _possible(shape: shapes.Shape) -> shapes.Shape:
    if shapes.values_in(shape) > 2**31:
        raise ValueError(f"no {shapes.sample_noun(shape)} has more than 2^31 values")
    return shape


Shape = Annotated[tuple[Ordinal, Ordinal, Ordinal] | tuple[Ordinal, Ordinal, Ordinal, Ordinal], AfterValidator(_possible)]
"""[C, H, W] of pictures, [T, C, H, W] of clips."""


def require_length(count: int, what: str, **lists: Sequence[object]) -> None:
    """Raise ValueError naming the first of `lists` that does not have `count` entries, one for each of `what`."""
    for name, values in lists.items():
        if len(values) != count:
            raise ValueError(f"{name} has {len(values)} values for {count} {what}")


def require_equal(why: str, one: object, other: object) -> None:
    """Raise ValueError unless both are equal; `why` says what they are."""
    if one != other:
        raise ValueError(f"{why}: {one} and {other}"[:300])
