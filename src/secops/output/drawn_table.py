"""The table on a terminal, drawn by rich; its cells are never markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from secops.output.as_table import numeric, width
from secops.output.safe import inert
from secops.output.severity import style
from secops.output.values import for_people

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream

# A cell that fills the screen hides its neighbours; the other formats show all of it.
_LONGEST: Final = 400
# What is narrower than this is a number, a time, an address, an id: it is read whole or not at all.
_KEPT_WHOLE: Final = 40
_LEAST: Final = 12
_GAP: Final = 2


def console(stream: Stream) -> Console:
    """Return a rich console that follows this package's decisions, not its own."""
    return Console(
        file=stream.text,
        force_terminal=stream.drawn,
        color_system="standard" if stream.colour else None,
        no_color=not stream.colour,
        width=stream.width,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )


def draw(stream: Stream, rows: Rows, batch: Sequence[Sequence[object]], title: str) -> None:
    """Draw a table, or where its columns cannot fit side by side, one block of lines a row.

    Args:
        stream: A terminal.
        rows: What the columns are called and which one colours.
        batch: The rows to draw.
        title: Above it, or an empty string.
    """
    names = [inert(name) for name in rows.columns]
    cells = [[_shown(value) for value in row] for row in batch]
    styles = [style(row[rows.severity]) if rows.severity is not None else "" for row in batch]
    widest = [max(width(row[place]) for row in cells) for place in range(len(names))]
    whole = [size <= _KEPT_WHOLE for size in widest]
    least = sum(
        max(width(name), size if keep else _LEAST) + _GAP
        for name, size, keep in zip(names, widest, whole, strict=True)
    )
    screen = console(stream)
    if title:
        screen.print(Text(inert(title), style="bold"))
    if least - _GAP > stream.width:
        _blocks(screen, names, cells, styles)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for place, name in enumerate(names):
        table.add_column(
            Text(name),
            justify="right" if numeric(batch, place) else "left",
            no_wrap=whole[place],
            overflow="fold",
        )
    for row, mark in zip(cells, styles, strict=True):
        table.add_row(*(Text(cell) for cell in row), style=mark or None)
    screen.print(table)


def _shown(value: object) -> str:
    text = inert(for_people(value))
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _blocks(
    screen: Console, names: Sequence[str], cells: Sequence[Sequence[str]], styles: Sequence[str]
) -> None:
    size = max(width(name) for name in names)
    for number, (row, mark) in enumerate(zip(cells, styles, strict=True)):
        if number:
            screen.print()
        for name, cell in zip(names, row, strict=True):
            line = Text(name + " " * (size - width(name) + _GAP), style="bold")
            screen.print(line + Text(cell, style=mark), overflow="fold")
