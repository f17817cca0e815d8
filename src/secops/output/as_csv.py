"""CSV (RFC 4180, with Unix newlines as psql writes it): one line a row, and no formula in any cell."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from secops.output.safe import csv_cell
from secops.output.values import for_csv, is_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream


def _cell(value: object) -> object:
    """Return a cell that the csv module may write as it is."""
    if value is None or type(value) is int:
        return value
    text = for_csv(value)
    return text if is_number(value) else csv_cell(text)


class Csv:
    """``csv``: a header, then the rows; several results are parted by an empty line."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._started = False

    def _write(self, rows: Iterable[Iterable[object]]) -> None:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(rows)
        self._stream.write(buffer.getvalue())

    def rows(self, rows: Rows) -> int:
        """Print header and rows; the header alone where there are none."""
        if self._started:
            self._stream.write("\n")
        self._started = True
        self._write([[csv_cell(name) for name in rows.columns]])
        count = 0
        for batch in rows.batches():
            self._write([[_cell(value) for value in row] for row in batch])
            count += len(batch)
        return count

    def paragraph(self, text: str) -> None:
        """Print nothing: stdout carries data only."""

    def document(self, value: object, lines: Iterable[str]) -> None:  # noqa: ARG002  the interface's
        """Print each line as a row of one cell."""
        self._started = True
        self._write([csv_cell(line)] for line in lines)
