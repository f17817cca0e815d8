r"""The text of a ``.env`` file: read without losing a byte, and changed only where it has to be.

There is no standard. Read is what python-dotenv, Node's dotenv and Compose agree on: ``export``, quotes, values
over several lines in quotes, a comment behind a blank and ``#``; in double quotes ``\n`` and the like are
escapes. References (``${X}``) stay as they are written. What other readers take otherwise is named in
:attr:`Piece.disputed`. The other form, ``raw``, is that of ``docker run --env-file``: a value is whatever
follows the first ``=``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Literal

from secops.errors import Refused
from secops.targets.target import Change

Quote = Literal["", "'", '"']


class Form(enum.StrEnum):
    """How a file is read."""

    DOTENV = "dotenv"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the file; all pieces joined are the file.

    Attributes:
        before: What stands before the value: blanks, ``export``, the name, the equals sign. Of what is no
            assignment, everything.
        written: The value as it is written, with its quotes.
        after: What stands behind it: blanks, a comment, the end of the line.
        line: The line on which it begins.
        name: The variable; empty for what is no assignment.
        value: Its value.
        quote: How it is quoted.
        disputed: Who reads it otherwise, and how; empty where all agree.
        broken: Why it cannot be read, where what follows it cannot be trusted either.
    """

    before: str
    written: str = ""
    after: str = ""
    line: int = 1
    name: str = ""
    value: str = ""
    quote: Quote = ""
    disputed: str = ""
    broken: str = ""

    @property
    def text(self) -> str:
        """The piece as it stands in the file."""
        return self.before + self.written + self.after


NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
"""The names that every reader takes."""

_BLANK: Final = r"[^\S\r\n]*"
_END: Final = r"(?:\r\n|\n|\Z)"
_NOTHING: Final = re.compile(rf"{_BLANK}(?:#[^\r\n]*)?{_END}")
_HEAD: Final = re.compile(
    rf"({_BLANK}(?:export[^\S\r\n]+)?)([^=#\s'][^=#\s]*)({_BLANK}=)({_BLANK})"
)
_QUOTED: Final = {
    '"': re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL),
    "'": re.compile(r"'(?:\\.|[^'\\])*'", re.DOTALL),
}
_TAIL: Final = re.compile(rf"{_BLANK}(?:#[^\r\n]*)?{_END}")
_REST: Final = re.compile(rf"[^\r\n]*{_END}")
_COMMENT: Final = re.compile(r"\s+#.*\Z", re.DOTALL)
_RAW_HEAD: Final = re.compile(r"([ \t]*)([^=\s#][^=\s]*)(=)")
_ESCAPES: Final = {
    '"': re.compile(r"\\([\\'\"abfnrtv])"),
    "'": re.compile(r"\\([\\'])"),
}
_MEANT: Final = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]*", re.ASCII)
_LEAVES_BARE: Final = re.compile(r"[^\s'\"`#\\](?:[^'\"`#\\\r\n]*[^\s'\"`#\\])?")
_REFERENCE: Final = re.compile(r"\$(?:\{|[A-Za-z_])")


def parse(text: str, form: Form = Form.DOTENV) -> list[Piece]:
    """Take a file apart.

    Args:
        text: All of it; bytes that are no UTF-8 as surrogate escapes.
        form: How it is read.

    Returns:
        Its pieces, in order; joined they are the text, whatever it is.
    """
    return list(_pieces(text, form))


def joined(pieces: Sequence[Piece]) -> str:
    """Put a file together again."""
    return "".join(piece.text for piece in pieces)


def values(pieces: Sequence[Piece]) -> dict[str, str]:
    """Return the variables; of one that stands twice, every reader takes the last."""
    return {piece.name: piece.value for piece in pieces if piece.name}


def refers(value: str) -> bool:
    """Say whether a value refers to others, for readers that follow references."""
    return _REFERENCE.search(value) is not None


def changed(text: str, change: Change, form: Form = Form.DOTENV) -> str:
    """Set and delete variables in a file; every other byte of it stays as it is.

    A variable that is there keeps its place, its quotes where they can hold the new value, and its comment;
    of one that stands twice, the last is changed, and all are deleted. A new one is added at the end.

    Args:
        text: The file.
        change: What to set and to delete.
        form: How the file is read.

    Raises:
        Refused: The file is broken, or a name or value cannot stand in one; nothing is to be written.
    """
    pieces = parse(text, form)
    _mendable(pieces, {*change.set, *change.unset})
    for name, value in change.set.items():
        _allowed(name, value, form)
    last = {piece.name: number for number, piece in enumerate(pieces) if piece.name}
    end = "\r\n" if "\r\n" in text else "\n"
    kept: list[Piece] = []
    for number, piece in enumerate(pieces):
        if piece.name in change.unset:
            kept = _without_end(kept) if number == len(pieces) - 1 and _open(piece) else kept
        elif piece.name in change.set and last[piece.name] == number:
            kept.append(_with(piece, change.set[piece.name], end, form))
        else:
            kept.append(piece)
    made = joined(kept)
    for name, value in change.set.items():
        if name not in last:
            made = _added(made, name, value, end, form)
    _verify(text, made, change, form)
    return made


def _mendable(pieces: Sequence[Piece], names: AbstractSet[str]) -> None:
    """Refuse a file in which a line cannot be read, or names one of the variables without a value."""
    for piece in pieces:
        if piece.broken:
            raise Refused(f"Line {piece.line}: {piece.broken}.", hint="Mend the line first.")
        bare = "" if piece.name else piece.before.split("#")[0].strip()
        if bare in names:
            raise Refused(
                f"Line {piece.line} names {bare} without a value, which readers take for different things.",
                hint="Give it a value there, or take the line out.",
            )


def _pieces(text: str, form: Form) -> Iterator[Piece]:
    place, line = 0, 1
    if text.startswith("\ufeff"):
        yield Piece("\ufeff", disputed="a byte order mark: some take it for part of the first name")
        place = 1
    while place < len(text):
        piece = (_raw_piece if form is Form.RAW else _piece)(text, place, line)
        yield piece
        place += len(piece.text)
        line += piece.text.count("\n")


def _piece(text: str, place: int, line: int) -> Piece:
    nothing, head = _NOTHING.match(text, place), _HEAD.match(text, place)
    if nothing or not head:
        return Piece(nothing[0], line=line) if nothing else _junk(text, place, line)
    mark = text[head.end() : head.end() + 1]
    if mark in _QUOTED:
        return _quoted(text, place, line, head, '"' if mark == '"' else "'")
    rest = _REST.match(text, head.end())
    if not rest:
        return _junk(text, place, line)
    # Behind blanks a comment may begin at once; then the blanks belong to it.
    begin = head.start(4) if mark == "#" else head.end()
    content = text[begin : rest.end()].rstrip("\r\n")
    value = _COMMENT.sub("", content).rstrip()
    return Piece(
        text[place:begin], value, text[begin + len(value) : rest.end()], line, head[2], value,
        disputed=_dispute_bare(head, content, value),
    )  # fmt: skip


def _quoted(text: str, place: int, line: int, head: re.Match[str], quote: Quote) -> Piece:
    found = _QUOTED[quote].match(text, head.end())
    tail = _TAIL.match(text, found.end()) if found else None
    if not found or not tail:
        why = "is not closed" if not found else "is closed, and more follows it"
        piece = _junk(text, place, line)
        return Piece(piece.before, line=line, broken=f"the quote of {head[2]} {why}")
    # Readers open the file as text, where every end of a line is one newline.
    inner = found[0][1:-1].replace("\r\n", "\n").replace("\r", "\n")
    value = _ESCAPES[quote].sub(lambda each: _MEANT.get(each[1], each[1]), inner)
    return Piece(
        head[0], found[0], tail[0], line, head[2], value, quote,
        disputed=_dispute_quoted(inner, tail[0], quote),
    )  # fmt: skip


def _raw_piece(text: str, place: int, line: int) -> Piece:
    nothing = _NOTHING.match(text, place)
    head = None if nothing else _RAW_HEAD.match(text, place)
    rest = _REST.match(text, head.end()) if head else None
    if nothing or not head or not rest:
        return Piece(nothing[0], line=line) if nothing else _junk(text, place, line)
    value = rest[0].removesuffix("\n").removesuffix("\r")
    return Piece(head[0], value, rest[0][len(value) :], line, head[2], value)


def _junk(text: str, place: int, line: int) -> Piece:
    """Return a line that is no assignment; readers skip it, or take a bare name from their own environment."""
    rest = _REST.match(text, place)
    end = text.find("\n", place)
    whole = rest[0] if rest else text[place:] if end < 0 else text[place : end + 1]
    broken = "" if rest else "a carriage return ends the line, or stands inside of it"
    if whole.lstrip().startswith("'"):
        broken = "a name in quotes, of which some readers look for the end in the lines below"
    return Piece(whole, line=line, broken=broken)


def _dispute_bare(head: re.Match[str], content: str, value: str) -> str:
    if len(content.rstrip()) > len(value):
        return "systemd and docker --env-file take the comment for a part of the value"
    if "#" in value:
        return "Node's dotenv takes what follows # for a comment"
    if "`" in value[:1]:
        return "Node's dotenv takes the backticks for quotes"
    if "\\" in value:
        return "systemd takes the backslash for an escape"
    return _dispute_head(head)


def _dispute_head(head: re.Match[str]) -> str:
    if "export" in head[1]:
        return "systemd and docker --env-file know no export"
    return "docker --env-file allows no blanks around =" if head[3] != "=" or head[4] else ""


def _dispute_quoted(inner: str, tail: str, quote: Quote) -> str:
    if "\\" in inner:
        return "readers differ in what a backslash means in quotes"
    if "#" in tail:
        return "systemd takes the comment for a part of the value"
    return "docker --env-file takes the quotes for a part of the value" if quote else ""


def _allowed(name: str, value: str, form: Form) -> None:
    if not NAME.fullmatch(name):
        raise Refused(
            f"{name!r} cannot be a variable's name in a .env file.",
            hint="Letters, digits and underscores, no digit first.",
        )
    if "\x00" in value:
        raise Refused(f"{name}: no environment variable can hold a NUL character.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused(f"{name}: the value is no text that UTF-8 can hold.") from None
    if form is Form.RAW and re.search(r"[\r\n]", value):
        raise Refused(
            f"{name}: a value of several lines cannot stand in a file of the form raw.",
            hint="docker run --env-file reads one line a variable.",
        )


def _open(piece: Piece) -> bool:
    """Say whether no end of line closes a piece."""
    return not piece.text.endswith("\n")


def _without_end(pieces: Sequence[Piece]) -> list[Piece]:
    """Take the end of the last line away, as it was before a line was added behind it."""
    if not pieces:
        return []
    *others, last = pieces
    if last.name:
        return [*others, _replaced(last, after=re.sub(r"\r?\n\Z", "", last.after))]
    return [*others, _replaced(last, before=re.sub(r"\r?\n\Z", "", last.before))]


def _replaced(piece: Piece, *, before: str | None = None, after: str | None = None) -> Piece:
    return Piece(
        piece.before if before is None else before, piece.written,
        piece.after if after is None else after, piece.line, piece.name, piece.value, piece.quote,
    )  # fmt: skip


def _with(piece: Piece, value: str, end: str, form: Form) -> Piece:
    """Return an assignment with another value."""
    if piece.value == value:
        return piece
    comment = bool(piece.after.strip())
    written = value if form is Form.RAW else _written(value, piece.quote, end, comment=comment)
    return Piece(piece.before, written, piece.after, piece.line, piece.name, value)


def _added(text: str, name: str, value: str, end: str, form: Form) -> str:
    """Add an assignment; a file whose last line is open stays such a file."""
    line = f"{name}={value if form is Form.RAW else _written(value, '', end, new=True)}"
    if text and not text.endswith("\n"):
        return f"{text}{end}{line}"
    return f"{text}{line}{end}"


def _written(
    value: str, quote: Quote, end: str, *, comment: bool = False, new: bool = False
) -> str:
    """Write a value: as it was quoted before if that can hold it, else as most readers read it alike."""
    if quote == "'" and not re.search(r"['\\\r\n]", value):
        return f"'{value}'"
    if quote == '"' and not re.search(r'["\\\r]', value):
        return '"' + value.replace("\n", end) + '"'
    if not value:
        # Some readers take a comment that follows the equals sign for the value.
        return "''" if comment else ""
    bare = _LEAVES_BARE.fullmatch(value) and not (new and re.search(r"\s", value))
    if _PLAIN.fullmatch(value) or (bare and not quote):
        return value
    if not re.search(r"['\r\n$]|\\\\|\\\Z", value):
        return f"'{value}'"
    # Not in single quotes: there a reference would be none.
    escaped = re.sub(r'["\\]', lambda found: "\\" + found[0], value)
    return '"' + escaped.replace("\r", r"\r").replace("\n", end) + '"'


def _verify(before: str, after: str, change: Change, form: Form) -> None:
    """Read back what was made, before anything is written.

    Raises:
        Refused: It would not be read as it is meant; the file has a form that secops did not foresee.
    """
    found = values(parse(after, form))
    old = values(parse(before, form)).items()
    expected = {name: value for name, value in old if name not in change.unset} | dict(change.set)
    wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if wrong:
        raise Refused(
            f"The file would not be read back as it is meant: {', '.join(wrong)}.",
            hint="Nothing was written. Write these variables one a line, in quotes.",
        )
