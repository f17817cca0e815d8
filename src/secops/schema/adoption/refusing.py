"""What keeps an earlier layer from being taken over, each with the SQL that a person could run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors as pg
from psycopg import sql

from secops.schema import catalogue
from secops.schema.adoption.earlier import AWARE, NAIVE, TOKENS, recall
from secops.schema.adoption.reading import holders, odd_zones
from secops.schema.adoption.ways import Way, swapped
from secops.schema.indexes import as_sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secops.database.connection import Connection
    from secops.schema.adoption.memory import Difference
    from secops.schema.adoption.table import Taken


def zones(conn: Connection, tables: Iterable[Taken], written: tuple[str, str]) -> list[Difference]:
    """Find roles that would read the times that the old app writes as those of another zone.

    Args:
        conn: Any connection.
        tables: What is taken over.
        written: Schema and name of a table that the app writes to.
    """
    times = any(
        plan.column.type == AWARE and _types(conn, taken).get(plan.column.name) == NAIVE
        for taken in tables
        for plan in taken.going(Way.RETYPE)
    )
    if not times:
        return []
    found = []
    for role, zone in odd_zones(conn, *written):
        words = (
            f"sessions of {role} are in the zone {zone}, so that the times without a zone that "
            "they write would not be taken as UTC"
        )
        setting = sql.SQL("ALTER ROLE {} IN DATABASE {} SET TimeZone = 'UTC';").format(
            sql.Identifier(role), sql.Identifier(conn.info.dbname)
        )
        mend = f"{setting.as_string()}  -- if its times are UTC; then let the app connect anew"
        found.append((words, mend))
    return found


def checked(conn: Connection, taken: Taken) -> list[Difference]:
    """Find CHECKs that rows of the new app would break, for it leaves the old app's columns away."""
    if not taken.whole:
        return []
    there = catalogue.columns(conn, *taken.table)
    known = {column.name for column in taken.wanted} - {"token"}
    found = []
    for each in catalogue.constraints(conn, *taken.table):
        if each.kind != "c" or known.issuperset(each.columns) or not each.columns:
            continue
        if taken.reserved.intersection(each.columns):
            continue  # it goes anyway
        nothing = sql.SQL(", ").join(
            sql.SQL("NULL::{} AS {}").format(as_sql(there[name].type), sql.Identifier(name))
            for name in each.columns
        )
        condition = as_sql(each.definition.removesuffix(" NOT VALID").removeprefix("CHECK "))
        query = sql.SQL("SELECT {} IS FALSE FROM (SELECT {}) AS row").format(condition, nothing)
        try:
            with conn.transaction():
                row = conn.execute(query).fetchone()
        except (pg.SyntaxError, pg.UndefinedColumn, pg.UndefinedObject):
            continue  # NO INHERIT, or the row as a whole: what it asks cannot be asked of nothing
        if row == (True,):
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {};").format(
                taken.identifier, sql.Identifier(each.name)
            )
            words = f"{taken.schema}.{taken.name} has {each.definition}, which refuses rows of the new app"
            found.append((words, drop.as_string()))
    return found


def _types(conn: Connection, taken: Taken) -> dict[str, str]:
    return {name: each.type for name, each in catalogue.columns(conn, *taken.table).items()}


def _filled(conn: Connection, taken: Taken) -> bool:
    return (taken.label, "") in recall(conn, "filled")


def held(conn: Connection, taken: Taken) -> list[Difference]:
    """Find what holds on to a column that another is to replace."""
    there = dict(catalogue.columns(conn, *taken.table))
    names = [plan.column.name for plan in taken.going(Way.SWAP) if not swapped(plan, there)]
    if not names:
        return []
    shown = f"{taken.schema}.{taken.name}"
    return [
        (
            f"{each.what} holds on to {shown}.{each.column}, which is to be of another type",
            each.mend,
        )
        for each in holders(conn, taken.table, names, dropped=True)
    ]


def without(conn: Connection, taken: Taken, columns: list[str]) -> list[Difference]:
    """Find rows that lack what every row must have."""
    if _filled(conn, taken):
        return []
    there = catalogue.columns(conn, *taken.table)
    found = []
    for name in columns:
        plan = taken.plans[name]
        source = plan.source if plan.filled else name
        parts = [sql.Identifier(each) for each in dict.fromkeys((name, source)) if each in there]
        if source not in there or there[source].not_null:
            continue
        where = sql.SQL(" AND ").join(sql.SQL("{} IS NULL").format(part) for part in parts)
        row = conn.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(taken.identifier, where)
        ).fetchone()
        if row == (True,):
            mend = sql.SQL("DELETE FROM {} WHERE {};  -- or give them one").format(
                taken.identifier, where
            )
            found.append(
                (f"rows of {taken.schema}.{taken.name} have no {source}", mend.as_string())
            )
    return found


def not_unique(conn: Connection, taken: Taken) -> list[Difference]:
    """Find a clear token that is not unique, so that its hash would not be."""
    there = catalogue.columns(conn, *taken.table)
    if (
        taken.label != TOKENS
        or "token" not in there
        or catalogue.unique_on(conn, *taken.table, "token")
    ):
        return []
    mend = sql.SQL("CREATE UNIQUE INDEX CONCURRENTLY ON {} (token);").format(taken.identifier)
    return [(f"{taken.schema}.{taken.name}.token is not unique", mend.as_string())]
