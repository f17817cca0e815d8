"""Make the statement that is sent of a report's SQL: values bound, names quoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql

from secops.database.layout import INTERNAL
from secops.reports.parameters import SQL_TYPES, Value
from secops.reports.placeholders import Placeholder, Rendered, render

if TYPE_CHECKING:
    from secops.database.layout import Layout
    from secops.reports.header import Report


@dataclass(frozen=True, slots=True)
class Statement:
    """A report's SQL as it is sent."""

    rendered: Rendered
    values: tuple[Value | None, ...]


def statement(
    report: Report,
    layout: Layout,
    values: Mapping[str, Value | None],
    *,
    as_of: datetime | None = None,
    limit: int = 0,
) -> Statement:
    """Put bound parameters and quoted names in the places of a report's placeholders.

    Args:
        report: The report.
        layout: What the tables are called.
        values: What is bound, by the names of the report's parameters.
        as_of: The time that the report is about; the database's own where ``None``.
        limit: How many rows are to come at most; 0 means all.
    """
    bound: list[Value | None] = []
    numbers: dict[str, int] = {}
    types = {each.name: SQL_TYPES[each.type] for each in report.parameters}
    types |= {"as_of": SQL_TYPES["timestamp"], "limit": SQL_TYPES["int"]}
    given = {**values, "as_of": as_of, "limit": limit or None, **_names(layout)}

    def put(place: Placeholder) -> tuple[str, bool]:
        if place.kind == "name":
            return quoted_name(layout, place.name)
        if place.name == "as_of" and as_of is None:
            return "now()", False
        if place.name not in numbers:
            bound.append(given[place.name])
            numbers[place.name] = len(bound)
        return f"${numbers[place.name]}::{types.get(place.name, 'text')}", False

    return Statement(render(report.sql, report.placeholders, put), tuple(bound))


def quoted_name(layout: Layout, name: str) -> tuple[str, bool]:
    """Return what ``:"name"`` stands for, and whether it takes its qualifier's place too.

    A column that the users table does not have reads as NULL.
    """
    found = _names(layout)[name]
    if found is None:
        return ("NULL::boolean" if name == "users_active" else "NULL::text"), True
    return sql.Identifier(found).as_string(None), False


def _names(layout: Layout) -> dict[str, str | None]:
    users = layout.users
    return {
        "schema": layout.schema,
        "users_schema": users.schema,
        "users_table": users.name,
        "users_id": users.id,
        "users_email": users.email,
        "users_name": users.display_name,
        "users_active": users.active,
    }


def search_path(layout: Layout, extension_schema: str | None = None) -> str:
    """Return the schemas in which a report's unqualified names are looked for."""
    names = dict.fromkeys([layout.schema, INTERNAL, "public", extension_schema])
    return ", ".join(sql.Identifier(name).as_string(None) for name in names if name)


def for_psql(
    report: Report,
    layout: Layout,
    values: Mapping[str, Value | None],
    *,
    as_of: datetime | None = None,
    limit: int = 0,
) -> list[str]:
    r"""Write a report as lines to paste into psql, which understands ``:name`` itself.

    Args:
        report: The report.
        layout: What the tables are called.
        values: By the names of the report's parameters.
        as_of: The time that the report is about; the database's own where ``None``.
        limit: How many rows at most; 0 means all.

    Returns:
        A read-only transaction, each value as ``\set``, and the SQL with its names put in.
    """
    types = {each.name: SQL_TYPES[each.type] for each in report.parameters}
    literals = {
        name: f"({sql.Literal(value).as_string(None)}::{types[name]})"
        for name, value in values.items()
    }
    literals |= {
        name: f"({sql.Literal(value).as_string(None)}::text)"
        for name, value in _names(layout).items()
    }
    literals["as_of"] = (
        "now()" if as_of is None else f"({sql.Literal(as_of).as_string(None)}::timestamptz)"
    )
    literals["limit"] = str(limit) if limit else "NULL"

    def put(place: Placeholder) -> tuple[str, bool]:
        return (
            quoted_name(layout, place.name) if place.kind == "name" else (f":{place.name}", False)
        )

    used = dict.fromkeys(each.name for each in report.placeholders if each.kind == "value")
    text = render(report.sql, report.placeholders, put).text.rstrip().removesuffix(";")
    return [
        "BEGIN READ ONLY;",
        f"SET LOCAL search_path = {search_path(layout)};",
        "SET LOCAL TimeZone = 'UTC';",
        *(rf"\set {name} {_psql_quoted(literals[name])}" for name in used),
        *text.expandtabs().split("\n"),
        ";",
        "ROLLBACK;",
    ]


def _psql_quoted(text: str) -> str:
    r"""Quote an argument of a psql command; backslash sequences work inside its quotes."""
    escaped = (
        text.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    )
    return f"'{escaped}'"
