"""Settings of the methods that other packages offer: one place, checked by the model that the method brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SerializeAsAny, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from bilp.config.methods.registry import METHODS, usable
from bilp.config.methods.spec import PLUGIN, PluginConfig


def plugin_models() -> list[type[PluginConfig]]:
    """The settings of every method of another package that has some."""
    models = (method.settings.get(PLUGIN) for method in usable())
    return [model for model in models if model is not None and issubclass(model, PluginConfig)]


class _ByMethod:
    """Annotation of the field: what is given becomes the model of the method that the same settings name."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(_of_method, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A choice between the settings of the methods that are installed; an empty group if there are none."""
        none = handler(schema)
        forms = [model.__get_pydantic_json_schema__(model.__pydantic_core_schema__, handler) for model in plugin_models()]
        return {"anyOf": [none, *forms]} if forms else none


PluginSettings = Annotated[SerializeAsAny[PluginConfig], _ByMethod()]


def _of_method(given: Any, info: ValidationInfo) -> Any:
    """The model that the method brings, made of a mapping or of such a model; anything else is left to be refused."""
    name = info.data.get("method")
    if name is None:  # that is wrong itself, and said so
        return PluginConfig()
    model = METHODS[name].settings.get(PLUGIN)
    values = given.model_dump(exclude_unset=True) if isinstance(given, PluginConfig) else given
    if not isinstance(values, Mapping):
        return given
    if model is None and values:
        raise ValueError(f"method {name} has no settings of this kind: leave {', '.join(map(str, values))} out")
    return (model or PluginConfig).model_validate(dict(values))
