"""Colour and width are decided once, by flag, environment and stream."""

from __future__ import annotations

import io

import pytest

from secops.output.terminal import Stream
from support.screens import Tty


@pytest.mark.parametrize(
    ("tty", "no_color", "environ", "coloured", "drawn"),
    [
        (True, False, {}, True, True),
        (False, False, {}, False, False),
        (True, True, {}, False, True),
        (True, True, {"FORCE_COLOR": "1"}, False, True),
        (True, False, {"NO_COLOR": "1"}, False, True),
        (True, False, {"NO_COLOR": "0"}, False, True),  # any value but none, says no-color.org
        (True, False, {"NO_COLOR": ""}, True, True),
        (True, False, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
        (False, False, {"FORCE_COLOR": "1"}, True, False),
        (True, False, {"FORCE_COLOR": "0"}, False, True),
        (True, False, {"TERM": "dumb"}, False, False),
        (True, False, {"TERM": "dumb", "FORCE_COLOR": "1"}, True, False),
    ],
)
def test_who_decides_on_colour(
    tty: bool, no_color: bool, environ: dict[str, str], coloured: bool, drawn: bool
) -> None:
    stream = Stream(Tty() if tty else io.StringIO(), no_color=no_color, environ=environ)
    assert stream.colour is coloured
    assert stream.drawn is drawn


@pytest.mark.parametrize(
    ("columns", "width"),
    [("132", 132), ("", 80), ("0", 80), ("-5", 80), ("many", 80), ("9" * 5000, 999_999)],
)
def test_columns_is_respected_where_it_is_a_number(columns: str, width: int) -> None:
    assert Stream(Tty(), environ={"COLUMNS": columns}).width == width


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not Stream(stream, environ={}).terminal


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_what_the_encoding_lacks_is_escaped(encoding: str) -> None:
    raw = io.BytesIO()
    stream = Stream(io.TextIOWrapper(raw, encoding=encoding, newline=""), environ={})
    stream.write("名 a\n")
    stream.flush()
    assert raw.getvalue() == b"\\u540d a\n"
    assert not stream.unicode
