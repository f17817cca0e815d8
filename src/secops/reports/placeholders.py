"""Find ``:name`` and ``:"name"`` in a report's SQL, and put bound parameters and quoted names there.

The notation is psql's, so that a file can be tried out in psql: ``:since`` is a value, which is bound and
never becomes part of the text; ``:"users_table"`` is a name, which is quoted. Neither is looked for inside
string literals, quoted names, dollar quotes and comments, and ``::`` stays a cast. The lexical rules are
those of https://www.postgresql.org/docs/current/sql-syntax-lexical.html.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_LETTER: Final = r"[A-Za-z_\u0080-\U0010ffff]"
_TOKEN: Final = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<line>--[^\r\n]*)
    | (?P<block>/\*)
    | (?P<escape>[eE]'(?:[^'\\]|\\.|'')*(?P<escape_end>')?
          (?:[ \t\f\r]*\n\s*'(?:[^'\\]|\\.|'')*')*)
    | (?P<string>'(?:[^']|'')*(?P<string_end>')?)
    | (?P<quoted>"(?:[^"]|"")*(?P<quoted_end>")?)
    | (?P<dollar>\$(?:{_LETTER}[A-Za-z0-9_\u0080-\U0010ffff]*)?\$)
    | (?P<number>\$\d+)
    | (?P<word>{_LETTER}[A-Za-z0-9_$\u0080-\U0010ffff]*)
    | (?P<digits>\d[A-Za-z0-9_.]*)
    | (?P<two>::|:=)
    | (?P<name>:"(?P<name_text>(?:[^"]|"")*)")
    | (?P<literal>:')
    | (?P<value>:(?P<value_text>[A-Za-z_][A-Za-z0-9_]*))
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")

_UNTERMINATED: Final = {
    "escape": "a string literal",
    "string": "a string literal",
    "quoted": "a quoted name",
}


class SqlShapeError(Exception):
    """The SQL of a report cannot be read.

    Args:
        offset: Where in the text, counted from 0.
        message: What is wrong there.
    """

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One place where something is put in.

    Attributes:
        kind: ``value`` (``:since``) or ``name`` (``:"users_table"``).
        name: Which.
        start: Offset of its colon.
        end: Offset behind it.
        qualifier: Offset of the ``u`` in ``u.:"users_name"``; ``start`` where nothing qualifies it.
    """

    kind: Literal["value", "name"]
    name: str
    start: int
    end: int
    qualifier: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """SQL with its placeholders replaced, and the way back to the text that it was made of.

    Attributes:
        text: What to send.
        starts: Offsets in ``text`` where a piece begins, ascending.
        origins: For each, its offset in the original, and whether it was copied (or put in).
    """

    text: str
    starts: tuple[int, ...]
    origins: tuple[tuple[int, bool], ...]

    def origin(self, offset: int) -> int:
        """Return where in the original the character at an offset of ``text`` came from."""
        index = max(bisect_right(self.starts, offset) - 1, 0)
        start, copied = self.origins[index]
        return start + (offset - self.starts[index] if copied else 0)


def find(text: str) -> tuple[Placeholder, ...]:
    """Find every placeholder of one SQL statement.

    Raises:
        SqlShapeError: Something is not closed, a second statement follows, or a parameter is written in
            a way that is not understood here (``$1``, ``:'name'``).
    """
    found: list[Placeholder] = []
    ended = False
    before: list[tuple[str, int]] = []  # the last two tokens' text and start, for `u.:"name"`
    for match, start, end in _tokens(text):
        kind = match.lastgroup
        if ended:
            raise SqlShapeError(start, "a second statement begins here; a report is one statement")
        if kind == "end":
            ended = True
        elif kind == "value":
            found.append(Placeholder("value", match["value_text"], start, end, start))
        elif kind == "name":
            name = match["name_text"].replace('""', '"')
            found.append(Placeholder("name", name, start, end, _qualifier(before, start)))
        before = [*before[-1:], (match.group(), start)]
    return tuple(found)


def is_blank(text: str) -> bool:
    """Say whether SQL is nothing but space and comments.

    Raises:
        SqlShapeError: It begins with something that is not closed.
    """
    return next(_tokens(text), None) is None


def _tokens(text: str) -> Iterator[tuple[re.Match[str], int, int]]:
    """Give each token that is neither space nor comment, with where it begins and ends."""
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        assert match is not None
        kind = match.lastgroup or ""
        start, offset = offset, match.end()
        if kind == "block":
            offset = _behind_comment(text, start)
        elif kind == "dollar":
            offset = _behind_dollar_quote(text, start, match["dollar"])
        if kind not in {"space", "line", "block"}:
            _refuse(kind, match, start)
            yield match, start, offset


def render(
    text: str,
    placeholders: Sequence[Placeholder],
    put: Callable[[Placeholder], tuple[str, bool]],
) -> Rendered:
    """Replace placeholders.

    Args:
        text: The original.
        placeholders: Those that :func:`find` found in it.
        put: Returns what takes a placeholder's place, and whether it takes that of its qualifier too.
    """
    pieces: list[str] = []
    starts: list[int] = []
    origins: list[tuple[int, bool]] = []
    length = done = 0

    def add(piece: str, origin: int, copied: bool) -> None:
        nonlocal length
        if piece:
            pieces.append(piece)
            starts.append(length)
            origins.append((origin, copied))
            length += len(piece)

    for each in placeholders:
        new, qualified = put(each)
        begin = each.qualifier if qualified else each.start
        add(text[done:begin], done, True)
        add(new, begin, False)
        done = each.end
    add(text[done:], done, True)
    return Rendered("".join(pieces), tuple(starts) or (0,), tuple(origins) or ((0, True),))


def _refuse(kind: str, match: re.Match[str], start: int) -> None:
    if kind in _UNTERMINATED and match[f"{kind}_end"] is None:
        raise SqlShapeError(start, f"{_UNTERMINATED[kind]} begins here and does not end")
    if kind == "number":
        raise SqlShapeError(start, f"write parameters as :name, not {match.group()}")
    if kind == "literal":
        raise SqlShapeError(start, "write :name without quotes; its value is bound, never pasted")
    if kind == "other" and match.group() == "\x00":
        raise SqlShapeError(start, "a NUL character stands here")


def _qualifier(before: list[tuple[str, int]], start: int) -> int:
    """Return where the qualifier of a name begins: two tokens before it, if a dot touches it."""
    if len(before) == 2:  # noqa: PLR2004  a word and a dot
        (word, at), (dot, dot_at) = before
        if dot == "." and dot_at == start - 1 and at + len(word) == dot_at:
            return at
    return start


def _behind_comment(text: str, start: int) -> int:
    """Return the offset behind a block comment; they nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise SqlShapeError(start, "a comment begins here and does not end")


def _behind_dollar_quote(text: str, start: int, tag: str) -> int:
    end = text.find(tag, start + len(tag))
    if end < 0:
        raise SqlShapeError(start, f"a {tag} quote begins here and does not end")
    return end + len(tag)
