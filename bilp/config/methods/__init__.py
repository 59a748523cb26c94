"""What each distillation method is: its settings, its published values, its facts; one file per family."""

from bilp.config.methods.registry import DEFAULT_METHOD, METHODS, divisible, either, names_of, optimizing
from bilp.config.methods.spec import Cell, Method, PluginConfig

__all__ = ["DEFAULT_METHOD", "METHODS", "Cell", "Method", "PluginConfig", "divisible", "either", "names_of", "optimizing"]
