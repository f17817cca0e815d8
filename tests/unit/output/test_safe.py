"""Text from outside is made inert, whatever it is and wherever it goes."""

from __future__ import annotations

import csv
import html
import io
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from secops.output.safe import csv_cell, html_text, inert, markdown_line, markdown_text
from support.screens import HOSTILE, steering

TEXT = st.text(st.characters(exclude_categories=())) | st.sampled_from(sorted(HOSTILE.values()))
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def test_every_steering_character_of_unicode_is_escaped() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        shown = inert(f"a{character}b")
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
            assert shown.startswith("a\\"), hex(code)
            assert shown.isascii(), hex(code)


@pytest.mark.parametrize(
    "text",
    ["Zoë", "名前", "O'Brien", "Łódź", "👍🏽", "❤\ufe0f", "עברית", "a\xa0b", "x\\y", "", "\ufffd"],
)
def test_what_people_are_called_stays_as_it_is(text: str) -> None:
    assert inert(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x9b", r"\x9b"),
        ("\u202e", r"\u202e"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("\u3164", r"\u3164"),
    ],
)
def test_what_steers_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert inert(text) == shown


@given(TEXT)
def test_inert_text_is_one_harmless_line_and_stays_so(text: str) -> None:
    shown = inert(text)
    assert not steering(shown)
    assert len(shown.splitlines()) <= 1
    assert inert(shown) == shown
    shown.encode()


@given(TEXT)
def test_no_csv_cell_begins_a_formula_even_where_semicolons_part_cells(text: str) -> None:
    cell = csv_cell(text)
    assert not steering(cell)
    for part in cell.split(";"):
        assert not part.lstrip().lstrip('"').lstrip().startswith(FORMULA) or part is cell
    assert not cell.lstrip().startswith(FORMULA)


@given(
    TEXT.filter(
        lambda text: (
            not text.startswith(FORMULA)
            and not text.lstrip().startswith(FORMULA)
            and ";" not in text
        )
    )
)
def test_csv_leaves_what_is_no_formula_alone(text: str) -> None:
    assert csv_cell(text) == inert(text)


def test_an_apostrophe_stands_before_a_formula() -> None:
    assert csv_cell("=1+1") == "'=1+1"
    assert csv_cell("\t=1+1") == r"'\t=1+1"
    assert csv_cell("\tx") == r"'\tx"
    assert csv_cell("\rx") == r"'\rx"
    assert csv_cell("\uff1d1") == "'\uff1d1"
    assert csv_cell("Mozilla; +http://bot") == "Mozilla; '+http://bot"


@given(TEXT)
def test_markdown_reads_back_as_the_text_and_nothing_else(text: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for escape in (markdown_text, markdown_line):
        written = escape(text)
        assert not steering(written)
        for paragraph in (f"x {written} x", written):
            if escape is markdown_text and paragraph is written:
                continue  # it may not begin a line
            shown = parser.render(paragraph)
            words = re.sub(r"^<p>|</p>$", "", shown.strip())
            assert "<" not in words, shown
            plain = html.unescape(words).split()
            assert plain == inert(text).split() or plain == ["x", *inert(text).split(), "x"]


@pytest.mark.parametrize(
    "text", ["- a", "+ a", "1. a", "23) a", "# a", "=== ", "---", "> a", "    code"]
)
def test_a_line_of_markdown_begins_no_block(text: str) -> None:
    shown = MarkdownIt("commonmark").render(f"before\n\n{markdown_line(text)}\n")
    assert re.findall(r"<(\w+)", shown) == ["p", "p"]


@pytest.mark.parametrize(
    "text", ["http://evil.example/x", "https://evil.example", "www.evil.example"]
)
def test_markdown_makes_no_links_of_addresses(text: str) -> None:
    # GitHub's extended autolinks begin with exactly these (GFM spec, 6.9).
    assert not re.search(r"https?://|www\.", markdown_text(text))


@given(TEXT)
def test_html_reads_back_as_the_text(text: str) -> None:
    written = html_text(text)
    assert not set(written) & set("<>\"'")
    assert html.unescape(written) == inert(text)


@pytest.mark.parametrize("start", FORMULA)
@pytest.mark.parametrize("before", ["", " ", "\xa0 "])
def test_each_start_of_a_formula_gets_an_apostrophe(before: str, start: str) -> None:
    blank = start.isspace() and before  # then it is no start any more
    assert csv_cell(f"{before}{start}x") == ("" if blank else "'") + inert(f"{before}{start}x")
    if not start.isspace():
        assert csv_cell(f"a; {start}x") == f"a; '{start}x"


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_a_csv_line_has_as_many_cells_as_were_written(cells: list[str]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([csv_cell(cell) for cell in cells])
    assert list(csv.reader(io.StringIO(buffer.getvalue()))) == [[csv_cell(cell) for cell in cells]]
