"""A report's parameters: what a header declares, what the command line gave, what is bound."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from secops.durations import parse_duration
from secops.errors import UsageError

Value = str | int | timedelta | datetime
"""What is bound; the database casts it to :data:`SQL_TYPES`."""

SQL_TYPES: Final[Mapping[str, str]] = {
    "duration": "interval",
    "int": "bigint",
    "text": "text",
    "inet": "inet",
    "timestamp": "timestamptz",
    "choice": "text",
}
"""The types that a parameter may have, and PostgreSQL's type for each."""

METAVARS: Final[Mapping[str, str]] = {
    "duration": "DURATION",
    "int": "N",
    "text": "TEXT",
    "inet": "ADDRESS",
    "timestamp": "TIME",
    "choice": "CHOICE",
}

_LONGEST_TEXT: Final = 1_000
_LARGEST: Final = 2**63 - 1
_MOST_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, as the header of a report declares it.

    Attributes:
        name: As the SQL writes it, ``:min_attempts``.
        type: A key of :data:`SQL_TYPES`.
        default: As a person would give it; ``None`` means NULL.
        required: Whether it must be given.
        least: The lower bound as written (of a text: of its length), or ``None``.
        most: The upper bound.
        choices: What a ``choice`` may be.
        help: One sentence.
    """

    name: str
    type: str
    default: str | None = None
    required: bool = False
    least: str | None = None
    most: str | None = None
    choices: tuple[str, ...] = ()
    help: str = ""

    @property
    def option(self) -> str:
        """Its option on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def bounds(self) -> str:
        """Its bounds in words, or an empty string."""
        unit = " characters" if self.type == "text" else ""
        if self.least is not None and self.most is not None:
            return f"{self.least} to {self.most}{unit}"
        if self.least is not None:
            return f"at least {self.least}{unit}"
        return f"at most {self.most}{unit}" if self.most is not None else ""

    @property
    def bound_type(self) -> str:
        """The type of its bounds; those of a text bound its length."""
        return "int" if self.type == "text" else self.type

    def read(self, text: str) -> Value:
        """Turn what a person gave into the value that is bound.

        Raises:
            UsageError: It is none of the type, or out of bounds.
        """
        try:
            value = read(self.type, text, self.choices)
        except UsageError as error:
            raise UsageError(f"{self.option}: {error.message}", hint=error.hint) from None
        size: object = len(text) if self.type == "text" else value
        low = None if self.least is None else read(self.bound_type, self.least)
        high = None if self.most is None else read(self.bound_type, self.most)
        if (low is not None and size < low) or (high is not None and size > high):  # type: ignore[operator]  # one type has one kind of value
            raise UsageError(
                f"{self.option}: {text!r} is out of bounds.", hint=f"It may be {self.bounds}."
            )
        return value


def read(kind: str, text: str, choices: tuple[str, ...] = ()) -> Value:
    """Turn text into a value of a type, bounds aside.

    Raises:
        UsageError: It is none.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("the text is not valid UTF-8.", hint="Check how it was typed.") from None
    if "\x00" in text:
        raise UsageError("the text holds a NUL character.", hint="PostgreSQL stores none.")
    match kind:
        case "duration":
            return parse_duration(text)
        case "int":
            return _int(text)
        case "inet":
            return _inet(text)
        case "timestamp":
            return read_time(text)
        case "choice" if text not in choices:
            raise UsageError(
                f"{text!r} is none of the choices.", hint=f"One of {', '.join(choices)}."
            )
        case "text" if len(text) > _LONGEST_TEXT:
            raise UsageError(f"the text is longer than {_LONGEST_TEXT:,} characters.")
        case _:
            return text


def read_time(text: str) -> datetime:
    """Read a point in time in ISO 8601; one without an offset is UTC.

    Raises:
        UsageError: It is none.
    """
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no point in time.",
            hint="Write 2026-11-24, 2026-11-24T09:00:00Z or 2026-11-24T10:00:00+01:00.",
        ) from None


def _int(text: str) -> int:
    given = text.strip()
    digits = given.removeprefix("-")
    # Thousands of digits would take Python long to turn into a number that fits no bigint anyway.
    number = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
    if not number or abs(int(given)) > _LARGEST:
        raise UsageError(f"{text!r} is not a whole number.", hint="Write digits only: 5, 100.")
    return int(given)


def _inet(text: str) -> str:
    given = text.strip()
    try:
        # Not strict: 10.0.0.5/8 is an address in a network, to PostgreSQL's inet as well.
        interface = ipaddress.ip_interface(given)
    except ValueError:
        raise UsageError(
            f"{text!r} is no IP address or network.", hint="Write 203.0.113.7 or 203.0.113.0/24."
        ) from None
    if interface.version == 6 and "%" in given:  # noqa: PLR2004
        raise UsageError(
            f"{text!r} has a zone, which PostgreSQL does not store.", hint="Leave it away."
        )
    return given
