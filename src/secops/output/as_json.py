"""JSON and JSON Lines: lossless, one object a line, and safe to show on a terminal.

JSON escapes C0 itself; what else could steer a terminal (DEL, C1, bidirectional and format characters)
is written with JSON's ``\\u`` escapes too, which every reader turns back.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from secops.output.safe import BEYOND
from secops.output.values import for_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secops.output.renderer import Rows
    from secops.output.terminal import Stream

_UNSAFE: Final = re.compile(f"[{BEYOND}]")
_COMPACT: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, default=for_json
)
_INDENTED: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, default=for_json, indent=2
)


def encode(value: object, *, indented: bool = False) -> str:
    """Write any value as JSON.

    Args:
        value: Anything; see :func:`secops.output.values.for_json`. Numbers that JSON has not (NaN, the
            infinities) become text, as PostgreSQL's own ``to_json`` writes them; keys become text.
        indented: Whether to spread it over lines.
    """
    return _guarded(_encoded(_INDENTED if indented else _COMPACT, value))


def _encoded(encoder: json.JSONEncoder, value: object) -> str:
    try:
        return encoder.encode(value)
    except (TypeError, ValueError):  # a key that is no text, or a number that JSON has not
        return encoder.encode(_plain(value))


def _guarded(text: str) -> str:
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {_key(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _key(key: object) -> str:
    return key if isinstance(key, str) else str(for_json(key))


def distinct(names: Iterable[str]) -> list[str]:
    """Make names differ, for an object cannot hold one twice: ``count``, ``count_2``."""
    found: dict[str, None] = {}
    for name in names:
        unique, number = name, 1
        while unique in found:
            number += 1
            unique = f"{name}_{number}"
        found[unique] = None
    return list(found)


class Json:
    """``json``: one array of objects; one document."""

    _open, _between, _close, _none = "[\n", ",\n", "\n]\n", "[]\n"

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def _write(self, text: str) -> None:
        if not self._stream.unicode and not text.isascii():
            # Inside JSON only strings hold such characters, so the escape is valid wherever one stands.
            text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
        self._stream.write(text)

    def rows(self, rows: Rows) -> int:
        """Print the array row by row; see :class:`secops.output.renderer.Renderer`."""
        names = distinct(rows.columns)
        count = 0
        for batch in rows.batches():
            objects = [_encoded(_COMPACT, dict(zip(names, row, strict=True))) for row in batch]
            self._write(
                (self._between if count else self._open) + _guarded(self._between.join(objects))
            )
            count += len(batch)
        self._write(self._close if count else self._none)
        return count

    def paragraph(self, text: str) -> None:
        """Print nothing: stdout carries data only."""

    def document(self, value: object, lines: Iterable[str]) -> None:  # noqa: ARG002  the interface's
        """Print the value."""
        self._write(encode(value, indented=True) + "\n")


class JsonLines(Json):
    """``jsonl``: one object a line."""

    _open, _between, _close, _none = "", "\n", "\n", ""

    def document(self, value: object, lines: Iterable[str]) -> None:  # noqa: ARG002  the interface's
        """Print the value; each element of a list is a line."""
        for each in value if isinstance(value, (list, tuple)) else (value,):
            self._write(encode(each) + "\n")
