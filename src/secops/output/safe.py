"""The one place that makes text from outside inert.

E-mail addresses, user agents and messages are written by whoever talks to the login page. A terminal obeys
control characters, a spreadsheet formulas, a browser tags. Each function here takes any text at all and
returns what the medium shows as mere text.

JSON stays lossless instead, through JSON's own escapes; see :mod:`secops.output.as_json`.
"""

from __future__ import annotations

import html
import re
from typing import Final

# C0 with tab and newlines, DEL, C1 (0x9b alone starts an escape sequence on many terminals).
C0: Final = r"\x00-\x1f"
# DEL and C1; general categories Cf, Zl, Zp, Cs of Unicode 16; and the code points that Unicode keeps
# Default_Ignorable (DerivedCoreProperties.txt), for a name may not differ from another by what nobody sees.
# Variation selectors are left alone: emoji need them.
BEYOND: Final = (
    r"\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180e"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_UNSAFE: Final = re.compile(f"[{C0}{BEYOND}]")
_SHORT: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# https://owasp.org/www-community/attacks/CSV_Injection: these begin a formula, the full-width forms too.
_FORMULA: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_STARTS: Final = re.compile(rf"[\t\r\n]|\s*[{_FORMULA}]")
# Spreadsheets also split at semicolons, by locale or by default; what follows one may begin a cell.
_AFTER_SEMICOLON: Final = re.compile(rf";[\s\"]*(?=[{_FORMULA}])")

# What is markup wherever it stands, with the ``://`` and ``www.`` that GitHub makes links of.
_MARKDOWN: Final = re.compile(r"[\\|`*_\[\]~$<>&]|(?<=[A-Za-z]):(?=//)|(?<=[Ww]{3})\.")
_ENTITIES: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_NUMBERED: Final = re.compile(r"(\d+)(?=[.)])")


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code <= 0xFF:  # noqa: PLR2004  the widths of Python's own escapes
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def inert(text: str) -> str:
    r"""Make text safe for a terminal: what would steer or hide is written as a visible escape.

    Args:
        text: Anything, also with lone surrogates.

    Returns:
        The text in one line, with control, bidirectional, format and invisible characters, line and
        paragraph separators and lone surrogates as ``\x1b``, ``\u202e``, ``\n``. Backslashes stay as
        they are, so an escape and the same characters typed look alike; JSON tells them apart.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escape, text)


def csv_cell(text: str) -> str:
    """Make text safe as a cell of CSV: inert, and no spreadsheet takes it for a formula.

    Args:
        text: The text of a cell, not a number.

    Returns:
        The text in one line; with an apostrophe before a leading ``=``, ``+``, ``-``, ``@``, tab or
        newline (full-width forms too), also where only blanks or a semicolon stand before it.
    """
    shown = inert(text)
    if ";" in shown:
        shown = _AFTER_SEMICOLON.sub(r"\g<0>'", shown)
    return f"'{shown}" if _STARTS.match(text) else shown


def markdown_text(text: str) -> str:
    """Make text safe inside Markdown, in a table's cell too: no markup, no tags, one line.

    Of addresses with ``://`` or ``www.`` no link is made; GitHub still links e-mail addresses, which no
    escape prevents.
    """
    return _MARKDOWN.sub(lambda found: _ENTITIES.get(found[0]) or f"\\{found[0]}", inert(text))


def markdown_line(text: str) -> str:
    """Make text safe as a line of Markdown: as :func:`markdown_text`, and it begins no list or heading."""
    shown = markdown_text(text).strip()
    if shown[:1] in {"-", "+", "=", "#"}:
        return f"\\{shown}"
    numbered = _NUMBERED.match(shown)
    return f"{numbered[0]}\\{shown[numbered.end() :]}" if numbered else shown


def html_text(text: str) -> str:
    """Make text safe inside HTML, between tags and in quoted attributes: no tags, one line."""
    return html.escape(inert(text), quote=True)
