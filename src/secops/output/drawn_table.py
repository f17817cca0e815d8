"""The table that does not fit its terminal, folded by rich; its cells are never markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from secops.output.as_table import GAP
from secops.output.safe import inert
from secops.output.severity import style
from secops.output.values import are_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream

# A cell that fills the screen hides its neighbours; the other formats, and a pipe, show all of it.
_LONGEST: Final = 400
# What is narrower than this is a number, a time, an address, an id: it is read whole or not at all.
_KEPT_WHOLE: Final = 40
_LEAST: Final = 12


def console(stream: Stream) -> Console:
    """Return a rich console that follows this package's decisions, not its own."""
    return Console(
        file=stream.text,
        force_terminal=stream.drawn,
        force_interactive=stream.drawn,
        color_system="standard" if stream.colour else None,
        no_color=not stream.colour,
        width=stream.width,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )


def draw(
    stream: Stream,
    rows: Rows,
    batch: Sequence[Sequence[object]],
    shown: Sequence[Sequence[str]],
) -> None:
    """Draw a table, or where its columns cannot stand side by side, one block of lines a row.

    Args:
        stream: A terminal.
        rows: What the columns are called and which one colours.
        batch: The rows to draw.
        shown: Their cells, inert.
    """
    names = [inert(name) for name in rows.columns]
    cells = [[_shortened(cell) for cell in row] for row in shown]
    styles = [style(row[rows.severity]) if rows.severity is not None else "" for row in batch]
    widest = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    least = [
        max(cell_len(name), size if size <= _KEPT_WHOLE else _LEAST)
        for name, size in zip(names, widest, strict=True)
    ]
    screen = console(stream)
    if sum(least) + len(GAP) * (len(least) - 1) > screen.width:
        _blocks(screen, names, cells, styles)
        return
    # One blank of the gap is the cell's, one the box's.
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    numbers = [are_numbers(column) for column in zip(*batch, strict=True)]
    for name, number, size in zip(names, numbers, widest, strict=True):
        table.add_column(
            Text(name),
            justify="right" if number else "left",
            no_wrap=size <= _KEPT_WHOLE,
            min_width=min(_LEAST, size),
            overflow="fold",
        )
    for row, mark in zip(cells, styles, strict=True):
        table.add_row(*map(Text, row), style=mark or None)
    screen.print(table)


def _shortened(cell: str) -> str:
    if len(cell) <= _LONGEST:
        return cell
    return f"{cell[:_LONGEST]}… ({len(cell):,} characters)"


def _blocks(
    screen: Console, names: Sequence[str], cells: Sequence[Sequence[str]], styles: Sequence[str]
) -> None:
    size = max(map(cell_len, names))
    for row, mark in zip(cells, styles, strict=True):
        for name, cell in zip(names, row, strict=True):
            line = Text(name + " " * (size - cell_len(name)) + GAP, style="bold")
            screen.print(line.append(cell, style=f"not bold {mark}"), overflow="fold")
        screen.print()
