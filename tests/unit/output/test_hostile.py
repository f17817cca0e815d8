"""Every hostile text in every place in every format: none steers, none breaks what holds it."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from secops.errors import UsageError
from secops.output import Format, Output
from secops.output.outcome import Outcome
from secops.output.safe import csv_cell, inert
from support.screens import HOSTILE, said, steering

SAMPLES = [pytest.param(text, id=name) for name, text in HOSTILE.items()]
TEXT = st.text(st.characters(exclude_categories=())) | st.sampled_from(sorted(HOSTILE.values()))


def everywhere(output: Output, text: str) -> None:
    """Print a text in every place where one can stand."""
    output.rows([text, "b"], [[text, 1], [None, 2]], title=text, severity="b", empty=text)
    output.rows(["a", "severity"], [["x", text], [[text], {text: text}]], severity="severity")
    output.rows([text], [], title=text, empty=text)
    output.line(text)
    output.document({text: text, "list": [text, {text: [text]}]}, [text, f"    {text}"])
    output.note(text)
    output.warn(text)
    output.error(UsageError(text, hint=text, details={text: text}))
    item = {text: text, "email": text}
    for dry_run in (False, True):
        output.outcome(
            Outcome(
                text, dry_run, 1, 1, [item], summary=text, undo=text, operation_id=text, extra=item
            )
        )
    output.outcome(Outcome(text, False, 0, 0))


@pytest.mark.parametrize("text", SAMPLES)
@pytest.mark.parametrize("tty", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("format", list(Format))
def test_nothing_steers_wherever_it_stands(format: Format, tty: bool, text: str) -> None:
    out, err = said(lambda output: everywhere(output, text), format, tty=tty, no_color=True)
    assert not steering(out)
    assert not steering(err)


@given(TEXT, st.sampled_from(list(Format)), st.booleans())
def test_no_text_at_all_steers(text: str, format: Format, tty: bool) -> None:
    out, err = said(lambda output: everywhere(output, text), format, tty=tty, no_color=True)
    assert not steering(out)
    assert not steering(err)


@pytest.mark.parametrize("text", SAMPLES)
@pytest.mark.parametrize("columns", ["20", "60", "200"])
def test_a_coloured_terminal_gets_our_colours_and_no_other_escape(
    monkeypatch: pytest.MonkeyPatch, columns: str, text: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    out, err = said(lambda output: everywhere(output, text), tty=True)
    assert "\x1b[1m" in out
    assert "\x1b[1;31m" in err
    assert not steering(out, colours=True)
    assert not steering(err, colours=True)
    assert "\x1b]" not in out
    assert "\x1b[2J" not in out


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[list[str]] = []
        self.headings: list[str] = []
        self._open = ""
        self._words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.cells.append([])
        self._words = ""

    def handle_data(self, data: str) -> None:
        self._words += data

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self.cells[-1].append(self._words)
        if tag in {"caption", "title"}:
            self.headings.append(self._words)


def assert_html_holds(columns: list[str], rows: list[list[str]], title: str) -> None:
    out, _ = said(lambda output: output.rows(columns, rows, title=title), Format.HTML)
    page = Page(out)
    assert page.cells == [[inert(cell) for cell in row] for row in [columns, *rows]]
    assert page.headings == [inert(title) or "secops"] + ([inert(title)] if title else [])
    assert page.tags <= {
        "html", "head", "meta", "title", "style", "body",
        "table", "caption", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert page.attributes <= {"lang", "charset", "http-equiv", "content", "name", "scope", "class"}


def assert_csv_holds(columns: list[str], rows: list[list[str]], title: str) -> None:
    out, _ = said(lambda output: output.rows(columns, rows, title=title), Format.CSV)
    assert out.count("\n") == len(rows) + 1
    read = list(csv.reader(io.StringIO(out), strict=True))
    # An only and empty cell is written as "", but an empty line is no row: csv reads [""] from the first.
    assert read == [[csv_cell(cell) for cell in row] for row in [columns, *rows]]
    assert not [
        cell
        for row in read
        for cell in row
        if cell.lstrip()[:1] in set("=+-@\uff1d\uff0b\uff0d\uff20")
    ]


def assert_markdown_holds(columns: list[str], rows: list[list[str]], title: str) -> None:
    out, _ = said(lambda output: output.rows(columns, rows, title=title), Format.MARKDOWN)
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = parser.parse(out)
    if title.strip() and inert(title).strip():
        assert tokens[0].tag == "h2"
    read: list[list[str]] = []
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            read.append([])
        if token.type == "inline" and before.tag in {"td", "th"}:
            children = token.children or []
            assert {each.type for each in children} <= {"text", "text_special"}, children
            read[-1].append("".join(each.content for each in children))
    assert [[cell.split() for cell in row] for row in read] == [
        [inert(cell).split() for cell in row] for row in [columns, *rows]
    ]


def assert_json_holds(columns: list[str], rows: list[list[str]], title: str) -> None:
    names = [columns[0], *(f"{name}{number}" for number, name in enumerate(columns[1:]))]
    expected = [dict(zip(names, row, strict=True)) for row in rows]
    if len(set(names)) < len(names):
        return  # numbered, which has a test of its own
    out, _ = said(lambda output: output.rows(names, rows, title=title), Format.JSON)
    assert json.loads(out) == expected
    out, _ = said(lambda output: output.rows(names, rows, title=title), Format.JSONL)
    assert [json.loads(line) for line in out.splitlines()] == expected


def assert_table_holds(columns: list[str], rows: list[list[str]], title: str) -> None:
    out, _ = said(lambda output: output.rows(columns, rows, title=title))
    lines = out.splitlines()
    assert len(lines) == len(rows) + 2 + bool(title)
    for line, row in zip(lines[-len(rows) :], rows, strict=True):
        for cell in row:
            assert inert(cell).rstrip(" ") in line


CHECKS = [
    assert_html_holds,
    assert_csv_holds,
    assert_markdown_holds,
    assert_json_holds,
    assert_table_holds,
]


@pytest.mark.parametrize("text", SAMPLES)
@pytest.mark.parametrize("check", CHECKS)
def test_a_hostile_text_stays_in_its_cell(check: Any, text: str) -> None:
    check([text, "b"], [[text, "x"], ["y", text]], text)


@given(st.data(), st.sampled_from(CHECKS), st.integers(1, 4), TEXT)
def test_any_text_stays_in_its_cell(
    data: st.DataObject, check: Any, width: int, title: str
) -> None:
    row = st.lists(TEXT, min_size=width, max_size=width)
    check(data.draw(row), data.draw(st.lists(row, min_size=1, max_size=5)), title)


def test_a_message_cannot_pretend_to_be_another_line() -> None:
    _, err = said(lambda output: output.error(UsageError("no bob\nDone.", hint="run\nError: this")))
    assert err == "Error: no bob\\nDone.\n  run\n  Error: this\n"


def test_a_whole_error_in_json_is_one_line() -> None:
    _, err = said(lambda output: output.error(UsageError("a\nb", details={"n": 1})), Format.JSON)
    assert json.loads(err) == {
        "error": {"code": "usage", "exit": 2, "message": "a\nb", "hint": "", "details": {"n": 1}}
    }
    assert err.count("\n") == 1
