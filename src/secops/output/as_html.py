"""HTML: one page that needs nothing else, loads nothing and runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secops.output.safe import html_text
from secops.output.severity import level
from secops.output.values import for_people, is_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream

_STYLE: Final = """\
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #d0d0d0; --head: #f3f3f3;
  --critical: #b00020; --high: #c62828; --medium: #8a5a00; --low: #00687a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #161616; --line: #3a3a3a;
  --head: #222; --critical: #ff8a80; --high: #ff9e95; --medium: #ffc857; --low: #6fd3e3; } }
body { margin: 2rem; font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
table { border-collapse: collapse; margin: 1.5rem 0; } figure { margin: 1.5rem 0; }
caption { text-align: left; font-weight: 600; font-size: 1.1rem; padding-bottom: .5rem; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
th { background: var(--head); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.critical { color: var(--critical); font-weight: 600; } .high { color: var(--high); }
.medium { color: var(--medium); } .low { color: var(--low); }
"""
# default-src does not cover base and forms (CSP 3, section 6.3 and 6.4): they are named on their own.
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def _head(title: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html_text(title or 'secops')}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
    )


def _cell(value: object) -> str:
    number = ' class="number"' if is_number(value) else ""
    return f"<td{number}>{html_text(for_people(value))}</td>"


class Html:
    """``html``: one page however many results it holds.

    The page is never closed by hand: HTML lets ``</body>`` and ``</html>`` be left out (HTML Standard,
    13.1.2.4), and so a run that prints three tables needs nobody who knows which was the last.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._started = False

    def _write(self, text: str, title: str = "") -> None:
        page = text if self._started else _head(title) + text
        self._started = True
        self._stream.write(page, unencodable="xmlcharrefreplace")

    def rows(self, rows: Rows) -> int:
        """Print a table, or the sentence where there are no rows."""
        count = 0
        for batch in rows.batches():
            if not count:
                caption = f"<caption>{html_text(rows.title)}</caption>\n" if rows.title else ""
                names = "".join(f'<th scope="col">{html_text(name)}</th>' for name in rows.columns)
                self._write(
                    f"<table>\n{caption}<thead>\n<tr>{names}</tr>\n</thead>\n<tbody>\n", rows.title
                )
            lines = []
            for row in batch:
                kind = level(row[rows.severity]) if rows.severity is not None else ""
                mark = f' class="{kind}"' if kind else ""
                lines.append(f"<tr{mark}>{''.join(_cell(value) for value in row)}</tr>\n")
            self._write("".join(lines))
            count += len(batch)
        if count:
            self._write("</tbody>\n</table>\n")
        else:
            heading = f"<h2>{html_text(rows.title)}</h2>\n" if rows.title else ""
            self._write(f"{heading}<p>{html_text(rows.empty)}</p>\n", rows.title)
        return count

    def paragraph(self, text: str) -> None:
        """Print a paragraph; an empty one is left out."""
        if text.strip():
            self._write(f"<p>{html_text(text)}</p>\n")

    def document(self, value: object, lines: Iterable[str]) -> None:  # noqa: ARG002  the interface's
        """Print the lines with their layout."""
        self._write("<pre>\n" + "".join(f"{html_text(line)}\n" for line in lines) + "</pre>\n")

    def figure(self, markup: str, title: str) -> None:
        """Print a drawing that is markup already, every text in it inert."""
        self._write(f"<figure>\n{markup}</figure>\n", title)
