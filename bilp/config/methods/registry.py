"""Every distillation method by name, and what is said of those that something applies to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bilp.config.methods import (
    cafe,
    ccfs,
    datm,
    dc,
    dm,
    fadrm,
    frepo,
    haba,
    idc,
    idm,
    inversion,
    lgm,
    linba,
    ncfm,
    rded,
    rfad,
    selmatch,
    trajectory,
)
from bilp.config.methods.spec import Method
from bilp.errors import ConfigError
from bilp.registry import Registry

METHODS = Registry(
    "method",
    Method,
    (
        *(*dm.METHODS, *dc.METHODS, *idc.METHODS, *idm.METHODS, *trajectory.METHODS, *cafe.METHODS),
        *(*ncfm.METHODS, *rded.METHODS, *lgm.METHODS),
        *(*datm.METHODS, *inversion.METHODS, *fadrm.METHODS, *linba.METHODS, *haba.METHODS),
        *(*frepo.METHODS, *rfad.METHODS, *selmatch.METHODS, *ccfs.METHODS),
    ),
    group="bilp.methods",
)

DEFAULT_METHOD = dm.DM.name


def names_of(applies: Callable[[Method], bool]) -> list[str]:
    """The methods that something applies to."""
    return [method.name for method in usable() if applies(method)]


def either(names: Iterable[str]) -> str:
    """'dm', 'dm or dc', 'dm, dc or dsa'."""
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


def optimizing() -> list[str]:
    """The methods that move synthetic images along gradients."""
    return names_of(lambda method: method.optimizes)


def divisible() -> str:
    """The methods whose classes can be divided among machines, and the settings with which they can, in words."""
    by_settings: dict[str, list[str]] = {}
    for method in usable():
        if method.independent_with is not None:
            needed = " and ".join(f"{name} = {value}" for name, value in method.independent_with.items())
            by_settings.setdefault(needed, []).append(method.name)
    return ", or ".join(f"{either(names)} with {needed}" if needed else either(names) for needed, names in by_settings.items())


def usable() -> Iterator[Method]:
    """Every method but those whose package cannot be used, which is told whoever chooses one of them."""
    for name in METHODS:
        try:
            yield METHODS[name]
        except ConfigError:
            continue
