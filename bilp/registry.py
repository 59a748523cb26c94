"""Registries: whatever varies is one entry that knows everything about it, found by its name.

A registry has the entries of this package and those that installed packages offer under its group of entry points:

    [project.entry-points."bilp.methods"]
    toy = "bilp_toy.method:TOY"

A name of a package's entry is known without importing the package; the entry is loaded when it is asked for.

What such an entry computes is another package's work. So settings that are written as JSON (into keys, manifests, records of
runs and the arguments of units of work) hold its name with the package and its version, and whoever reads them with that
package missing, or there in another version, is told so (`EntryName`). Names of bilp's own entries are written as they are.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any, Generic, Protocol, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from bilp.errors import ConfigError, PluginMissing

AS_TYPED = {"names": "as typed"}
"""Context of `model_dump(mode="json", context=AS_TYPED)`: names of entries alone, as people type them."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # it is a value of options, and part of the names of folders


class Named(Protocol):
    """What every entry has: the name that it is found by."""

    @property
    def name(self) -> str: ...


E = TypeVar("E", bound=Named)


@dataclass(frozen=True)
class Plugin:
    """The installed package that offers an entry."""

    distribution: str
    version: str


@dataclass(frozen=True)
class Recorded:
    """The entry of another package as settings are written: its name, and what made results with it."""

    name: str
    package: str
    version: str

    @classmethod
    def of(cls, value: Any) -> Recorded | None:
        """A part of settings read back, if it is one."""
        if not isinstance(value, Mapping) or value.keys() != cls.__dataclass_fields__.keys():
            return None
        return cls(**value) if all(isinstance(part, str) for part in value.values()) else None

    def require_package(self) -> None:
        """Raise PluginMissing unless the package is installed in this version: for whoever does not know whose entry it is."""
        try:
            installed = version(self.package)
        except (PackageNotFoundError, ValueError):  # ValueError: what is no name of a package
            raise PluginMissing(
                f"{self.name!r} of package {self.package} {self.version} is not installed: "
                f"install it (pip install {self.package}=={self.version})"
            ) from None
        if installed != self.version:
            raise PluginMissing(
                f"{self.name!r} of package {self.package} {self.version} is asked for, and {installed} is installed: "
                "install that version, or give the name alone"
            )


def recorded_in(value: Any) -> Iterator[Recorded]:
    """The entries of other packages that settings name which are written as JSON holds them."""
    recorded = Recorded.of(value)
    if recorded is not None:
        yield recorded
    else:
        below = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        for item in below:
            yield from recorded_in(item)


def plugins_in(value: Any) -> dict[str, str]:
    """Their packages by name, with the versions."""
    return {recorded.package: recorded.version for recorded in recorded_in(value)}


class Registry(Mapping[str, E], Generic[E]):
    """Entries by name, this package's first, in the order in which people read them.

    `what` is the word for one entry in messages ("method"), `group` the group of entry points under which other packages
    offer theirs (None if nobody else can), `kind` the class of every entry. Own entries that are `hidden` are found by their name, and
    offered to nobody: neither by forms nor by messages.
    """

    def __init__(
        self, what: str, kind: type[E], own: Iterable[E], group: str | None = None, hidden: Callable[[E], bool] = lambda entry: False
    ) -> None:
        self.what = what
        self.group = group
        self._hidden = hidden
        self._kind = kind
        self._own: dict[str, E] = {}
        for entry in own:
            if entry.name in self._own:
                raise ValueError(f"two entries of {what} are called {entry.name!r}")
            self._own[entry.name] = entry

    def __getitem__(self, name: str) -> E:
        """The entry. Raises KeyError if there is none, ConfigError if the package that offers it cannot be used."""
        return self._own[name] if name in self._own else self._load(name)

    def __iter__(self) -> Iterator[str]:
        return iter((*self._own, *self._offered))

    def __len__(self) -> int:
        return len(self._own) + len(self._offered)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._offered

    def known(self, name: str) -> E:
        """The entry. Raises ConfigError, which names the entries that there are, for a name that no entry has."""
        if name not in self:
            raise ConfigError(f"{self.what} {name!r} is unknown: {self.choices()}; if a package offers it, install that package")
        return self[name]

    def choices(self) -> str:
        """What can be chosen, in words."""
        return f"use one of {', '.join(self.choosable())}"

    def choosable(self) -> list[str]:
        """The names that forms and messages offer."""
        return [name for name in self if name not in self._own or not self._hidden(self._own[name])]

    def plugin(self, name: str) -> Plugin | None:
        """The package that offers an entry; None for an entry of this package, and for a name that no entry has."""
        found = None if name in self._own else self._offered.get(name)
        return None if found is None else Plugin(_distribution(found), found.dist.version if found.dist is not None else "unknown")

    def recorded(self, name: str) -> str | dict[str, str]:
        """The name as settings are written: with package and version if another package offers it."""
        plugin = self.plugin(name)
        return name if plugin is None else asdict(Recorded(name, plugin.distribution, plugin.version))

    def require(self, recorded: Recorded) -> None:
        """Raise PluginMissing unless an entry is there of the package, and in the version, that it was recorded with."""
        plugin = self.plugin(recorded.name)
        if plugin == Plugin(recorded.package, recorded.version):
            return
        wanted = f"{self.what} {recorded.name!r} of package {recorded.package} {recorded.version}"
        if plugin is None or plugin.distribution != recorded.package:
            raise PluginMissing(f"{wanted} is not installed: install it (pip install {recorded.package}=={recorded.version})")
        raise PluginMissing(
            f"{wanted} is needed for what was begun with it, and {plugin.version} is installed: "
            "install that version, or begin anew with this one"
        )

    @cached_property
    def _offered(self) -> dict[str, EntryPoint]:
        """Entry points of other packages by name. Raises ConfigError if a name is taken."""
        offered: dict[str, EntryPoint] = {}
        for point in _entry_points(self.group) if self.group else ():
            other = offered.get(point.name)
            if not _NAME.fullmatch(point.name):
                raise ConfigError(
                    f"package {_distribution(point)} offers a {self.what} called {point.name!r}: names are of a-z, 0-9 and _: "
                    "update or uninstall the package"
                )
            if point.name in self._own or (other is not None and _distribution(other) != _distribution(point)):
                taken = "bilp itself" if other is None else f"package {_distribution(other)}"
                raise ConfigError(
                    f"package {_distribution(point)} offers a {self.what} called {point.name!r}, and so does {taken}: uninstall one of them"
                )
            offered[point.name] = point
        return offered

    def _load(self, name: str) -> E:
        point = self._offered[name]
        where = f"the {self.what} {name!r} of package {_distribution(point)} ({point.value})"
        try:
            entry = point.load()
        except Exception as error:  # whatever a foreign module raises while it is imported
            raise ConfigError(f"{where} cannot be loaded ({type(error).__name__}: {error}): update or uninstall the package") from error
        if not isinstance(entry, self._kind):
            raise ConfigError(f"{where} is a {type(entry).__name__}, not a {self._kind.__name__}: update or uninstall the package")
        if entry.name != name:
            raise ConfigError(f"{where} calls itself {entry.name!r}: update or uninstall the package")
        return entry


class EntryName:
    """Annotation of a setting that holds the name of an entry: `Annotated[str, EntryName("bilp.config.methods:METHODS")]`.

    The registry is found when a value is checked or a schema is made, so that entries may use the settings' own types.
    As JSON, the name of another package's entry is `Recorded`, except in the context AS_TYPED. Reading that again raises
    PluginMissing, which is no ValidationError, unless the same version of the package is installed.
    """

    def __init__(self, registry: str) -> None:
        self._path = registry

    @property
    def registry(self) -> Registry[Any]:
        """The registry itself."""
        found: Registry[Any] = resolve(self._path)
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self._written, info_arg=True, when_used="json")
        return core_schema.no_info_before_validator_function(self._read, core_schema.str_schema(strict=True), serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "enum": self.registry.choosable()}

    def _written(self, name: str, info: SerializationInfo) -> str | dict[str, str]:
        return name if info.context == AS_TYPED else self.registry.recorded(name)

    def _read(self, given: Any) -> str:
        recorded = Recorded.of(given)
        if recorded is not None:
            self.registry.require(recorded)
            return recorded.name
        if not isinstance(given, str) or given not in self.registry:
            *rest, last = (repr(choice) for choice in self.registry.choosable())
            expected = f"{', '.join(rest)} or {last}" if rest else last
            # Literal's own error, so that every list of choices is refused alike.
            raise PydanticKnownError("literal_error", {"expected": expected})
        return given


def resolve(path: str) -> Any:
    """What lies at `package.module:name`, imported when it is needed: entries are read by settings, what they name may need torch."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Those of every installed package, by name; looked for once per process."""
    return tuple(sorted(entry_points(group=group), key=lambda point: point.name))
