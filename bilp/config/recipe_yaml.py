"""The YAML of recipes: mappings, lists and plain words, which mean what they mean on the command line.

YAML 1.1 has opinions of its own: 010 is eight, 1:30 is ninety, no is false, 1e-3 is text, and of two equal keys the last one
counts. Here a scalar is text, which the settings' types read (so no is false for a switch alone), numbers aside that are written
the usual way; what could be meant in two ways is refused with its line.

A recipe may come from anywhere, so a few lines must not cost more than a few lines: there are no anchors, aliases and merge keys,
which can multiply without end; nesting ends at DEEPEST levels; nothing but text, numbers, lists and mappings is made.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from bilp.config.nested import inline
from bilp.errors import ConfigError
from bilp.text.escaping import unwrapped

STANDARD = "tag:yaml.org,2002:"
SCALARS = {f"{STANDARD}{name}" for name in ("str", "int", "float", "bool", "null")}
NOTHING = ("", "~", "null", "Null", "NULL", "none", "None")
WHOLE, DECIMAL = re.compile(r"-?[0-9]{1,18}"), re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}")
DEEPEST = 32
"""Levels of lists and mappings within each other; settings need five."""
OCTAL = re.compile(r"[-+]?0[0-9_]+")
# Byte order marks of other encodings, the longer ones first.
WIDE_MARKS = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# Control characters but for tab, line feed and carriage return, what is no character, and the line breaks that editors do not show.
UNFIT = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Makes nodes with their lines; every word is text, and nothing is constructed."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (the loader's own interface)


class _Misread(Exception):
    """What is wrong with a file: words that go on after its name."""


def parse(content: bytes, file: str) -> dict[str, Any]:
    """The mapping that a file holds. Raises ConfigError in one line, which begins with `file`, the words for it."""
    try:
        return _mapping_of(_decoded(content))
    except _Misread as error:
        raise ConfigError(f"{file}{error}") from error


def _mapping_of(text: str) -> dict[str, Any]:
    try:
        _check(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark and "nesting depth" in (error.problem or ""):  # the parser looks ahead, and has a limit of its own
            raise _too_deep(mark.line + 1) from error
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _Misread(f" is not valid YAML: {where}{unwrapped(error.problem or error.context or '')}: correct it") from error
    except yaml.YAMLError as error:
        raise _Misread(f" is not valid YAML: {unwrapped(error)}: correct it") from error
    if node is None:
        raise _Misread(" is empty: it must hold key: value pairs")
    value = _value(node, "")
    if not isinstance(value, dict):
        raise _Misread(f" must hold key: value pairs, not {type(value).__name__}")
    return value


def _check(text: str) -> None:
    """Go through the events of the parser, which cost no more than the text is long, before anything is made of them.

    Raises _Misread for anchors, aliases, nesting beyond DEEPEST and a second document.
    """
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise _Misread(f": line {line}: *{event.anchor} stands for something written elsewhere: write it out here")
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            named = f"&{event.anchor} names something to be used again"
            raise _Misread(f": line {line}: {named}: leave it out, and write what it names twice")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise _too_deep(line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Misread(f": line {line}: a second document begins: keep one in a file")


def _too_deep(line: int) -> _Misread:
    return _Misread(f": line {line}: lists and mappings lie in each other more than {DEEPEST} deep: settings need five levels")


def _decoded(content: bytes) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; for another encoding the remedy is told."""
    every_other_zero = 3 * content.count(0) > len(content)
    encoding = next((name for mark, name in WIDE_MARKS.items() if content.startswith(mark)), "UTF-16" if every_other_zero else None)
    if encoding:
        raise _Misread(f" is {encoding}: save it as UTF-8, or convert it with iconv -f {encoding} -t UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        remedy = "save it as UTF-8, or convert it with iconv -f ISO-8859-1 -t UTF-8 if it was written as Latin-1"
        raise _Misread(f" is not UTF-8 (byte 0x{byte:02x} in line {line}): {remedy}") from error
    unfit = UNFIT.search(text)
    if unfit:
        line = text[: unfit.start()].count("\n") + 1
        raise _Misread(f": line {line}: holds the character U+{ord(unfit[0]):04X}, which no recipe needs: remove it")
    return text


def _value(node: yaml.Node, path: str) -> Any:
    """Text, number, None, list or dictionary. Raises _Misread with line and path."""
    if isinstance(node, yaml.MappingNode) and node.tag == f"{STANDARD}map":
        return _mapping(node, path)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{STANDARD}seq":
        return [_value(item, path) for item in node.value]
    if isinstance(node, yaml.ScalarNode) and node.tag in SCALARS:
        return _scalar(node, path)
    problem = f"line {_line(node)}: {node.tag} makes an object, and values are all it may hold: leave it out"
    raise _Misread(f" is not valid YAML for a recipe: {problem}")


def _mapping(node: yaml.MappingNode, path: str) -> dict[str, Any]:
    lines: dict[str, int] = {}
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = _line(key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            raise _Misread(f": line {line}: a key is a word, not a list or a mapping")
        key = str(key_node.value)
        place = f"{path}.{key}" if path else key
        if key == "<<":
            raise _Misread(f": line {line}: << takes in what is written elsewhere: write it out here")
        value = _value(value_node, place)
        if key in lines:
            joined = "join the two" if isinstance(value, dict) else "keep one"
            raise _Misread(f": {place} is given twice, in lines {lines[key]} and {line}: {joined}")
        if "." in key:
            raise _Misread(f": line {line}: {key} is the command line's way to write it: here it is {inline(key, value)}")
        lines[key], values[key] = line, value
    return values


def _scalar(node: yaml.ScalarNode, path: str) -> Any:
    text = str(node.value)
    if node.style:  # in quotes, or a block of text
        return text
    if text in NOTHING or node.tag == f"{STANDARD}null":
        return None
    for pattern, kind in ((WHOLE, int), (DECIMAL, float)):
        if pattern.fullmatch(text) and str(kind(text)) == text:  # written back as it stands, should it be the name of something
            return kind(text)
    if OCTAL.fullmatch(text):
        plain = re.sub(r"^([-+]?)[0_]+(?=[0-9])", r"\1", text)
        raise _Misread(
            f": line {_line(node)}: {path}: {text} is an octal number to some and a decimal one to others: "
            f"write {plain}, or '{text}' in quotes if it is a name"
        )
    return text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
