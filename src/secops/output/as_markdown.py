"""Markdown: tables as GitHub reads them (GFM), with all markup of the data escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from secops.output.safe import inert, markdown_line, markdown_text
from secops.output.values import are_numbers, for_people

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


class Markdown:
    """``markdown``: headings, tables, paragraphs; blocks are parted by an empty line."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._started = False

    def _block(self, text: str) -> None:
        self._stream.write(("\n" if self._started else "") + text)
        self._started = True

    def rows(self, rows: Rows) -> int:
        """Print a table, or the sentence where there are no rows."""
        if rows.title:
            self._block(f"## {markdown_line(rows.title)}\n")
        count = 0
        for batch in rows.batches():
            if not count:
                numbers = [are_numbers(column) for column in zip(*batch, strict=True)]
                self._block(
                    _line(markdown_text(name) for name in rows.columns)
                    + _line("---:" if number else "---" for number in numbers)
                )
            self._stream.write(
                "".join(_line(markdown_text(for_people(value)) for value in row) for row in batch)
            )
            count += len(batch)
        if not count:
            self.paragraph(rows.empty)
        return count

    def paragraph(self, text: str) -> None:
        """Print a paragraph; an empty one is what parts blocks anyway."""
        if text.strip():
            self._block(f"{markdown_line(text)}\n")

    def document(self, value: object, lines: Iterable[str]) -> None:  # noqa: ARG002  the interface's
        """Print the lines as a code block, which keeps their layout and in which nothing is markup."""
        text = "".join(f"{inert(line)}\n" for line in lines)
        longest = max((len(run) for run in re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        self._block(f"{fence}text\n{text}{fence}\n")
