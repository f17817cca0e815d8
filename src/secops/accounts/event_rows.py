"""One event of a file: checked, completed, given an id, and written as COPY reads it.

This runs once for each line of files with millions of them, so it does by hand what a validation library
would do, and no work twice.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import json.encoder
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final

from secops.accounts.vocabulary import KINDS

if TYPE_CHECKING:
    from secops.database.layout import KeyType

# Texts, and how many characters the plan's columns take.
_UNLIMITED: Final = 1 << 62
_TEXTS: Final = (
    ("event_type", 50),
    ("event_category", 30),
    ("severity", 20),
    ("email", 255),
    ("ip_address", 45),
    ("user_agent", _UNLIMITED),
    ("request_path", 500),
    ("request_method", 10),
    ("message", _UNLIMITED),
)
_TYPE, _CATEGORY, _SEVERITY, _SUCCESS = 0, 1, 2, len(_TEXTS)

COLUMNS: Final = (*(key for key, _ in _TEXTS), "success", "user_id", "metadata", "created_at", "id")
"""The keys of an event, in the order in which they are written."""

_KNOWN: Final = frozenset(COLUMNS)

DEFAULTS: Final[dict[str, tuple[str, str, bool]]] = {
    each.value: (kind.category, kind.severity, kind.success) for each, kind in KINDS.items()
}
"""Category, severity and success of an event that states none, by its type."""

_SOUNDS_BAD: Final = re.compile(r"fail|denied|reject|lock|invalid|exceed|theft")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_REMEMBERED: Final = 100_000
_RANGES: Final = {"bigint": 2**63, "integer": 2**31}
# A time as isoformat() writes it, which takes longer than reading and comparing it together.
_CANONICAL: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(?!0{6})\d{6})?\+00:00", re.ASCII
).fullmatch
# Nobody logged in to a web app before; times that come out so were read wrongly.
_FIRST_YEAR: Final = 1970
_NULL: Final = "\\N"
_ESCAPES: Final = {ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _encoder() -> Callable[[object], str]:
    """Return what writes JSON, the same for the same value.

    JSONEncoder makes its C encoder anew for each value, which takes longer than a small value does.
    """
    usual = json.JSONEncoder(
        ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode
    make = getattr(json.encoder, "c_make_encoder", None)
    text = getattr(json.encoder, "encode_basestring", None)
    if make is None or text is None:
        return usual
    pieces = make(None, None, text, None, ":", ",", True, False, False)
    return lambda value: "".join(pieces(value, 0)) if type(value) is dict else usual(value)


_encode: Final = _encoder()


_NO_TIME: Final = "created_at is no time like 2026-11-24T09:00:00Z"


class Unfit(ValueError):  # noqa: N818  it is the line that is wrong
    """Why a line is no event; its text is a sentence without its beginning and its full stop."""


@dataclass(slots=True)
class Rows:
    """Turns the events of one file into rows.

    Attributes:
        key_type: The type of ``user_id``.
        timezone: That of times that name none.
        latest: The latest moment that an event may be from.
        extra_to_metadata: Whether keys that no column has go into ``metadata``.
        undated: How many events said no time; they get that of the import.
    """

    key_type: KeyType
    timezone: tzinfo
    latest: datetime
    extra_to_metadata: bool = False
    undated: int = 0
    _users: set[str] = field(default_factory=set)
    _seen: set[bytes] = field(default_factory=set)
    _repeated: dict[bytes, int] = field(default_factory=dict)

    def row(self, given: Mapping[str, object], *, plain: bool = False) -> tuple[str, str]:
        """Turn one event into a row.

        Args:
            given: Its keys and values.
            plain: Whether no text in it can need escaping, as in JSON without a backslash.

        Returns:
            Its id, and its line in COPY's text format, in the order of :data:`COLUMNS`.

        Raises:
            Unfit: It is no event.
        """
        if not _KNOWN.issuperset(given):
            given = self._with_extra(given)
        get = given.get
        if not get("event_type"):
            raise Unfit("event_type is missing")
        stated = []
        for key, longest in _TEXTS:
            text = get(key)
            if text is None:
                stated.append(_NULL)
            elif plain and type(text) is str and len(text) <= longest:
                stated.append(text)
            else:
                stated.append(_text(key, text, longest))
        stated.append(_success(get("success")))
        stated.append(self._user_id(get("user_id")))
        stated.append(_json(get("metadata"), plain))
        stated.append(self._moment(get("created_at")))
        undated = stated[-1] is _NULL
        number = get("id")
        number = self._digest(stated) if number is None else _uuid("id", number)
        if _NULL in (stated[_CATEGORY], stated[_SEVERITY], stated[_SUCCESS]):
            _complete(stated)
        stated.append(number)
        self.undated += undated
        return number, "\t".join(stated) + "\n"

    def _with_extra(self, given: Mapping[str, object]) -> dict[str, object]:
        extra = {key: value for key, value in given.items() if key not in _KNOWN}
        if not self.extra_to_metadata:
            raise Unfit(f"there is no column {next(iter(extra))!r}{nearest(next(iter(extra)))}")
        metadata = given.get("metadata")
        if metadata is None:
            metadata = {}
        if not isinstance(metadata, dict):
            raise Unfit("metadata is no object, so further keys find no place in it")
        if twice := extra.keys() & metadata.keys():
            raise Unfit(f"{min(twice)!r} stands in metadata and beside it")
        known = {key: value for key, value in given.items() if key in _KNOWN}
        return {**known, "metadata": {**metadata, **extra}}

    def _user_id(self, value: object) -> str:
        if value is None:
            return _NULL
        if type(value) is str and value in self._users:
            return value
        if self.key_type == "text":
            return _text("user_id", value, _UNLIMITED)
        uuids = self.key_type == "uuid"
        found = _uuid("user_id", value) if uuids else _number(value, self.key_type)
        # Most events are of people who were in the file before.
        if found == value and len(self._users) < _REMEMBERED:
            self._users.add(found)
        return found

    def _moment(self, value: object) -> str:
        if value is None:
            return _NULL
        if type(value) is not str:
            raise Unfit(_NO_TIME)
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise Unfit(_NO_TIME) from None
        if found.year < _FIRST_YEAR:
            raise Unfit(f"created_at lies before {_FIRST_YEAR}")
        if found.tzinfo is None:
            found = found.replace(tzinfo=self.timezone)
        if found > self.latest:
            raise Unfit("created_at lies in the future")
        # The same moment reads the same, whatever zone it was written in.
        if _CANONICAL(value):
            return value
        return (found if found.tzinfo is UTC else found.astimezone(UTC)).isoformat()

    def _digest(self, stated: list[str]) -> str:
        """Make an id of what the event states, and of how often the file stated the same before.

        Only what stands in the file counts, so that it gets the same id whatever the defaults come to be.
        The first eight bytes tell rows apart while counting; two that share them get different numbers,
        and the same ones at every import.
        """
        content = "\t".join(stated).encode()
        found = hashlib.sha256(content).digest()
        mark = found[:8]
        if mark in self._seen:
            self._repeated[mark] = self._repeated.get(mark, 0) + 1
            found = hashlib.sha256(b"%b\n%d" % (content, self._repeated[mark])).digest()
        else:
            self._seen.add(mark)
        # Version 8 (RFC 9562, section 5.8): made by an application's own rule.
        text = found.hex()
        variant = _VARIANTS[text[16]]
        return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


_VARIANTS: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def nearest(key: str) -> str:
    """Return which key was probably meant, as the end of a sentence."""
    near = difflib.get_close_matches(key, COLUMNS, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def _complete(stated: list[str]) -> None:
    """Fill in category, severity and success where they are missing."""
    kind = stated[_TYPE]
    default = DEFAULTS.get(kind)
    if default is None:
        fine = not _SOUNDS_BAD.search(kind)
        default = ("other", "info" if fine else "warning", fine)
    category, severity, success = default
    if stated[_CATEGORY] is _NULL:
        stated[_CATEGORY] = category
    if stated[_SEVERITY] is _NULL:
        # An event that its type says is fine, and it says is not, is worth a look.
        surprising = success and stated[_SUCCESS] == "f" and severity == "info"
        stated[_SEVERITY] = "warning" if surprising else severity
    if stated[_SUCCESS] is _NULL:
        stated[_SUCCESS] = "t" if success else "f"


def _text(key: str, value: object, longest: int) -> str:
    if type(value) is not str:
        raise Unfit(f"{key} is no text")
    if len(value) > longest:
        raise Unfit(f"{key} is longer than {longest} characters")
    return _escaped(key, value)


def _escaped(key: str, text: str) -> str:
    if text.isprintable() and "\\" not in text:
        return text
    if "\x00" in text:
        raise Unfit(f"{key} holds a NUL character, which PostgreSQL cannot store")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unfit(f"{key} is no valid Unicode") from None
    return text.translate(_ESCAPES)


def _success(value: object) -> str:
    if value is None:
        return _NULL
    if value is True or value is False:
        return "t" if value else "f"
    raise Unfit("success is neither true nor false")


def _json(value: object, plain: bool) -> str:
    if value is None:
        return _NULL
    try:
        text = _encode(value)
    except RecursionError:
        raise Unfit("metadata is nested too deeply") from None
    except ValueError:
        raise Unfit("metadata holds a number that is too large") from None
    if plain:
        return text
    if _NUL_IN_JSON.search(text):
        raise Unfit("metadata holds a NUL character, which PostgreSQL cannot store")
    return _escaped("metadata", text)


def _number(value: object, key_type: KeyType) -> str:
    if type(value) is str and _INTEGER.fullmatch(value):
        value = int(value)
    limit = _RANGES[key_type]
    if type(value) is not int or not -limit <= value < limit:
        raise Unfit(f"user_id is no {key_type}, which the users table has")
    return str(value)


def _uuid(key: str, value: object) -> str:
    if type(value) is str:
        if _UUID.fullmatch(value):
            return value.lower()
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass
    raise Unfit(f"{key} is no UUID")
