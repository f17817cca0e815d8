"""A progress bar that appears once the work turns out to take long.

Most actions on one account end before anybody could read a bar, and importing what draws it takes longer
than they do. A timer brings it up, so that work which reports nothing for a while shows one as well.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.output.drawn_progress import Bar
    from secops.output.terminal import Stream

# Seconds; people take an answer within about half of one as immediate.
DELAY: Final = 0.4


class LateBar:
    """A bar on a terminal, not shown yet or shown; used with ``with``.

    Args:
        stream: A terminal.
        title: What is being done.
        total: How many there are to do, or ``None`` if nobody knows.
        unit: What they are.
        delay: After how many seconds it appears; 0 at once.
    """

    def __init__(
        self, stream: Stream, title: str, total: int | None, unit: str, *, delay: float = DELAY
    ) -> None:
        self._stream = stream
        self._title = title
        self._total = total
        self._unit = unit
        self._done = 0
        self._delay = delay
        self._bar: Bar | None = None
        self._open = ExitStack()
        self._closed = False
        # The timer's thread and the caller's both draw; whoever prints aside keeps the timer waiting.
        self._lock = threading.RLock()
        self._timer = threading.Timer(delay, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._delay > 0:
            self._timer.start()
        else:
            self._show()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._closed = True
            self._open.close()

    def _show(self) -> None:
        from secops.output.drawn_progress import bar

        with self._lock:
            if not self._closed:
                self._bar = self._open.enter_context(
                    bar(self._stream, self._title, self._total, self._unit, done=self._done)
                )

    def advance(self, count: int = 1) -> None:
        """Count what is done."""
        with self._lock:
            self._done += count
            if self._bar is not None:
                self._bar.advance(count)

    def describe(self, text: str) -> None:
        """Change the words before the bar."""
        with self._lock:
            self._title = text
            if self._bar is not None:
                self._bar.describe(text)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keep the bar off the screen for the length of a block, so that text can be printed."""
        with self._lock, ExitStack() as stack:
            if self._bar is not None:
                stack.enter_context(self._bar.aside())
            yield
