"""Streams that say they are terminals, what attackers write, and what must never reach a screen."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

from secops.output import Format, Output

HOSTILE: Final = {
    "clears the screen": "\x1b[2J\x1b[H",
    "colours": "\x1b[31mred\x1b[0m",
    "writes the clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "8-bit CSI": "\x9b2Jgone",
    "turns the line around": "user\u202egpj.exe",
    "isolates": "\u2066a\u2069",
    "zero width": "ali\u200bce",
    "tag characters": "a\U000e0041\U000e0042",
    "rich markup": "[red]",
    "closing markup": "bob[/red]",
    "rich link": "[link=http://x.example]here[/link]",
    "formula": '=HYPERLINK("http://x.example")',
    "sum": "@SUM(1)",
    "plus": "+1+1",
    "minus": "-2+3",
    "full-width formula": "\uff1d1+1",
    "formula after a tab": "\t=1+1",
    "formula after blanks": "  =1+1",
    "formula after a semicolon": 'a;"=1+1',
    "script": "<script>alert(1)</script>",
    "attribute": '" onmouseover="alert(1)',
    "image": "<img src=x onerror=alert(1)>",
    "entity": "&lt;b&gt;",
    "pipe": "a|b",
    "escaped pipe": "a\\|b",
    "backslash at the end": "a\\",
    "Markdown": "**b** _i_ `c` ~~s~~ ![i](http://x.example) [l](http://x.example)",
    "heading": "# h",
    "fence": "```\n<b>",
    "newline": "a\nError: all is well",
    "CR": "a\rb",
    "CRLF": "a\r\nb",
    "vertical tab and form feed": "a\vb\fc",
    "NUL": "a\0b",
    "DEL": "a\x7fb",
    "NEL": "a\x85b",
    "line separator": "a\u2028b\u2029c",
    "lone surrogate": "a\udc80b",
    "quotes": "a\"b'c,d",
    "long": "A" * 10_000,
    "wide": "名前" * 30,
    "empty": "",
}  # fmt: skip


class Tty(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


def said(
    do: Callable[[Output], Any], format: Format = Format.TABLE, *, tty: bool = False, **options: Any
) -> tuple[str, str]:
    """Let something be printed; return what reached stdout and stderr."""
    out, err = (Tty(), Tty()) if tty else (io.StringIO(), io.StringIO())
    do(Output(format, stdout=out, stderr=err, **options))
    return out.getvalue(), err.getvalue()


def steering(text: str, *, colours: bool = False) -> list[str]:
    """Return the characters in a text that a terminal would obey or hide, but for newlines.

    Args:
        text: What was printed.
        colours: Whether the escapes that set colours are let pass.
    """
    shown = re.sub(r"\x1b\[[0-9;]*m", "", text) if colours else text
    return [
        character
        for character in shown
        if character != "\n" and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    ]
