"""Progress is shown where somebody sees it, and is out of the way of everything else."""

from __future__ import annotations

import io
import re
import time

import pytest

from secops.output import Format, Output
from secops.output.drawn_progress import figures
from secops.output.late_progress import DELAY, LateBar
from secops.output.progress import SILENT
from secops.output.terminal import Stream
from support.screens import Tty, said


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bars appear without waiting."""
    monkeypatch.setattr(LateBar.__init__, "__kwdefaults__", {"delay": 0})


def run(output: Output) -> None:
    with output.progress("Pruning", total=1_000) as progress:
        progress.advance(500)
        progress.describe("Sweeping\x1b[2J[red]")
        progress.advance()


@pytest.mark.parametrize(("tty", "quiet"), [(False, False), (True, True)], ids=["piped", "quiet"])
def test_nobody_sees_progress_in_a_log_or_when_quiet(tty: bool, quiet: bool) -> None:
    assert said(run, tty=tty, quiet=quiet) == ("", "")


def test_a_dumb_terminal_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert said(run, tty=True) == ("", "")


@pytest.mark.parametrize("format", [Format.TABLE, Format.JSON])
def test_a_terminal_sees_how_far_it_is_on_stderr_only(format: Format) -> None:
    out, err = said(run, format, tty=True)
    assert not out
    assert "Pruning" in err
    assert "501 of 1,000 rows" in err
    assert r"Sweeping\x1b[2J[red]" in err
    assert "\x1b[2J" not in err
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") == 1  # the cursor comes back


def test_without_colour_a_bar_has_none() -> None:
    _, err = said(run, tty=True, no_color=True)
    assert "501 of 1,000 rows" in err
    assert not re.search(r"\x1b\[[0-9;]*m", err)


def test_the_cursor_comes_back_after_a_failure() -> None:
    err = Tty()
    output = Output(stderr=err)
    with pytest.raises(RuntimeError), output.progress("Pruning"):
        raise RuntimeError
    assert err.getvalue().count("\x1b[?25h") == 1
    output.note("after")
    assert err.getvalue().endswith("after\n")


def test_text_takes_the_bar_off_the_screen_first() -> None:
    def speak(output: Output) -> None:
        with output.progress("Pruning", total=10):
            output.note("By the way.")

    _, err = said(speak, tty=True)
    before, after = err.split("By the way.\n")
    # The bar's line was erased and the cursor stands at its beginning.
    assert before.rstrip("\n").endswith("\x1b[2K")
    assert "Pruning" in after


def test_progress_inside_progress_is_silent() -> None:
    output = Output(stderr=Tty())
    with output.progress("outer") as outer, output.progress("inner") as inner:
        assert outer is not SILENT
        assert inner is SILENT
    with output.progress("next") as following:
        assert following is not SILENT


@pytest.mark.parametrize(
    ("done", "total", "speed", "shown"),
    [
        (0, 50_000, None, "0 of 50,000 rows"),
        (12_000, 50_000, 3_100, "12,000 of 50,000 rows, 3,100/s, 12 s left"),
        (1, 10_000, 0.5, "1 of 10,000 rows, 0.5/s, 5 h 33 min left"),
        (12_000, None, 3_100, "12,000 rows, 3,100/s"),
        (50_000, 50_000, 3_100, "50,000 of 50,000 rows, 3,100/s"),
        (50_001, 50_000, 3_100, "50,001 of 50,000 rows, 3,100/s"),
        (1, 10**18, 1e-9, "1 of 1,000,000,000,000,000,000 rows, 0.0/s"),
    ],
)
def test_rate_and_time_left(
    done: float, total: float | None, speed: float | None, shown: str
) -> None:
    assert figures(done, total, speed, "rows") == shown


def test_silence_takes_everything() -> None:
    SILENT.advance()
    SILENT.advance(5)
    SILENT.describe("x")


def test_a_stream_that_is_closed_shows_nothing() -> None:
    closed = io.StringIO()
    closed.close()
    with Output(stdout=io.StringIO(), stderr=closed).progress("x") as progress:
        assert progress is SILENT


def test_what_ends_soon_shows_no_bar() -> None:
    terminal = Tty()
    with LateBar(Stream(terminal), "Counting", 10, "rows", delay=60) as progress:
        progress.advance()
        progress.describe("Counting on")
    assert not terminal.getvalue()
    assert DELAY > 0


def test_what_takes_long_shows_one_with_what_was_done_before() -> None:
    terminal = Tty()
    with LateBar(Stream(terminal), "Counting", 10, "rows", delay=0.05) as progress:
        progress.advance(4)
        progress.describe("Counting on")
        deadline = time.monotonic() + 30
        while "4 of 10 rows" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        progress.advance()
    assert "Counting on" in terminal.getvalue()
    assert "5 of 10 rows" in terminal.getvalue()
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1


def test_no_bar_appears_while_something_is_printed_or_asked() -> None:
    terminal = Tty()
    with LateBar(Stream(terminal), "Counting", 10, "rows", delay=0.01) as progress:
        with progress.aside():
            time.sleep(0.2)
            assert not terminal.getvalue()
        deadline = time.monotonic() + 30
        while "Counting" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "Counting" in terminal.getvalue()


def test_a_bar_that_comes_too_late_does_not_come() -> None:
    terminal = Tty()
    late = LateBar(Stream(terminal), "Counting", 10, "rows", delay=0.01)
    with late.aside(), late:
        time.sleep(0.1)  # the timer has gone off and waits for us to finish printing
    late._timer.join(30)
    assert not late._timer.is_alive()
    assert not terminal.getvalue()


def test_no_timer_outlives_the_work() -> None:
    late = LateBar(Stream(Tty()), "Counting", 10, "rows", delay=3600)
    with late:
        pass
    late._timer.join(30)
    assert not late._timer.is_alive()
