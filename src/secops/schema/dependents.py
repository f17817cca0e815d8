"""What others built on a table or a column that is to go: PostgreSQL would stop half-way back at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from secops.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from secops.database.connection import Connection
    from secops.schema.effects import Effect, Table


@dataclass(frozen=True, slots=True)
class Dependent:
    """One thing that stands on a table.

    Attributes:
        what: In words.
        mend: SQL that takes it away.
    """

    what: str
    mend: str


_VIEWS = """
    SELECT DISTINCT c.relkind = 'm', n.nspname::text, c.relname::text
    FROM pg_depend d
    JOIN pg_rewrite r ON r.oid = d.objid
    JOIN pg_class c ON c.oid = r.ev_class AND c.oid <> d.refobjid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class t ON t.oid = d.refobjid
    JOIN pg_namespace tn ON tn.oid = t.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND tn.nspname = %(schema)s AND t.relname = %(table)s
      AND (%(whole)s OR a.attname = ANY (%(columns)s))
    ORDER BY 2, 3
"""

_KEYS = """
    SELECT n.nspname::text, c.relname::text, k.conname::text
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class t ON t.oid = k.confrelid
    JOIN pg_namespace tn ON tn.oid = t.relnamespace
    WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
      AND tn.nspname = %(schema)s AND t.relname = %(table)s
      AND (%(whole)s OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.oid
                                AND a.attnum = ANY (k.confkey) AND a.attname = ANY (%(columns)s)))
    ORDER BY 1, 2, 3
"""


def dependents(conn: Connection, effects: Iterable[Effect]) -> list[Dependent]:
    """Return the views and foreign keys that stand on what statements drop.

    Args:
        conn: With ``search_path`` being ``pg_catalog`` alone.
        effects: What the statements do, all together; what they drop themselves is not in their way.
    """
    all_of_them = list(effects)
    gone = {each.table for each in all_of_them if each.gone}
    found: dict[str, Dependent] = {}
    for each in all_of_them:
        if not each.gone and not each.columns:
            continue
        schema, table = each.table
        wanted: dict[str, object] = {
            "schema": schema,
            "table": table,
            "whole": each.gone,
            "columns": list(each.columns),
        }
        for stored, view_schema, view in conn.execute(_VIEWS, wanted):
            kind = "materialized view" if stored else "view"
            name = sql.Identifier(str(view_schema), str(view)).as_string()
            words = f"the {kind} {view_schema}.{view} reads {_thing(each)}"
            found.setdefault(words, Dependent(words, f"DROP {kind.upper()} {name}"))
        for owner, child, key in conn.execute(_KEYS, wanted):
            if (str(owner), str(child)) in gone:
                continue
            words = f"the foreign key {key} of {owner}.{child} refers to {_thing(each)}"
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                sql.Identifier(str(owner), str(child)), sql.Identifier(str(key))
            )
            found.setdefault(words, Dependent(words, drop.as_string()))
    return list(found.values())


def _thing(effect: Effect) -> str:
    return (
        _shown(effect.table) if effect.gone else f"columns of {_shown(effect.table)} that would go"
    )


def _shown(table: Table) -> str:
    return ".".join(table)


def in_the_way(found: Sequence[Dependent]) -> Conflict:
    """Return the error for what stands on a table that is to go."""
    return Conflict(
        "Migrations cannot be taken back while others build on them, and nothing was touched: "
        f"{'; '.join(each.what for each in found)}.",
        hint=f"Take that away ({'; '.join(each.mend for each in found)}), then run it again.",
        details={"dependents": [{"what": each.what, "mend": each.mend} for each in found]},
    )
