"""Results come out row by row, in each format as its readers expect it."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from secops.output import Format, Output
from secops.output.as_json import distinct
from support.screens import Tty, said

COLUMNS = ["email", "failures", "last", "severity"]
ROWS = [
    ["zoë@example.com", 12, datetime(2026, 11, 24, 9, tzinfo=UTC), "critical"],
    ["名前@example.com", 7, None, "info"],
]


def test_a_piped_table_has_no_box_no_colour_and_is_not_cut() -> None:
    out, err = said(lambda o: o.rows(COLUMNS, [*ROWS, ["x" * 200, 1, None, ""]], title="Logins"))
    lines = out.splitlines()
    assert lines[0] == "Logins"
    assert lines[1].split() == COLUMNS
    assert set(lines[2]) == {"-", " "}
    assert "x" * 200 in lines[-1]
    assert "\x1b" not in out
    assert not err
    # Where a column begins does not depend on how wide the letters before it are, as rich measures them.
    assert cell_len(lines[3][: lines[3].index("2026")]) == cell_len(
        lines[1][: lines[1].index("last")]
    )
    assert cell_len(lines[3][: lines[3].index("12 ")]) + 1 == cell_len(
        lines[4][: lines[4].index("7")]
    )


def test_markdown_aligns_numbers_to_the_right() -> None:
    out, _ = said(lambda o: o.rows(COLUMNS, ROWS, title="Logins"), Format.MARKDOWN)
    assert out.splitlines()[:4] == [
        "## Logins",
        "",
        "| email | failures | last | severity |",
        "| --- | ---: | --- | --- |",
    ]


def test_csv_keeps_numbers_and_writes_times_for_machines() -> None:
    row = [-5, -1.5, Decimal("-2.50"), ROWS[0][2], True]
    out, _ = said(lambda o: o.rows(["n", "f", "d", "t", "ok"], [row]), Format.CSV)
    assert out == "n,f,d,t,ok\n-5,-1.5,-2.50,2026-11-24T09:00:00+00:00,true\n"


def test_json_is_one_array_of_objects_one_a_line() -> None:
    out, _ = said(lambda o: o.rows(["a", "b"], [[1, None], ["Zoë", True]], title="T"), Format.JSON)
    assert out == '[\n{"a": 1, "b": null},\n{"a": "Zoë", "b": true}\n]\n'


def test_json_lines_is_one_object_a_line() -> None:
    out, _ = said(lambda o: o.rows(["a"], [[1], [2]]), Format.JSONL)
    assert out == '{"a": 1}\n{"a": 2}\n'


@pytest.mark.parametrize(
    ("format", "printed"),
    [
        (Format.TABLE, "T\nNo locks.\n"),
        (Format.MARKDOWN, "## T\n\nNo locks.\n"),
        (Format.JSON, "[]\n"),
        (Format.JSONL, ""),
        (Format.CSV, "a,b\n"),
    ],
)
def test_no_rows_are_said_on_stdout(format: Format, printed: str) -> None:
    assert said(lambda o: o.rows(["a", "b"], [], title="T", empty="No locks."), format) == (
        printed,
        "",
    )


def test_no_rows_in_html_are_a_page_with_the_sentence() -> None:
    out, _ = said(lambda o: o.rows(["a"], [], title="T", empty="No locks."), Format.HTML)
    assert out.endswith("<h2>T</h2>\n<p>No locks.</p>\n")


def test_a_page_forbids_everything_and_names_its_columns() -> None:
    def page(output: Output) -> None:
        output.rows(COLUMNS, ROWS, title="T", severity="severity")
        output.line("Done.")

    out, _ = said(page, Format.HTML)
    assert out.count("<!DOCTYPE html>") == out.count("<html") == out.count("</style>") == 1
    assert (
        "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\""
        in out
    )
    assert out.index("Content-Security-Policy") < out.index("<style>")
    assert '<th scope="col">email</th>' in out
    assert '<tr class="critical">' in out
    assert "<tr><td>名前" in out
    assert "prefers-color-scheme: dark" in out
    assert "<script" not in out
    assert "http://" not in out
    assert "https://" not in out


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1000, 1001, 2345])
def test_rows_says_how_many_there_were(format: Format, count: int) -> None:
    counted = []
    out, _ = said(lambda o: counted.append(o.rows(["n"], ([n] for n in range(count)))), format)
    assert counted == [count]
    if format is Format.JSON:
        assert [each["n"] for each in json.loads(out)] == list(range(count))
    if format in {Format.JSONL, Format.CSV, Format.TABLE} and count:
        assert f"{count - 1}" in out.splitlines()[-1]


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize("row", [[1], [1, 2, 3]])
def test_a_row_of_another_length_is_no_row(format: Format, row: list[int]) -> None:
    with pytest.raises(ValueError, match="values for 2 columns"):
        said(lambda o: o.rows(["a", "b"], [row]), format)


@pytest.mark.parametrize("format", list(Format))
def test_what_fails_before_the_first_row_prints_nothing(format: Format) -> None:
    out = io.StringIO()

    def broken() -> Iterator[list[int]]:
        yield from [[1 // (number - number)] for number in range(3)]

    with pytest.raises(ZeroDivisionError):
        Output(format, stdout=out).rows(["a"], broken(), title="T")
    assert not out.getvalue()


class Nowhere(io.StringIO):
    def write(self, text: str, /) -> int:
        return len(text)


@pytest.mark.parametrize("format", list(Format))
def test_rows_do_not_pile_up(format: Format) -> None:
    def peak(count: int) -> int:
        output = Output(format, stdout=Nowhere())
        tracemalloc.start()
        try:
            output.rows(["n", "text"], ([n, f"{n} " + "x" * 100] for n in range(count)))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2_000)
    assert peak(20_000) < 1.5 * peak(2_000)


def test_columns_of_one_name_are_numbered_in_json() -> None:
    out, _ = said(lambda o: o.rows(["n", "n", "n_2"], [[1, 2, 3]]), Format.JSON)
    assert json.loads(out) == [{"n": 1, "n_3": 2, "n_2": 3}]


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "a_2_2", "b"])))
def test_distinct_names_are_distinct_and_keep_what_need_not_change(names: list[str]) -> None:
    made = distinct(names)
    assert len(set(made)) == len(made) == len(names)
    for number, name in enumerate(names):
        if name not in names[:number]:
            assert made[number] == name


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_stays_json_whatever_the_encoding(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    Output(Format.JSON, stdout=stream).rows(["名"], [["é 名 😀 \x7f"]])
    assert json.loads(raw.getvalue().decode("ascii")) == [{"名": "é 名 😀 \x7f"}]


def test_html_stays_html_whatever_the_encoding() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    Output(Format.HTML, stdout=stream).rows(["a"], [["名"]])
    assert b"<td>&#21517;</td>" in raw.getvalue()


def test_several_results_are_parted() -> None:
    def twice(output: Output) -> None:
        output.rows(["a"], [[1]])
        output.rows(["b"], [[2]])

    assert said(twice)[0] == "a\n-\n1\n\nb\n-\n2\n"
    assert said(twice, Format.CSV)[0] == "a\n1\n\nb\n2\n"
    assert said(twice, Format.MARKDOWN)[0] == "| a |\n| ---: |\n| 1 |\n\n| b |\n| ---: |\n| 2 |\n"


# On a terminal.


def test_a_terminal_colours_a_row_by_its_severity() -> None:
    out, _ = said(lambda o: o.rows(COLUMNS, ROWS, severity="severity"), tty=True)
    (critical,) = [line for line in out.splitlines() if "zoë" in line]
    assert critical.startswith("\x1b[1;31m")
    assert critical.endswith("\x1b[0m")
    (harmless,) = [line for line in out.splitlines() if "名前" in line]
    assert "\x1b" not in harmless
    plain, _ = said(lambda o: o.rows(COLUMNS, ROWS, severity="severity"), tty=True, no_color=True)
    assert "\x1b" not in plain


def test_a_severity_column_that_is_not_there_colours_nothing() -> None:
    assert said(lambda o: o.rows(["a"], [["high"]], severity="severity"), tty=True, no_color=False)


@given(
    st.data(),
    st.integers(20, 200),
    st.integers(1, 12),
    st.booleans(),
)
def test_nothing_is_lost_however_narrow_the_terminal(
    data: st.DataObject, columns: int, many: int, coloured: bool
) -> None:
    words = st.text("abcdefgh-é名 ", max_size=120)
    row = st.lists(words, min_size=many, max_size=many)
    names = [f"column{number}" for number in range(many)]
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        out, _ = said(lambda o: o.rows(names, rows), tty=True, no_color=not coloured)
    shown = re.sub(r"\x1b\[[\d;]*m", "", out)
    for line in shown.splitlines():
        assert cell_len(line.rstrip()) <= columns
    for letter in "abcdefgh-é名":
        written = sum(cell.count(letter) for cells in [names, *rows] for cell in cells)
        assert shown.count(letter) >= written, letter


def test_a_word_longer_than_its_column_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out, _ = said(lambda o: o.rows(["email", "agent"], [["bob@example.com", "x" * 150]]), tty=True)
    assert out.count("x") == 150 + "bob@example.com".count("x")
    assert "…" not in out


def test_a_cell_that_would_fill_the_screen_is_shortened_there_and_nowhere_else() -> None:
    long = "x" * 10_000
    out, _ = said(lambda o: o.rows(["agent"], [[long]]), tty=True)
    assert "(10,000 characters)" in out.replace("\n", " ")
    assert out.count("x") < 500
    for other in Format:
        assert said(lambda o: o.rows(["agent"], [[long]]), other)[0].count("x") >= 10_000


def test_too_many_columns_become_a_block_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    names = [f"column_{number}" for number in range(12)]
    out, _ = said(lambda o: o.rows(names, [range(12), range(12)]), tty=True, no_color=True)
    assert "column_3   3\n" in out
    assert out.count("column_11  11\n") == 2


def test_a_short_table_on_a_terminal_is_flushed() -> None:
    class Counting(Tty):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Counting()
    Output(stdout=stream).rows(["a"], [[1]])
    assert stream.flushed
