"""Text from outside, made fit for each place where people read it: names of files and classes, words of other libraries' errors.

Text is kept as it came and escaped where it is put out, by the function of that place. HTML is the business of the page's template,
which escapes whatever is put into it. Only the standard library is needed here, so that errors can use it while everything else is
still being imported.
"""

from __future__ import annotations

import logging
import re
import unicodedata

# Control characters, bytes that are no UTF-8, separators of lines and paragraphs, and what changes the order in which others are drawn
# or is not drawn at all. Scripts and emoji need the two joiners, which change how their neighbors look and nothing else.
ESCAPED = ("Cc", "Cs", "Zl", "Zp", "Cf")
JOINERS = "\u200c\u200d"

# Punctuation that Markdown may take for its own. Between letters and digits, as in a file's name, it leaves - + _ and . alone,
# the dot of www. aside.
_MARKDOWN = re.compile(r"[\\`*\[\]<>#|~&!@]|(?<![^\W_])[-+_.]|[-+_.](?![^\W_])|(?<=[wW]{3})\.|:(?=\S)|(?<=\d)\)")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def shown(text: str) -> str:
    r"""The text as one line for a terminal, a log or an error: a line break becomes \n, an escape \x1b, a byte that is no UTF-8 \xe9."""
    if text.isprintable():
        return text
    return "".join(_escaped(character) if _is_escaped(character) else character for character in text)


def place(uri: str) -> str:
    """The path or URI of a result as one line, which still leads there where only bytes that are no UTF-8 are odd about it: these stay."""
    return "".join(character if "\udc80" <= character <= "\udcff" else shown(character) for character in uri)


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and its end with an ellipsis between them if it has more than `most` characters."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def unwrapped(words: object) -> str:
    """What another library says, such as an error, whose text may have several lines, as one."""
    return " ".join(str(words).split())


def markdown(text: str) -> str:
    """The text for a place inside a line of Markdown, where it is read as text: no link, no picture, no HTML, no code, no list."""
    return _MARKDOWN.sub(r"\\\g<0>", shown(text).strip(" "))


def latex(text: str) -> str:
    """The text for a cell of a table in LaTeX."""
    return "".join(_LATEX.get(character, character) for character in shown(text))


def spreadsheet(text: str) -> str:
    """The text for a cell of a CSV file, where what begins like a formula would be calculated.

    What looks like a text with such a sign before it gets one as well: no two texts become the same.
    """
    line = shown(text)
    return f"'{line}" if line.lstrip("'").startswith(("=", "+", "-", "@")) else line


class OneLine(logging.Filter):
    """Every record's message as one line, whatever name or error it quotes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Put the message in place of its parts."""
        record.msg, record.args = shown(record.getMessage()), ()
        return True


def _is_escaped(character: str) -> bool:
    return unicodedata.category(character) in ESCAPED and character not in JOINERS


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a file name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii") if code < 0xD800 or code > 0xDFFF else f"\\u{code:04x}"
