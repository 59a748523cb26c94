"""What a form is: fields that are empty unless somebody fills them in, and the settings that the filled ones mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler, model_serializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.config.base import Frozen
from bilp.config.forms.derived import EMPTY, Case, cases, if_empty
from bilp.config.forms.fields import method_settings
from bilp.config.forms.schema import Schema, each_setting, in_words, inlined, opened
from bilp.config.given import checked
from bilp.config.nested import merge, nest
from bilp.config.pipeline import PipelineConfig

DEFAULT = re.compile(r" Default: .*\.$", re.DOTALL)


class Form(Frozen):
    """Base of the forms. A field is a dial or a group of settings; `None`, which an untouched field is, means nothing."""

    fixed: ClassVar[Mapping[str, Any]] = {}
    """Settings that the form decides."""
    datasets: ClassVar[tuple[str, ...]] = ()
    """The data sets that it is for, of which its descriptions are true."""
    paths: ClassVar[Mapping[str, str]] = {}
    """Dotted paths of the settings that fields mean, where a field has another name."""
    not_settings: ClassVar[frozenset[str]] = frozenset()
    """Fields that are no settings of a pipeline."""
    first: ClassVar[tuple[str, ...]] = ()
    """Fields that are asked before all others, in this order."""

    @model_serializer(mode="plain")
    def _filled_in(self) -> dict[str, Any]:
        """What was filled in, alone: a form that nobody touched is empty where a server keeps it."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}

    def given(self) -> dict[str, Any]:
        """The settings that were filled in, as a command line would give them, over what the form decides."""
        typed: dict[str, Any] = dict(self.fixed)
        for name in sorted(self.model_fields_set - self.not_settings):
            value = getattr(self, name)
            if value is not None:
                typed = merge(typed, method_settings(value) if name == "method" else self._nested(name, value))
        return typed

    def _nested(self, name: str, value: Any) -> dict[str, Any]:
        path = self.paths.get(name, name)
        return nest(path, list(value) if isinstance(value, tuple) else value) if path else dict(value)

    def config(self) -> PipelineConfig:
        """The configuration of a pipeline. Raises ConfigError for settings that are wrong or do not fit together."""
        return checked(self.given())

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """As for every model; with titles in words, fields in their order, and what is true if a field stays empty."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        form = handler.resolve_ref_schema(schema)
        fields = form["properties"]
        for position, name in enumerate(dict.fromkeys([*cls.first, *fields])):
            field = inlined(fields[name], handler)
            fields[name] = {**opened(field), "position": position}
            cls._describe(name, fields[name])
        return schema

    @classmethod
    def _describe(cls, name: str, field: Schema) -> None:
        if name == "method":
            for kind in field["anyOf"]:
                _describe_method(kind, cls.datasets)
            _tell(cases(cls.datasets), "method", field)
        else:
            each_setting(field, cls.paths.get(name, name), partial(_tell, cases(cls.datasets)))
            _title_groups(field)


def _describe_method(kind: Schema, datasets: tuple[str, ...]) -> None:
    """Tell the fields of one method's choice; those below `name` are its own settings."""
    for position, (name, group) in enumerate(kind.get("properties", {}).items()):
        group["position"] = position
        if name == "name":
            continue
        group.setdefault("title", in_words(name))
        among = cases(datasets, tuple(kind["properties"]["name"]["enum"]))
        path = name if name == "experts" else f"distill.{name}"
        each_setting(group, path, partial(_tell, among))
        _title_groups(group)


def _tell(among: Iterable[Case], path: str, setting: Schema) -> None:
    """Title and description of one setting; what is empty unless it is set has no value to tell."""
    name = path.rpartition(".")[2]
    if setting.get("title", "").lower() == name.replace("_", " "):  # what pydantic made of the name
        setting["title"] = in_words(name)
    description = DEFAULT.sub("", setting.get("description", ""))
    if EMPTY not in description:
        setting["description"] = f"{description} {if_empty(path, among)}".strip()


def _title_groups(schema: Schema) -> None:
    """Titles in words for the groups inside of a group, which are no settings themselves."""
    for group in (schema, *schema.get("anyOf", [])):
        for name, below in group.get("properties", {}).items():
            if below.get("title", "Config").endswith("Config"):
                below["title"] = in_words(name)
            _title_groups(below)
