"""How each column of an earlier layer becomes the one that is wanted: the rules, and no database."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString

from psycopg import sql

from secops.schema.adoption.earlier import AWARE, ENUM, EVENTS, NAIVE, TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secops.schema import catalogue
    from secops.schema.adoption.earlier import Was
    from secops.schema.tables import Column

_VARCHAR: Final = re.compile(r"character varying\((\d+)\)")

ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "event_type": ("event", "type", "action", "event_name", "name", "kind"),
    "event_category": ("category",),
    "severity": ("level", "priority"),
    "email": ("user_email", "username", "login", "identifier"),
    "ip_address": ("ip", "ip_addr", "client_ip", "remote_addr", "source_ip"),
    "user_agent": ("agent", "ua", "useragent"),
    "request_path": ("path", "url", "endpoint"),
    "request_method": ("method", "http_method"),
    "success": ("succeeded", "successful", "is_success", "ok"),
    "message": ("description", "detail", "note"),
    "metadata": ("details", "data", "context", "payload", "extra", "meta"),
    "created_at": ("timestamp", "occurred_at", "event_time", "logged_at", "happened_at", "ts"),
}
"""Under which names an earlier security_events may hold what is wanted; the first that fits is taken."""

STANDING_IN: Final[dict[str, LiteralString]] = {
    "event_category": "'authentication'",
    "severity": "'info'",
    "success": "true",
}
"""What an earlier row is given for a column that must have a value, where nothing holds one. A constant,
so that no row is written for it."""

FAILURES: Final = "fail|invalid|denied|reject|block|wrong|bad_"
"""What the type of an event matches that was no success."""


class Way(enum.StrEnum):
    """What is done to a column."""

    KEEP = "keep"
    """It is there, and good."""
    RETYPE = "retype"
    """Its type changes in place, without a row being written."""
    SWAP = "swap"
    """Another column is filled from it, row by row, and then takes its name."""
    FILL = "fill"
    """It is added, and filled from another that stays."""
    STAND_IN = "stand in"
    """It is added with a constant."""
    ADD = "add"
    """It is added, empty."""
    REFUSE = "refuse"
    """A person must do it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to one column.

    Attributes:
        column: As it should be.
        way: How it gets there.
        source: The column that it is filled from.
        kind: That column's type.
    """

    column: Column
    way: Way
    source: str = ""
    kind: str = ""

    @property
    def place(self) -> str:
        """The column that is filled, while it is."""
        return beside(self.column.name) if self.way is Way.SWAP else self.column.name

    @property
    def filled(self) -> bool:
        """Whether rows are written for it."""
        return self.way in {Way.SWAP, Way.FILL}

    def value(self, row: str) -> sql.Composed:
        """Return what it is filled with.

        Args:
            row: What the row is called: ``NEW``, or a table.
        """
        old = sql.SQL("{}.{}").format(_name(row), sql.Identifier(self.source))
        if self.column.name == "token_hash":
            # As the plan's backend looks tokens up: SHA-256 of their UTF-8, in hexadecimal digits.
            return sql.SQL(
                "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({}::text, 'UTF8')), 'hex')"
            ).format(old)
        return conversion(self.kind, self.column.type, old)


def beside(column: str) -> str:
    """Return what the column is called that is to take another's name."""
    return f"secops_{column}"


def ways(table: str, had: Mapping[str, Was], wanted: Sequence[Column]) -> dict[str, Plan]:
    """Say for each wanted column how an earlier table comes by it.

    Args:
        table: ``refresh_tokens``, ``security_events`` or ``users``.
        had: Its columns as they were.
        wanted: Those that are wanted.
    """
    return {column.name: _way(table, had, column) for column in wanted}


def _way(table: str, had: Mapping[str, Was], column: Column) -> Plan:
    was = had.get(column.name)
    if was is not None:
        return _changed(column, was)
    if table == TOKENS and column.name == "token_hash":
        return Plan(column, Way.FILL, "token", had["token"].type)
    if table == EVENTS:
        for name in ALIASES.get(column.name, ()):
            if name in had and _convertible(had[name].type, column.type):
                return Plan(column, Way.FILL, name, had[name].type)
        if column.name in STANDING_IN:
            return Plan(column, Way.STAND_IN)
    # Nobody can say for a row that is there whose it was, or when it ends.
    return Plan(column, Way.REFUSE if column.not_null else Way.ADD)


def _changed(column: Column, was: Was) -> Plan:
    """Say how a column that is there becomes the one that is wanted."""
    if column.holds(was.type):
        return Plan(column, Way.KEEP)
    if widens(was.type, column.type):
        return Plan(column, Way.RETYPE)
    if _convertible(was.type, column.type):
        return Plan(column, Way.SWAP, column.name, was.type)
    return Plan(column, Way.REFUSE)


def widens(old: str, new: str) -> bool:
    """Say whether a type becomes another without a row being written or read.

    Times without a zone do where the session's zone is UTC: the stored number stays
    (PostgreSQL 12 and later).
    """
    if (old, new) == (NAIVE, AWARE):
        return True
    narrow, wide = _VARCHAR.fullmatch(old), _VARCHAR.fullmatch(new)
    if narrow is None:
        return False
    return new == "text" or (wide is not None and int(wide[1]) > int(narrow[1]))


def _convertible(old: str, new: str) -> bool:
    return _expression(old, new) is not None


def _name(row: str) -> sql.Composable:
    return sql.SQL("NEW") if row == "NEW" else sql.Identifier(row)


def conversion(old: str, new: str, value: sql.Composable) -> sql.Composed:
    """Return the expression that makes a value of one type one of another."""
    words = _expression(old, new)
    assert words is not None  # or the way would be another
    length = _VARCHAR.fullmatch(new)
    text = sql.SQL(words).format(value)
    if length is None or words == "{}":
        return text
    return sql.SQL("left({}, {})").format(text, sql.Literal(int(length[1])))


def _expression(old: str, new: str) -> LiteralString | None:  # noqa: PLR0911  one arm a pair of types
    if old == new:
        return "{}"
    textual = old == "text" or old.startswith(("character varying", "character("))
    if new == "text" or _VARCHAR.fullmatch(new):
        if old in {"inet", "cidr"}:
            # host() leaves away the /32 that a cast writes.
            return "host({})"
        if old in {"json", "jsonb", ENUM, "uuid"} or textual:
            return "{}::text"
        return None
    if new == "jsonb":
        if old == "json":
            return "{}::jsonb"
        return "to_jsonb({}::text)" if textual else None
    if (old, new) == (NAIVE, AWARE):
        return "({} AT TIME ZONE 'UTC')"
    return None


def swapped(plan: Plan, there: Mapping[str, catalogue.Column]) -> bool:
    """Say whether a column of another type has taken the old one's name."""
    found = there.get(plan.column.name)
    return plan.way is Way.SWAP and found is not None and plan.column.holds(found.type)
