"""A series drawn: the same model as text and as SVG, and nothing in it comes alive."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secops.output import Format, Output
from secops.output.plot import Dot, Level, Plot
from secops.output.plot_svg import svg
from secops.output.plot_text import draw

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RISING = Plot(
    "login_failures (sql_ratio)",
    "share",
    [Dot(NOON + n * MINUTE, 0.08 if n < 30 else 0.16, full=n >= 10, weight=20) for n in range(40)],
    [Level("before", 0.08), Level("tolerated", 0.1, strict=True)],
    "fail",
    "More than is tolerated.",
    "high",
)


def test_text_shows_dots_levels_times_and_verdict() -> None:
    lines = draw(RISING, 80)
    assert lines[0] == "login_failures (sql_ratio)"
    high = next(line for line in lines if line.lstrip().startswith("16 %"))
    assert "●" in high
    assert any("─ tolerated 10 %" in line for line in lines)
    usual = next(line for line in lines if "before 8 %" in line)
    assert "○" in usual
    assert "●" in usual
    assert usual.index("○") < usual.index("●")
    assert "12:00" in lines[-3]
    assert "12:39 UTC" in lines[-3]
    assert lines[-1] == "FAIL: More than is tolerated."


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_text_fits_its_terminal(width: int) -> None:
    lines = draw(RISING, width)
    # Narrower than a drawing can be it stays as narrow as it can.
    assert max(len(line) for line in lines[1:-2]) <= max(width, 52)


def test_ascii_alone_will_do() -> None:
    assert "\n".join(draw(RISING, 80, unicode=False)).isascii()


def test_many_dots_of_a_column_are_drawn_at_their_weighted_mean() -> None:
    plot = Plot("x", "share", [
        Dot(NOON, 0.0, weight=1), Dot(NOON + timedelta(seconds=1), 0.8, weight=0),
        Dot(NOON + timedelta(hours=9), 0.8),
    ])  # fmt: skip
    assert draw(plot, 60)[-3].lstrip().startswith("0 %┤●")


@pytest.mark.parametrize(
    "plot",
    [
        Plot("empty", "share", []),
        Plot("unmeasured", "share", [Dot(NOON, None)]),
        Plot("one", "s", [Dot(NOON, 0.2)]),
        Plot("zero", "share", [Dot(NOON, 0.0)]),
        Plot("yes", "yes", [Dot(NOON, 1.0), Dot(NOON + MINUTE, 0.0)]),
        Plot("all", "share", [Dot(NOON, 1.0)], [Level("tolerated", 0.97, strict=True)]),
    ],
    ids=lambda plot: plot.title,
)
def test_edges_are_drawn_too(plot: Plot) -> None:
    assert draw(plot)
    ET.fromstring(svg(plot))


MEAN = "<script>alert(1)</script>\x1b[31m\u202e&\"'"


def test_no_text_comes_alive() -> None:
    plot = Plot(
        MEAN, "share", [Dot(NOON, 0.1, full=False)], [Level(MEAN, 0.2)], MEAN, MEAN, MEAN, MEAN
    )
    text = "\n".join(draw(plot))
    assert "\x1b" not in text
    assert "\u202e" not in text
    drawn = svg(plot)
    assert "<script" not in drawn
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn
    ET.fromstring(drawn)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.none() | st.floats(0, 1),
            st.booleans(),
            st.integers(0, 1000),
        ),
        max_size=60,
    ),
    st.sampled_from(["share", "s", "yes"]),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_any_series_can_be_drawn(dots: list[Any], unit: str, levels: list[float]) -> None:
    plot = Plot(
        "any",
        unit,
        [
            Dot(NOON + timedelta(seconds=at), value, full, weight)
            for at, value, full, weight in sorted(dots, key=lambda each: each[0])
        ],
        [Level(f"level {number}", value) for number, value in enumerate(levels)],
        "pass",
    )
    lines = draw(plot, 80)
    assert all(line.isprintable() for line in lines)
    root = ET.fromstring(svg(plot))
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len([each for each in dots if each[1] is not None])
    assert all(0 <= float(each.attrib["cy"]) <= 320 for each in circles)


def printed(form: Format) -> str:
    out = io.StringIO()
    Output(form, stdout=out).plots([RISING, RISING])
    return out.getvalue()


def test_html_holds_the_drawing_and_needs_nothing_else() -> None:
    page = printed(Format.HTML)
    assert page.count("<svg") == 2
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_the_other_formats_hold_the_numbers() -> None:
    found = json.loads(printed(Format.JSON))
    assert [each["verdict"] for each in found] == ["fail", "fail"]
    assert found[0]["dots"][0] == {
        "at": "2026-11-24T12:00:00+00:00", "value": 0.08, "counted": False, "weight": 20,
    }  # fmt: skip
    assert found[0]["levels"][1] == {"label": "tolerated", "value": 0.1, "strict": True}
    assert printed(Format.CSV).splitlines()[1] == (
        "login_failures (sql_ratio),2026-11-24T12:00:00+00:00,0.08,false,20"
    )
    assert printed(Format.MARKDOWN).startswith("```text\nlogin_failures")
    assert len(printed(Format.JSONL).splitlines()) == 2
