"""Names and words of others, wherever people read them: nothing arrives raw, and what is harmless arrives as it is."""

from __future__ import annotations

import csv
import io
import logging
import unicodedata
from collections.abc import Callable, Iterator

import pytest
from markdown_it import MarkdownIt
from rich.table import Table

from bilp import ending
from bilp.config.command_line import configure
from bilp.data.names import class_name
from bilp.errors import MOST, ConfigError, DataError
from bilp.exchange.folder_names import check_folder_names
from bilp.text.escaping import latex, markdown, place, shortened, shown, spreadsheet
from bilp.text.unexpected import one_line
from flows import program
from tasks import terminal
from tasks.run_name import LONGEST, RunName

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m",
    "two\nlines",
    "over\rwritten\x08\x08",
    "bell\x07\x00\x7f\x85",
    "cat\u202egpj.exe",
    "\u2066\u2067isolated\u2069",
    "left\u200eright\u200f\u061c",
    "\ufeff\u200b\u2060\u00ad",
    "\u2028\u2029",
    "\U000e0001\U000e0041",
    "caf\udce9",
    "\ud800",
    "[link=http://evil.example]here[/link]",
    "[/red]",
    "[bold]",
    ":cat:",
    "![x](http://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "[x]: http://evil.example",
    "[x][y]",
    "<http://evil.example>",
    "http://evil.example",
    "www.evil.example",
    "somebody@evil.example",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<!-- x -->",
    "&lt;b&gt; &amp; &#x41;",
    "`code` ``",
    "```",
    "a|b|c",
    "|---|",
    "# head",
    "- item",
    "+ item",
    "* item",
    "1. item",
    "1) item",
    "> quote",
    "---",
    "***",
    "_emphasis_ __strong__ *emphasis* ~~gone~~",
    "    code",
    "\\",
    "\\[x](y)\\",
    "%s %d {0} {x} {config.x}",
    "=1+1",
    "'\" onmouseover=alert(1)",
    "x" * 5000,
]
HARMLESS = [
    "cat",
    "snow leopard",
    "a_b",
    "a-b",
    "1.5",
    "C++ and C#",
    "café",
    "猫",
    "किताब",
    "می‌خواهم",
    "👨‍👩‍👧",
    "n02123045",
    "O'Hare (ORD), 50 %",
    "train/cat/1.png",
]


def is_one_safe_line(text: str) -> bool:
    return all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp", "Cf") or c in "\u200c\u200d" for c in text)


def printed(show: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    """What a function writes, on either stream."""
    show()
    found = capsys.readouterr()
    return found.out + found.err


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_terminal_log_and_error_get_one_line(text: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    line = shown(text)
    assert is_one_safe_line(line)
    for error in (DataError(text), ConfigError(f"x: {text}")):
        assert is_one_safe_line(str(error))
        assert len(str(error)) <= MOST
    assert is_one_safe_line(one_line(ValueError(text)))

    def fails() -> None:
        with pytest.raises(SystemExit):
            ending.fail("program", [text], 2)

    assert printed(fails, capsys) == f"program: error: {shortened(line, MOST)}\n"
    if "\udce9" not in text:  # which leads to a file, see the next test
        assert printed(lambda: program.show_text([text]), capsys) == f"{line}\n"
        assert printed(lambda: program.show_uri("set", text), capsys) == f"set: {line}\n"
    with terminal.display():
        assert printed(lambda: terminal.say(text), capsys) == f"{line}\n"
        ended = printed(lambda: terminal.line(text).end("done"), capsys)
    assert ended.endswith(f" s  {line}: done\n")
    logging.getLogger("prefect.tasks").warning("nothing to see: %s", text)
    assert caplog.messages[-1] == f"nothing to see: {line}"


def test_the_place_of_a_result_still_leads_there() -> None:
    assert place("/data/caf\udce9/猫.html") == "/data/caf\udce9/猫.html"
    assert place("/data/\x1b[31m\n\udce9\ud800") == "/data/\\x1b[31m\\n\udce9\\ud800"


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_table_and_a_bar_take_text_as_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, where Rich would read [red] and :cat: as its own."""
    line = shown(text)
    screen = terminal.Screen()
    stream = io.StringIO()
    monkeypatch.setattr(screen, "_file", stream)
    monkeypatch.setattr(screen, "_force_terminal", True)
    monkeypatch.setattr(screen, "_color_system", None)
    screen.width = 20_000
    table = Table("name")
    table.add_row(line)
    screen.print(table)
    assert line in stream.getvalue()
    display = terminal.Display(screen)
    assert display.live is not None
    label = terminal.Line(display, text)
    label.advance(1, 2, text)
    screen.print(display.live.get_renderable())
    assert stream.getvalue().count(line.strip()) >= 2 + bool(line.strip())


@pytest.mark.parametrize("text", HOSTILE[::3], ids=ascii)
def test_a_setting_that_is_told_or_refused_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, status in (
        (["--dataset", text], 2),
        ([f"--{text}", "1"], 2),
        (["--explain", "--dataset=folder", f"--ingest.uri={text}"], 0),
    ):
        with pytest.raises(SystemExit) as caught:
            configure(arguments, "program", "Words.")
        found = capsys.readouterr()
        assert all(map(is_one_safe_line, (found.out + found.err).splitlines()))
        if "," not in text and "=" not in text:
            assert caught.value.code == status, found.err
            assert status == 0 or len((found.out + found.err).splitlines()) == 1


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_run_is_named_in_one_line(text: str) -> None:
    name = RunName("evaluate {arm} {config.number}").format(arm=text, config=type("Config", (), {"number": 3}))
    assert is_one_safe_line(name)
    assert len(name) <= LONGEST
    if len(text) < 100:
        assert name == f"evaluate {shown(text)} 3"


def parts(content: str) -> Iterator[tuple[str, str]]:
    """What a renderer that knows tables, HTML and bare links makes of Markdown: kinds of tokens that are no text, and the text."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for token in parser.parse(content):
        if token.type == "inline":
            yield from ((child.type, child.content) for child in token.children or [])
        else:
            yield token.type, token.content


@pytest.mark.parametrize("text", [*HOSTILE, *HARMLESS], ids=ascii)
def test_markdown_reads_it_as_text(text: str) -> None:
    said, meant = markdown(text), shown(text).strip(" ")
    for content, expected in (
        (said, ["paragraph_open", "text", "paragraph_close"]),
        (f"### {said}", ["heading_open", "text", "heading_close"]),
        (
            f"- {said}",
            ["bullet_list_open", "list_item_open", "paragraph_open", "text", "paragraph_close", "list_item_close", "bullet_list_close"],
        ),
    ):
        found = list(parts(content))
        kinds = [kind for kind, _ in found if kind != "text_special"]
        assert [kind for number, kind in enumerate(kinds) if kind != "text" or kinds[number - 1] != "text"] == expected
        assert "".join(words for kind, words in found if kind.startswith("text")) == meant
    # Bare addresses, which some renderers make links of, no longer look like ones.
    assert not any(mark in said for mark in ("http:/", "www.", "y@e"))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_arrives_as_it_is(text: str) -> None:
    assert shown(text) == text
    assert class_name(text) == text
    if not set(text) & set("+#"):
        assert markdown(text) == text


def test_a_class_keeps_the_name_that_it_always_had() -> None:
    """Fingerprints depend on it: format characters are escaped where they are shown, not where they are stored."""
    assert class_name("a\u202eb\ufeff\nc\udce9") == "a\u202eb\ufeff\\nc\\xe9"


def test_a_spreadsheet_calculates_nothing() -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([spreadsheet(text) for text in ("=1+1", "+1", "-1", "@x", "cat", "a,b", "\nx")])
    assert stream.getvalue() == "'=1+1,'+1,'-1,'@x,cat,\"a,b\",\\nx\r\n"


def test_no_two_texts_are_one_in_a_spreadsheet() -> None:
    texts = ["=a", "'=a", "''=a", "a", "'a", "'", ""]
    assert len({spreadsheet(text) for text in texts}) == len(texts)
    assert (spreadsheet("'=a"), spreadsheet("'a")) == ("''=a", "'a")


def test_latex_prints_what_it_would_obey() -> None:
    assert latex(r"50% of $x_1^2$ & \input{x}~#") == r"50\% of \$x\_1\textasciicircum{}2\$ \& \textbackslash{}input\{x\}\textasciitilde{}\#"


def test_what_is_long_keeps_its_beginning_and_its_end() -> None:
    assert shortened("abc", 3) == "abc"
    text = shortened("".join(map(str, range(1000))), 60)
    assert len(text) == 60
    assert (text[:10], text[-3:]) == ("0123456789", "999")


@pytest.mark.parametrize(
    "name",
    [*["", ".", "..", "../up", "/etc", "a/b", "a\\b", "a\0b", "a\nb", "\u202ex", "CON", "nul", "com1.txt", "LPT¹", "a.", "a "],
     *["a:b", "a*", "<a>", "é" * 200, ".git"]],
    ids=ascii,
)  # fmt: skip
def test_no_folder_is_named_so(name: str) -> None:
    with pytest.raises(ConfigError, match=r"class name .*: export to parquet or safetensors$"):
        check_folder_names(["cat", name])


@pytest.mark.parametrize("pair", [("cat", "cat"), ("cat", "Cat"), ("é", "e\u0301"), ("ß", "SS")])
def test_two_classes_are_two_folders(pair: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="where case does not count"):
        check_folder_names(pair)


def test_usual_names_are_folders() -> None:
    check_folder_names([*HARMLESS[:-1], "console", "com10", "nullable", "a.b", "~x", "#1", "[red]", "![x](y)", "`x`"])
