"""The progress bar on a terminal, drawn by rich: how far, how fast, how much longer."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID
from rich.text import Text

from secops.durations import about
from secops.output.drawn_table import console
from secops.output.safe import inert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.output.terminal import Stream


# Seconds: a guess of more than a month, made from the first few rows, tells nobody anything.
_FORESEEABLE: Final = 30 * 86_400


class _Words(ProgressColumn):
    """What is being done; never markup."""

    def render(self, task: Task) -> Text:
        return Text(task.description)


class _Figures(ProgressColumn):
    """``12,000 of 50,000 rows, 3,100/s, 12 s left``."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text(figures(task.completed, task.total, task.speed, str(task.fields["unit"])))


def figures(done: float, total: float | None, speed: float | None, unit: str) -> str:
    """Write how far the work is.

    Args:
        done: How many are done.
        total: How many there are, or ``None`` if nobody knows.
        speed: How many a second, or ``None`` as long as nobody knows.
        unit: What they are.
    """
    parts = [f"{done:,.0f} {unit}" if total is None else f"{done:,.0f} of {total:,.0f} {unit}"]
    if speed:
        parts.append(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")  # noqa: PLR2004
        left = (total - done) / speed if total is not None else 0
        if 0 < left < _FORESEEABLE:
            parts.append(f"{about(timedelta(seconds=left))} left")
    return ", ".join(parts)


class Bar:
    """A bar that is on the screen now."""

    def __init__(self, live: Progress, task: TaskID) -> None:
        self._live = live
        self._task = task

    def advance(self, count: int = 1) -> None:
        """Move the bar."""
        self._live.advance(self._task, count)

    def describe(self, text: str) -> None:
        """Change the words before the bar."""
        self._live.update(self._task, description=inert(text))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar off the screen for the length of a block, so that text can be printed."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()


@contextmanager
def bar(
    stream: Stream, title: str, total: int | None, unit: str, *, done: int = 0
) -> Iterator[Bar]:
    """Show a bar for the length of a block; it leaves nothing behind.

    Args:
        stream: A terminal.
        title: What is being done.
        total: How many there are to do, or ``None`` if nobody knows.
        unit: What they are.
        done: How many are done already.
    """
    live = Progress(
        SpinnerColumn(),
        _Words(),
        BarColumn(bar_width=None if stream.width < 60 else 30),  # noqa: PLR2004
        _Figures(),
        console=console(stream),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with live:
        yield Bar(live, live.add_task(inert(title), total=total, completed=done, unit=inert(unit)))
