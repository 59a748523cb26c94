"""Fields of forms that are more than one input: the settings of a stage, and a method with its own settings and no other's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.config.decode import DecodeConfig
from bilp.config.distill import DistillConfig
from bilp.config.evaluate import EvaluateConfig
from bilp.config.forms.schema import Schema, folded, group_of
from bilp.config.ingest import IngestConfig
from bilp.config.methods.registry import usable
from bilp.config.methods.spec import PLUGIN, Method
from bilp.config.methods.trajectory import ExpertsConfig
from bilp.config.pipeline import ReportConfig
from bilp.config.prune import PruneConfig
from bilp.config.real_part import RealPartConfig
from bilp.config.reselect import ReselectConfig
from bilp.config.score import ScoreConfig

CLOSED = "derived from the dials"
OPENED = "set by hand"


def method_groups(method: Method) -> dict[str, type[BaseModel]]:
    """The models that hold settings of this method and of no other kind, by their dotted paths."""
    own: dict[str, type[BaseModel]] = {f"distill.{name}": model for name, model in method.settings.items()}
    if method.decodes:
        own["distill.decode"] = DecodeConfig
    if method.real_part:
        own["distill.real_part"] = RealPartConfig
    if method.needs_experts:
        own["experts"] = ExpertsConfig
    return own


class Group:
    """Annotation of a field that holds the settings of a stage: a mapping, checked with everything else when all is known."""

    def __init__(self, model: type[BaseModel], *without: str) -> None:
        """The settings of a model, less those that a form asks for elsewhere."""
        self.model, self.without = model, without

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Folded."""
        group = group_of(self.model, handler)
        for name in self.without:
            group["properties"].pop(name, None)
        return folded(group, CLOSED, OPENED)


class ByMethod:
    """Annotation of a field that holds a method with its own settings: `{"name": "idc", "idc": {"cutmix": 0}}`, or its name alone."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A choice between the methods that can be used; below the chosen one, its settings, folded."""
        return {"anyOf": [{"type": "null", "title": "not chosen"}, *(_method_form(method, handler) for method in usable())]}


def _method_form(method: Method, handler: GetJsonSchemaHandler) -> Schema:
    told = f"{method.title}: {method.paper}, {method.venue}."
    # A choice of one that is made already: forms call a constant "a const" and show nothing of use.
    properties: Schema = {"name": {"type": "string", "enum": [method.name], "default": method.name, "title": "Method", "description": told}}
    for path, model in method_groups(method).items():
        name = path.rpartition(".")[2]
        group = group_of(model, handler)
        properties[name] = folded(group, CLOSED, OPENED) | {"description": group.get("description", "")}
    title = method.name.upper()
    return {"type": "object", "title": title, "properties": properties, "required": ["name"], "additionalProperties": False}


def method_settings(given: Any) -> dict[str, Any]:
    """What was typed about the method, as settings of a pipeline."""
    if not isinstance(given, Mapping):
        return {"method": given}
    settings: dict[str, Any] = {"method": given["name"]} if "name" in given else {}
    for name, values in given.items():
        if name == "experts" and values is not None:
            settings |= {name: values}
        elif name != "name" and values is not None:
            settings.setdefault("distill", {})[name] = values
    return settings


OWN_GROUPS = (PLUGIN, *{path.rpartition(".")[2]: None for method in usable() for path in method_groups(method)})

Settings = dict[str, Any] | None
MethodChoice = Annotated[str | dict[str, Any] | None, ByMethod()]
IngestGroup = Annotated[Settings, Group(IngestConfig, "source")]
ScoreGroup = Annotated[Settings, Group(ScoreConfig)]
PruneGroup = Annotated[Settings, Group(PruneConfig, "keep")]
ReselectGroup = Annotated[Settings, Group(ReselectConfig, "beta")]
DistillGroup = Annotated[Settings, Group(DistillConfig, "method", "ipc", *OWN_GROUPS)]
EvaluateGroup = Annotated[Settings, Group(EvaluateConfig)]
ReportGroup = Annotated[Settings, Group(ReportConfig)]
