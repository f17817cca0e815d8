"""Where everything a command says goes out: results to stdout, all else to stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from secops.output.formats import HUMAN, JSON_FORMATS, Format
from secops.output.terminal import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TextIO

    from secops.errors import SecopsError
    from secops.output.late_progress import LateBar
    from secops.output.outcome import Outcome
    from secops.output.plot import Plot
    from secops.output.progress import Progress
    from secops.output.renderer import Renderer

# The module and the class that print each format: imported when something is printed.
_RENDERERS: Final = {
    Format.TABLE: ("as_table", "Table"),
    Format.JSON: ("as_json", "Json"),
    Format.JSONL: ("as_json", "JsonLines"),
    Format.CSV: ("as_csv", "Csv"),
    Format.MARKDOWN: ("as_markdown", "Markdown"),
    Format.HTML: ("as_html", "Html"),
}
_ITEMS_ON_A_TERMINAL: Final = 20


class Output:
    """What one command says, in one format.

    Args:
        format: How results are printed.
        quiet: Whether notes and progress are left out.
        no_color: Whether nothing is coloured, whatever the terminal can do.
        stdout: Where results go.
        stderr: Where notes, questions, progress and errors go.
    """

    def __init__(
        self,
        format: Format = Format.TABLE,  # noqa: A002  the option's name
        *,
        quiet: bool = False,
        no_color: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.format = format
        self.quiet = quiet
        self._out = Stream(stdout or sys.stdout, no_color=no_color)
        self._err = Stream(stderr or sys.stderr, no_color=no_color)
        self._made: Renderer | None = None
        self._bar: LateBar | None = None

    @property
    def _renderer(self) -> Renderer:
        if self._made is None:
            module, name = _RENDERERS[self.format]
            found = getattr(import_module(f"secops.output.{module}"), name)
            self._made = cast("Renderer", found(self._out))
        return self._made

    @contextmanager
    def _printing(self) -> Iterator[Renderer]:
        """Hand out what prints to stdout, with the progress bar out of its way."""
        with self._aside():
            yield self._renderer
            self._out.flush()

    def _aside(self) -> AbstractContextManager[None]:
        return self._bar.aside() if self._bar is not None else nullcontext()

    @property
    def can_ask(self) -> bool:
        """Whether somebody is there to answer: stdin and stderr are terminals."""
        return self._err.terminal and sys.stdin is not None and sys.stdin.isatty()

    def ask(self, question: str, *, word: str | None = None) -> bool:
        """Ask on stderr.

        Args:
            question: A whole sentence.
            word: What must be typed instead of ``y``, for the severe.

        Returns:
            Whether the answer was ``y`` or ``yes`` (or exactly the word). ``False`` where nobody can be asked
            and at the end of input.
        """
        from secops.output.safe import inert

        if not self.can_ask:
            return False
        wanted = "[y/N]" if word is None else f"Type {inert(word)} to go on:"
        with self._aside():
            self._err.write(f"{inert(question)} {wanted} ")
            self._err.flush()
            answer = sys.stdin.readline()
            if not answer.endswith("\n"):
                self._err.write("\n")
        given = answer.strip()
        return given == word if word is not None else given.lower() in {"y", "yes"}

    def rows(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        title: str = "",
        severity: str | None = None,
        empty: str = "Nothing found.",
    ) -> int:
        """Print a result as its rows arrive; memory stays flat however many there are.

        Args:
            columns: Their names.
            rows: As many values each as there are columns.
            title: Above it, in the formats for people.
            severity: The name of the column that colours a row.
            empty: What people read where there are no rows; ``json`` prints ``[]``, ``csv`` its header.

        Returns:
            How many rows there were.

        Raises:
            ValueError: A row has not as many values as there are columns.
        """
        from secops.output.renderer import gathered

        found = gathered(columns, rows, title=title, severity=severity, empty=empty)
        with self._printing() as renderer:
            return renderer.rows(found)

    def outcome(self, outcome: Outcome) -> None:
        """Print what an action did or would do.

        For people: the summary, what it touched (on a terminal the first 20), how to undo it. JSON: one object.
        """
        if self.format in JSON_FORMATS:
            self.document(outcome.as_dict(), ())
            return
        if self.format is Format.CSV:
            self._outcome_as_csv(outcome)
            return
        sentence = outcome.sentence()
        if outcome.dry_run and not sentence.startswith("Would"):
            sentence = f"Dry run: {sentence}"
        self.line(sentence)
        if outcome.items:
            columns = outcome.columns()
            limit = _ITEMS_ON_A_TERMINAL if self._out.terminal else len(outcome.items)
            shown = outcome.items[:limit]
            self.rows(columns, ([item.get(name) for name in columns] for item in shown))
            if len(outcome.items) > limit:
                self.line(f"... and {len(outcome.items) - limit:,} more")
            self.line()
        if outcome.undo:
            self.line(outcome.way_back())
        if outcome.dry_run:
            self.line("This was a dry run: nothing was changed.")

    def _outcome_as_csv(self, outcome: Outcome) -> None:
        """Print the items, and what is no item on stderr; without items one row of the facts."""
        if not outcome.items:
            facts = outcome.as_dict()
            columns: tuple[str, ...] = (
                "action",
                "dry_run",
                "matched",
                "changed",
                "summary",
                "undo",
                "no_undo",
            )
            self.rows(columns, [[facts[name] for name in columns]])
            return
        columns = outcome.columns()
        self.rows(columns, ([item.get(name) for name in columns] for item in outcome.items))
        self.note(outcome.sentence())
        if outcome.undo:
            self.note(outcome.way_back())

    def document(self, value: object, lines: Iterable[str]) -> None:
        """Print a thing that is no table.

        Args:
            value: What the JSON formats print.
            lines: What all others print.
        """
        with self._printing() as renderer:
            renderer.document(value, lines)

    def plots(self, plots: Sequence[Plot]) -> None:
        """Draw series: as text for people, as SVG in HTML, and their numbers in the other formats."""
        if self.format is Format.CSV:
            dots = (
                (plot.title, dot.at, dot.value, dot.full, dot.weight)
                for plot in plots
                for dot in plot.dots
            )
            self.rows(("series", "at", "value", "counted", "weight"), dots)
        elif self.format is Format.HTML:
            from secops.output.as_html import Html
            from secops.output.plot_svg import svg

            with self._printing() as renderer:
                assert isinstance(renderer, Html)
                for plot in plots:
                    renderer.figure(svg(plot), plot.title)
        else:
            from secops.output.plot_text import draw

            unicode, width = self._out.unicode, self._out.width
            lines: list[str] = []
            for plot in plots:
                lines += [*([""] if lines else []), *draw(plot, width, unicode=unicode)]
            self.document([plot.as_dict() for plot in plots], lines)

    def line(self, text: str = "") -> None:
        """Print a line of text to stdout, in the formats for people only."""
        if self.format in HUMAN:
            with self._printing() as renderer:
                renderer.paragraph(text)

    def note(self, text: str) -> None:
        """Tell something by the way, on stderr; ``--quiet`` leaves it out."""
        if not self.quiet:
            self._aloud("note", text)

    def warn(self, text: str) -> None:
        """Warn on stderr, always."""
        self._aloud("warning", text)

    def _aloud(self, kind: str, text: str) -> None:
        """Write a line to stderr; an object with JSON formats, whose readers can so read all of it."""
        if self.format in JSON_FORMATS:
            from secops.output.as_json import encode

            line = encode({kind: text})
        else:
            from secops.output.safe import inert

            mark = self._err.styled("Warning:", "yellow") + " " if kind == "warning" else ""
            line = mark + inert(text)
        with self._aside():
            self._err.write(f"{line}\n")
            self._err.flush()

    def error(self, error: SecopsError) -> None:
        """Say on stderr what went wrong and what to do; with JSON formats ``{"error": {...}}`` in one line."""
        if self.format in JSON_FORMATS:
            from secops.output.as_json import encode

            text = encode({"error": error.as_dict()})
        else:
            from secops.output.safe import inert

            # A hint may hold commands to run, one a line; a message quotes what came from outside.
            lines = [f"{self._err.styled('Error:', 'bold red')} {inert(error.message)}"]
            lines += [f"  {inert(line)}" for line in error.hint.split("\n") if error.hint]
            text = "\n".join(lines)
        with self._aside():
            self._err.write(f"{text}\n")
            self._err.flush()

    @contextmanager
    def progress(
        self, title: str, total: int | None = None, unit: str = "rows"
    ) -> Iterator[Progress]:
        """Show progress on stderr for the length of a block, if it is a terminal and not ``--quiet``.

        The bar appears once the work has taken a moment; it leaves nothing behind.

        Args:
            title: What is being done.
            total: How many there are to do, or ``None`` if nobody knows.
            unit: What they are.
        """
        from secops.output.progress import SILENT

        if self.quiet or not self._err.drawn or self._bar is not None:
            yield SILENT
            return
        from secops.output.late_progress import LateBar

        with LateBar(self._err, title, total, unit) as shown:
            self._bar = shown
            try:
                yield shown
            finally:
                self._bar = None
