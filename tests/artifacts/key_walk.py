"""How every value that a stage reads is changed, and how it is seen under which key the stage then looks for its artifact.

Nothing here knows what a key is made of: a stage is called as a pipeline calls it, and the place in storage that it looks at
says which key it asks for.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

import bilp
from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import DatasetFacts
from bilp.config import PipelineConfig
from bilp.config.base import Frozen, unused
from bilp.data.store import Dataset, Split
from bilp.registry import EntryName, Plugin, Registry
from bilp.storage import local

PACKAGE = Path(bilp.__file__).parent
# These read settings and facts to make keys and manifests of them, and to check them.
RECORDING = {
    str(PACKAGE / name)
    for name in ("config/base.py", "config/former.py", "artifacts/artifact.py", "artifacts/facts/__init__.py", "artifacts/facts/data.py")
}


_UNKNOWN = object()


class Asked(BaseException):
    """A stage looked for its artifact; it goes no further."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


def asked(root: str, pattern: str, call: Callable[[], object]) -> str:
    """The place below `root` that `call` looks at first of those that match `pattern`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("read", "exists"):
            patch.setattr(local, name, _looking(root, pattern, getattr(local, name)))
        try:
            call()
        except Asked as found:
            return found.place
    raise AssertionError(f"nothing like {pattern} was looked for")


def _looking(root: str, pattern: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def look(path: str, *limits: int | None) -> Any:
        place = path.removeprefix(f"{root}/")
        if re.fullmatch(pattern, place):
            raise Asked(place)
        return function(path, *limits)

    return look


def values(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, BaseModel, str]]:
    """Dotted name, model and field of every setting, those in models below included; of several networks the first."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        inner = value[0] if isinstance(value, tuple) and value and isinstance(value[0], BaseModel) else value
        if isinstance(inner, BaseModel):
            yield from values(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", model, name


def is_unused(model: BaseModel, path: str) -> bool:
    """Whether a setting is left out of what is recorded, alone or with the model that it is in: added later, and at its default."""
    left: Any = unused(model)
    for name in path.split("."):
        left = left is True or (left.get(name, {}) if isinstance(left, dict) else {})
    return left is True


PATTERNS = {"checksum": "0" * 64}
"""A value of settings that must follow a pattern, by name."""


def changed(model: BaseModel, path: str, given: Mapping[str, Any] = {}, whole: bool = True) -> BaseModel | None:
    """`model` with another valid value of the setting at `path` and nothing else changed; None if no other value is valid.

    `given` has values for settings whose type does not tell any. Unless `whole`, only the model that holds the setting is
    validated. The model of a pipeline never is, as its dials repeat settings of its stages.
    """
    of_pattern = PATTERNS.get(path.rpartition(".")[2], _UNKNOWN)
    return next(_changed(model, path, given.get(path, of_pattern), whole), None)


def _changed(model: BaseModel, path: str, given: Any, whole: bool) -> Iterator[BaseModel]:
    name, _, rest = path.partition(".")
    value = getattr(model, name)
    offered: Iterable[Any]
    if rest:
        inner, others = (value[0], value[1:]) if isinstance(value, tuple) else (value, None)
        offered = (found if others is None else (found, *others) for found in _changed(inner, rest, given, whole))
    else:
        offered = _other_values(type(model).model_fields[name], value) if given is _UNKNOWN else [given]
    for new in offered:
        if new != value and (found := _with(model, name, new, whole or not rest)) is not None:
            yield found


def _with(model: BaseModel, name: str, value: Any, validated: bool) -> BaseModel | None:
    if not validated or isinstance(model, PipelineConfig) or isinstance(value, PipelineConfig):
        return model.model_copy(update={name: value})
    held = {field: getattr(model, field) for field in type(model).model_fields}
    try:
        found = type(model).model_validate({**held, name: value})
    except ValidationError:
        return None
    same = all(getattr(found, field) == held[field] for field in held if field != name)
    return found if same and getattr(found, name) == value else None


def _other_values(field: Any, value: Any) -> Iterator[Any]:
    for kind in _kinds(Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation):
        yield from _of_kind(kind, value)


def _kinds(annotation: Any) -> Iterator[Any]:
    """The alternatives of a type, without constraints; names of entries are a Literal of them."""
    if get_origin(annotation) is Annotated:
        kind, *marks = get_args(annotation)
        entries = [mark.registry for mark in marks if isinstance(mark, EntryName)]
        yield from [Literal[tuple(registry)] for registry in entries] or _kinds(kind)
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _kinds(part)
    else:
        yield annotation


def _of_kind(kind: Any, value: Any) -> Iterator[Any]:
    """Values of a type, near ones first."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
    if kind is type(None):
        yield None
    elif get_origin(kind) is Literal:
        known = list(get_args(kind))
        after = known.index(value) + 1 if value in known else 0
        yield from known[after:] + known[:after]
    elif kind is bool:
        yield not value
    elif kind is int:
        yield from (number + 1, number - 1, 2 * number, 1, 2, 12)
    elif kind is float:
        yield from (number / 2, number * 1.5 + 0.125, 0.5, 0.25, 0.0, 1.0)
    elif kind is str:
        yield "another"
    elif get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[-1] is Ellipsis:
            (one,) = [next(v for v in _of_kind(part, None) if v is not None) for part in _kinds(inner[0])]
            yield from (tuple(value or ())[1:], (one,), (*tuple(value or ()), one))
        else:
            yield from ((0.1, 0.6), (0.2, 0.7))
    else:
        raise AssertionError(f"no values of {kind} are known: give some")


@contextmanager
def reading() -> Iterator[set[tuple[str, str]]]:
    """What the package's own code reads inside of the block, in order to compute: (model, setting) and (kind of data, fact)."""
    seen: set[tuple[str, str]] = set()

    def spied(kind: type, facts: Callable[[str], bool]) -> Callable[[Any, str], Any]:
        def look(self: Any, name: str) -> Any:
            if facts(name) if not issubclass(kind, BaseModel) else name in object.__getattribute__(self, "__class__").model_fields:
                caller = sys._getframe(1).f_code.co_filename
                if caller.startswith(str(PACKAGE)) and caller not in RECORDING:
                    seen.add((object.__getattribute__(self, "__class__").__name__, name))
            return object.__getattribute__(self, name)

        return look

    def public(name: str) -> bool:
        return not name.startswith("_")

    def fact(self: Artifact, name: str, ask: Callable[[Artifact, str], Any] = Artifact.fact) -> Any:
        seen.add((self.manifest.kind, name))
        return ask(self, name)

    with pytest.MonkeyPatch.context() as patch:
        for kind in (Frozen, Dataset, Split, DatasetFacts):
            patch.setattr(kind, "__getattribute__", spied(kind, public), raising=False)
        patch.setattr(Artifact, "fact", fact)
        yield seen


def registries(model: BaseModel, field: str) -> Iterator[Registry[Any]]:
    """The registries that a setting's values are names in, if packages may add to them."""
    found = type(model).model_fields[field]
    for part in (*found.metadata, *_metadata(found.annotation)):
        if isinstance(part, EntryName) and part.registry.group is not None:
            yield part.registry


def _metadata(annotation: Any) -> Iterator[Any]:
    """Everything that a type is annotated with, at any depth."""
    yield from getattr(annotation, "__metadata__", ())
    for part in get_args(annotation):
        yield from _metadata(part)


@contextmanager
def of_a_package(registry: Registry[Any], name: str, version: str) -> Iterator[None]:
    """As if an installed package offered the entry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "plugin", lambda asked: Plugin("package", version) if asked == name else None)
        yield


@cache
def versions() -> dict[str, list[str]]:
    """Every module that has a VERSION of its own, and the modules that took it from there under that name."""
    owners: dict[str, list[str]] = {}
    takers: list[tuple[str, str]] = []
    for path in PACKAGE.rglob("*.py"):
        module = "bilp." + str(path.relative_to(PACKAGE)).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        source = path.read_text(encoding="utf-8")
        for node in ast.parse(source if "VERSION" in source else "").body:
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["VERSION"]:
                owners.setdefault(module, [])
            if isinstance(node, ast.ImportFrom) and any(alias.name == "VERSION" for alias in node.names):
                takers.append((str(node.module), module))
    for owner, taker in takers:
        owners[owner].append(taker)
    return owners


@contextmanager
def raised(owner: str) -> Iterator[None]:
    """The code of a module was changed, and its version raised."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (owner, *versions()[owner]):
            module = importlib.import_module(name)
            patch.setattr(module, "VERSION", module.VERSION + 1)
        yield
