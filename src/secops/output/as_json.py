r"""JSON and JSON Lines: lossless, one object a line, and safe to show on a terminal.

JSON escapes C0 itself; what else could steer a terminal (DEL, C1, bidirectional and format characters)
is written with JSON's ``\u`` escapes too, which every reader turns back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final

from secops.output.renderer import BATCH
from secops.output.safe import BEYOND
from secops.output.values import as_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream

_UNSAFE: Final = re.compile(f"[{BEYOND}]")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7e]")


def encode(value: object) -> str:
    """Write any value as one line of JSON that is safe to show; see :func:`secops.output.values.as_json`."""
    return _guarded(as_json(value))


def _guarded(text: str, unsafe: re.Pattern[str] = _UNSAFE) -> str:
    """Escape characters in JSON: outside its strings it holds none of them, so any may be replaced."""
    if text.isascii() and "\x7f" not in text:
        return text
    return unsafe.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    # DEL is ASCII, so json leaves it as it is.
    return r"\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def distinct(names: Iterable[str]) -> list[str]:
    """Make names differ, for an object cannot hold one twice: ``count``, ``count_2``."""
    given = list(names)
    found: dict[str, None] = {}
    for name in given:
        unique, number = name, 1
        while unique in found or (number > 1 and unique in given):
            number += 1
            unique = f"{name}_{number}"
        found[unique] = None
    return list(found)


class Json:
    """``json``: one array of objects, or one document."""

    _open, _between, _close, _none = "[\n", ",\n", "\n]\n", "[]\n"

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._unsafe = _UNSAFE if stream.unicode else _NOT_ASCII

    def _write(self, text: str) -> None:
        self._stream.write(_guarded(text, self._unsafe))

    def rows(self, rows: Rows) -> int:
        """Print the array row by row; columns of one name are numbered, for none may be lost."""
        names = distinct(rows.columns)
        count = 0
        for batch in rows.batches():
            objects = [as_json(dict(zip(names, row, strict=True))) for row in batch]
            self._write((self._between if count else self._open) + self._between.join(objects))
            count += len(batch)
        self._write(self._close if count else self._none)
        return count

    def paragraph(self, text: str) -> None:
        """Print nothing: stdout carries data only."""

    def document(self, value: object, lines: Iterable[str]) -> None:  # noqa: ARG002  the interface's
        """Print the value: a line for each key, and for each element of a list in it."""
        pieces = _laid_out(value, "")
        while piece := "".join(islice(pieces, BATCH)):
            self._write(piece)
        self._stream.write("\n")


class JsonLines(Json):
    """``jsonl``: one object a line."""

    _open, _between, _close, _none = "", "\n", "\n", ""

    def document(self, value: object, lines: Iterable[str]) -> None:  # noqa: ARG002  the interface's
        """Print the value in a line; each element of a list has its own."""
        for each in value if isinstance(value, (list, tuple)) else (value,):
            self._write(as_json(each) + "\n")


def _laid_out(value: object, margin: str) -> Iterator[str]:
    """Write JSON over lines, but what stands inside a list in one: readable, and as fast as a line."""
    inner = margin + "  "
    if isinstance(value, Mapping) and value:
        opening = "{"
        for key, each in value.items():
            # A name is taken from a whole object, so that a key which is no text becomes one.
            name = as_json({key: 0}).removeprefix("{").removesuffix(": 0}")
            yield f"{opening}\n{inner}{name}: "
            yield from _laid_out(each, inner)
            opening = ","
        yield f"\n{margin}}}"
    elif isinstance(value, (list, tuple)) and any(isinstance(each, Mapping) for each in value):
        opening = "["
        for each in value:
            yield f"{opening}\n{inner}{as_json(each)}"
            opening = ","
        yield f"\n{margin}]"
    else:
        yield as_json(value)
