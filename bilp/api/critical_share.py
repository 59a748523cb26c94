"""`bilp.critical`: the smallest share of the data that is as good as all of it, as a call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bilp.api import showing
from bilp.api.here import Here
from bilp.api.ingested import Dataset, as_data, read
from bilp.api.keywords import configured, for_device
from bilp.api.placed import Result
from bilp.api.watching import watched
from bilp.api.workspace import place_at, storage
from bilp.config.nested import as_plain, merge
from bilp.critical.measuring import measure
from bilp.critical.plan import CriticalOptions
from bilp.critical.shares import Found, open_critical
from bilp.errors import ConfigError
from bilp.storage.objects import Uri

if TYPE_CHECKING:
    import pandas as pd


class CriticalShares(Result):
    """Critical shares: `shares` by criterion, `to_pandas()` with every share and its tests, `page` with the curve."""

    @cached_property
    def found(self) -> Found:
        """The table and the facts."""
        return open_critical(self.uri)

    @property
    def shares(self) -> dict[str, float]:
        """The critical share of each criterion; 1 where no smaller one was shown to be as good."""
        return dict(self.found.facts.critical)

    @property
    def page(self) -> str:
        """The URI of the page."""
        return self.found.page

    def to_pandas(self) -> pd.DataFrame:
        """Every share of every criterion with its tests (`bilp.critical.shares.SHARES`)."""
        import pandas as pd

        return pd.DataFrame(list(self.found.rows))

    def __repr__(self) -> str:
        return "; ".join(self.found.lines)

    def _repr_html_(self) -> str:
        return "".join(map(showing.paragraph, self.found.lines))


def critical(
    data: Dataset | Uri | None = None,
    *,
    criteria: Sequence[str] = CriticalOptions.model_fields["criteria"].default,
    tolerance: float = 0.5,
    level: float = 0.05,
    distillations: int = 5,
    fewest: int = 2,
    root: Uri | None = None,
    device: str | None = None,
    **given: Any,
) -> CriticalShares:
    """How much of the data is enough: `critical(dataset="digits", method="dm", ipc=1)`. What was computed before is found.

    Raises ConfigError, in one line, for wrong settings.

    Args:
        data: A data set that `bilp.ingest` returned, or its path; by default the dial `dataset` says what is ingested.
        criteria: Criteria of static pruning.
        tolerance: Points of accuracy by which a share may be worse and still count as good.
        level: Probability of taking a share for as good although it is worse by the tolerance.
        distillations: Pairs of a share and all samples.
        fewest: Samples of the smallest class at which the shares end.
        root: The storage, by default BILP_STORAGE, or that of `data`.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one.
        given: Dials and groups, as `bilp.settings` takes them.
    """
    asked = {"criteria": tuple(criteria), "tolerance": tolerance, "level": level, "distillations": distillations, "fewest": fewest}
    try:
        options = CriticalOptions.model_validate(asked)
    except ValidationError as error:
        told = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors(include_url=False))
        raise ConfigError(told) from error
    base = for_device(as_plain(given), device)
    if data is None:
        config, place = configured(base), storage(root)
        with watched() as watch:
            record, uri = read(config.ingest, place, watch)
        data = Dataset(uri, record, config.ingest, base)
    else:
        data = as_data(data, root)
        base = merge(base, data.given)
    with place_at(data.root, device) as at:
        return CriticalShares(measure(base, options, data.uri, at.root, Here(configured(base), at)))
