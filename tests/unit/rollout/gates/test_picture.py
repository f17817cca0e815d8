"""What gates said, as drawings."""

from __future__ import annotations

from dataclasses import replace

from secops.output.plot import Level
from secops.rollout.gates.gate import Reading, Verdict, restored
from secops.rollout.gates.picture import picture, pictures
from support.gates import HOUR, MINUTE, asked, steady, watch


def test_a_series_is_drawn_with_what_was_before_and_what_is_tolerated() -> None:
    readings = asked(watch(steady(factor=2)), HOUR + MINUTE, 2 * HOUR + MINUTE, pure=HOUR)
    kept = [restored(each.as_dict()) for each in readings]
    plot = picture(kept)
    assert plot.title == "login_failures (sql_ratio)"
    assert plot.verdict == readings[-1].verdict.value
    assert len(plot.dots) == 24
    assert [dot.full for dot in plot.dots] == [False] * 12 + [True] * 12
    assert [level.label for level in plot.levels] == ["before", "tolerated"]
    assert plot.levels[1].strict


def test_a_reading_that_came_twice_is_drawn_once() -> None:
    readings = asked(watch(steady()), HOUR + MINUTE)
    assert len(picture([*readings, *readings]).dots) == 12


def test_an_error_at_the_end_does_not_hide_what_was_seen() -> None:
    readings = asked(watch(steady()), HOUR + MINUTE)
    failed = Reading("login_failures", "sql_ratio", Verdict.ERROR, "It could not be counted.")
    plot = picture([*readings, failed])
    assert plot.verdict == "error"
    assert len(plot.dots) == 12
    assert len(plot.levels) == 2


def test_each_gate_has_its_own_drawing() -> None:
    (one,) = asked(watch(steady()), HOUR + MINUTE)
    other = replace(one, gate="live", kind="live", unit="yes", baseline=None, limit=None)
    first, second = pictures([one, other, one])
    assert (first.title, second.title) == ("login_failures (sql_ratio)", "live (live)")
    assert second.levels == []


def test_a_given_limit_is_drawn_once() -> None:
    (one,) = asked(watch(steady(), limit="5%"), HOUR + MINUTE)
    assert picture([one]).levels == [Level("tolerated", 0.05, strict=True)]
