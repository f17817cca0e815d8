"""The formats, and which one a command line wants."""

from __future__ import annotations

import enum
import re
from itertools import pairwise
from typing import Final


class Format(enum.StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"


HUMAN: Final = frozenset({Format.TABLE, Format.MARKDOWN, Format.HTML})
JSON_FORMATS: Final = frozenset({Format.JSON, Format.JSONL})

_ATTACHED: Final = re.compile(r"--format=(?P<long>.*)|-[a-eg-zA-Z]*f(?P<short>.+)", re.ASCII)
_APART: Final = re.compile(r"--format|-[a-eg-zA-Z]*f", re.ASCII)


def wanted_format(arguments: list[str]) -> Format:
    """Find the format that a command line asks for, for errors that come before it is parsed.

    Args:
        arguments: The raw words, without the program's name.

    Returns:
        The format; :attr:`Format.TABLE` where none, or none that exists, is asked for. ``--json`` beats
        ``--format`` as it does once the line is parsed.
    """
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" in options:
        return Format.JSON
    wanted = ""
    for word, following in pairwise([*options, ""]):
        if _APART.fullmatch(word):
            wanted = following
        elif attached := _ATTACHED.fullmatch(word):
            wanted = attached["long"] or attached["short"] or ""
    try:
        return Format(wanted)
    except ValueError:
        return Format.TABLE
