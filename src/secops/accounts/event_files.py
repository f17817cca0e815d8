"""Files of events: JSON Lines or CSV, plain or gzipped, from disk or from a pipe, line by line."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, cast

from secops.accounts.event_rows import COLUMNS, nearest
from secops.errors import SecopsError, UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Kind = Literal["jsonl", "csv"]

_SUFFIXES: Final[dict[str, Kind]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
}
_GZIP: Final = b"\x1f\x8b"
_BUFFER: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"

LONGEST_LINE: Final = 4 << 20
"""Bytes; a file without newlines must not fill the memory before somebody is told."""


class Line(NamedTuple):
    """One event as the file states it, or why there is none.

    Attributes:
        number: Of its first line in the file, from 1.
        given: Its keys and values; ``None`` where there is a reason.
        plain: Whether no text in it needs escaping.
        reason: Why it is no event.
        raw: It, as it stands in the file, or its cells.
    """

    number: int
    given: dict[str, Any] | None
    plain: bool
    reason: str
    raw: bytes | list[str]

    @property
    def text(self) -> str:
        """The line as it stands in the file, but for bytes that are no text."""
        if isinstance(self.raw, bytes):
            return self.raw.decode(errors="backslashreplace").rstrip("\r\n")
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(self.raw)
        return text.getvalue().encode(errors="backslashreplace").decode()


class Source:
    """An open file of events. Used with ``with``.

    Args:
        path: Where it is; ``-`` for stdin.
        kind: What it is; from its name, or where that does not tell, from how it begins, if ``None``.
        name: What people call it, where that is not its path.

    Raises:
        OSError: It cannot be opened.
        SecopsError: It is neither JSON Lines nor CSV.
    """

    def __init__(self, path: str, kind: Kind | None = None, *, name: str = "") -> None:
        self.name = name or ("stdin" if path == "-" else path)
        self._close = contextlib.ExitStack()
        file = Path(path)
        if path == "-":
            raw = sys.stdin.buffer
            self.size = None
        else:
            raw = self._close.enter_context(file.open("rb"))
            self.size = file.stat().st_size if file.is_file() else None
        self._counted = _Counted(raw)
        self._stream = _buffered(self._counted)
        if self._stream.peek(2)[:2] == _GZIP:
            self._stream = _buffered(gzip.GzipFile(fileobj=self._stream))
        suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() != ".gz"]
        named = _SUFFIXES.get(suffixes[-1]) if suffixes else None
        with self._readable():
            self.kind: Kind = kind or named or self._guess()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    @property
    def position(self) -> int:
        """How many bytes of the file were read, packed as they are; compares with ``size``."""
        return self._counted.count

    def lines(self, *, extra: bool = False) -> Iterator[Line]:
        """Give the events in their order.

        Args:
            extra: Whether a CSV file may have columns that no event has.

        Raises:
            SecopsError: It is no such file, or damaged.
        """
        with self._readable():
            if self.kind == "csv":
                yield from self._csv(extra)
                return
            if self._stream.peek(len(_BOM)).startswith(_BOM):
                self._stream.read(len(_BOM))
            yield from _json_lines(self._stream)

    def _guess(self) -> Kind:
        start = self._stream.peek(64).removeprefix(_BOM).lstrip()
        return "jsonl" if not start or start[:1] in b"{[" else "csv"

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SecopsError(
                f"{self.name} is damaged or cut off: {error}",
                hint="What was imported stands. Get the whole file and import it again: events that "
                "are there already are left out.",
            ) from None

    def _csv(self, extra: bool) -> Iterator[Line]:
        # Bytes that are no UTF-8 become lone surrogates, which no row takes.
        text = io.TextIOWrapper(
            self._stream, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        reader = csv.reader(text, strict=True)
        csv.field_size_limit(LONGEST_LINE)
        try:
            header = [name.strip() for name in next(reader, [])]
        except csv.Error as error:
            raise SecopsError(
                f"{self.name}: the first line is no CSV header: {error}.", hint=_HEADER
            ) from None
        self._check(header, extra)
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Line(number, None, False, f"this is not CSV: {error}", [])
                continue
            if cells:  # an empty line is none
                yield _csv_line(number, header, cells)

    def _check(self, header: list[str], extra: bool) -> None:
        if not header:
            return
        if "event_type" not in header:
            raise SecopsError(
                f"{self.name}: its first line names no column event_type.", hint=_HEADER
            )
        if len(set(header)) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise SecopsError(f"{self.name}: the column {twice!r} stands twice.", hint=_HEADER)
        unknown = [name for name in header if name not in COLUMNS]
        if unknown and not extra:
            raise UsageError(
                f"{self.name}: events have no column {unknown[0]!r}{nearest(unknown[0])}.",
                hint="Rename it, or put such columns into metadata with --extra-to-metadata.",
            )


_HEADER: Final = f"Name the columns in the first line: {', '.join(COLUMNS)}."


class _Counted(io.RawIOBase):
    """Counts what is read from a file, which a pipe cannot tell."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401  stdin's buffer and files share no type
        self._inner = inner
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        # One read at most: the next event of a pipe must not wait for the buffer to be full.
        got: int = self._inner.readinto1(buffer)
        self.count += got
        return got


def _buffered(raw: object) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", raw), _BUFFER)


def _json_lines(stream: io.BufferedReader) -> Iterator[Line]:
    number = 0
    while raw := stream.readline(LONGEST_LINE):
        number += 1
        try:
            given = _decode(raw.decode())
        except (ValueError, RecursionError) as error:
            line = _unread(stream, number, raw, error)
            if line is not None:
                yield line
        else:
            if type(given) is dict:
                yield Line(number, given, b"\\" not in raw, "", raw)
            else:
                yield Line(number, None, False, _NO_OBJECT, raw)


def _unread(
    stream: io.BufferedReader, number: int, raw: bytes, error: ValueError | RecursionError
) -> Line | None:
    """Say why a line could not be read; ``None`` where it is empty."""
    if raw.isspace():
        return None
    if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
        while rest := stream.readline(LONGEST_LINE):
            if rest.endswith(b"\n"):
                break
        return Line(number, None, False, f"it is longer than {LONGEST_LINE:,} bytes", raw[:200])
    if isinstance(error, UnicodeDecodeError):
        return Line(number, None, False, "it is not UTF-8", raw)
    if isinstance(error, RecursionError):
        return Line(number, None, False, "it is nested too deeply", raw)
    return Line(number, None, False, f"this is not JSON: {_said(error)}", raw)


_NO_OBJECT: Final = "it is no object; write one event a line, as `jq -c '.[]'` does"


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


_decoder: Final = json.JSONDecoder(parse_constant=_no_constant)
_scan: Final = _decoder.scan_once  # type: ignore[attr-defined]  # the stubs leave it out
_LINE_ENDS: Final = frozenset({"\n", "\r\n", ""})


def _decode(text: str) -> object:
    """Read a line of JSON; ValueError where it is none.

    JSONDecoder.decode looks for blanks before and behind it first, which nearly no line has.
    """
    try:
        given, end = _scan(text, 0)
    except StopIteration:
        return _decoder.decode(text)
    return given if text[end:] in _LINE_ENDS else _decoder.decode(text)


def _said(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        # colno counts from the newline, where the decoder looked for more behind it.
        return f"{error.msg} at column {min(error.pos, len(error.doc.rstrip())) + 1}"
    return str(error).split(";")[0]


_BOOLEANS: Final = {
    "t": True, "true": True, "yes": True, "1": True,
    "f": False, "false": False, "no": False, "0": False,
}  # fmt: skip


def _csv_line(number: int, header: list[str], cells: list[str]) -> Line:
    """Turn cells into keys and values; an empty cell says nothing."""
    if len(cells) != len(header):
        reason = f"it has {len(cells)} cells, the first line has {len(header)}"
        return Line(number, None, False, reason, cells)
    given: dict[str, Any] = {
        name: cell for name, cell in zip(header, cells, strict=True) if cell != ""
    }
    success = given.get("success")
    if success is not None:
        given["success"] = _BOOLEANS.get(success.lower(), success)
    metadata = given.get("metadata")
    if metadata is not None:
        try:
            given["metadata"] = _decode(metadata)
        except RecursionError:
            return Line(number, None, False, "metadata is nested too deeply", cells)
        except ValueError as error:
            return Line(number, None, False, f"metadata is not JSON: {_said(error)}", cells)
    return Line(number, given, False, "", cells)
