"""What holds on to a column, so that its type cannot change, or changes at a price."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from secops.database.connection import Connection

_UTC: Final = frozenset(
    prefix + name
    for prefix in ("", "etc/")
    for name in ("utc", "uct", "gmt", "gmt0", "gmt+0", "gmt-0", "zulu", "universal", "greenwich")
)


@dataclass(frozen=True, slots=True)
class Index:
    """An index that depends on a column.

    Attributes:
        schema: Its schema.
        name: Its name.
        definition: The statement that makes it, as ``pg_get_indexdef`` writes it.
        unique: Whether it is.
        constraint: Whether a constraint owns it.
        keys: Its plain key columns.
        expressions: Its expressions, if it has any.
        predicate: Its predicate, if it is partial.
        columns: Every column that it depends on.
    """

    schema: str
    name: str
    definition: str
    unique: bool
    constraint: bool
    expressions: str
    predicate: str
    columns: frozenset[str]

    def computes_with(self, columns: Collection[str]) -> bool:
        """Say whether it does more with one of these columns than to order by it or ask for NULL.

        Such an expression need not exist, or not be immutable, for a column of another type.
        """
        names = "|".join(map(re.escape, columns))
        asked = re.sub(rf'\(?"?\b(?:{names})\b"? IS (?:NOT )?NULL\)?', "", self.predicate)
        return bool(re.search(rf"\b(?:{names})\b", f"{self.expressions} {asked}"))


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that a change of a column's type would break.

    Attributes:
        column: The column.
        what: What it is, in words.
        mend: SQL that takes it away.
    """

    column: str
    what: str
    mend: str


def concurrently(definition: str) -> str:
    """Return the statement that builds an index beside a running app, of the one that describes it."""
    return re.sub(r"^CREATE (UNIQUE )?INDEX ", r"CREATE \1INDEX CONCURRENTLY ", definition)


def indexes(conn: Connection, schema: str, table: str) -> list[Index]:
    """Return the indexes of a table with all that they depend on."""
    rows = conn.execute(
        """SELECT n.nspname::text, c.relname::text, pg_get_indexdef(i.indexrelid), i.indisunique,
                  EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid
                          AND k.contype IN ('p', 'u', 'x')),
                  coalesce(pg_get_expr(i.indexprs, i.indrelid), ''),
                  coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
                  ARRAY(SELECT a.attname::text FROM pg_attribute a
                        WHERE a.attrelid = i.indrelid AND a.attnum > 0
                          AND (a.attnum = ANY (i.indkey::int2[])
                               OR EXISTS (SELECT FROM pg_depend d
                                          WHERE d.classid = 'pg_class'::regclass
                                            AND d.objid = i.indexrelid
                                            AND d.refclassid = 'pg_class'::regclass
                                            AND d.refobjid = i.indrelid
                                            AND d.refobjsubid = a.attnum)))
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_class t ON t.oid = i.indrelid
           JOIN pg_namespace n ON n.oid = t.relnamespace
           WHERE n.nspname = %s AND t.relname = %s
           ORDER BY c.relname""",
        (schema, table),
    )
    return [
        Index(
            str(found_schema), str(name), str(definition), bool(unique), bool(constraint),
            str(expressions), str(predicate), frozenset(columns),  # type: ignore[call-overload]  # text[]
        )
        for found_schema, name, definition, unique, constraint, expressions, predicate, columns in rows
    ]  # fmt: skip


_HOLDERS: Final = """
    SELECT DISTINCT a.attname::text, pg_describe_object(d.classid, d.objid, 0),
           v.relkind::text, v.oid::regclass::text,
           CASE WHEN v.relkind IN ('v', 'm') THEN pg_get_viewdef(v.oid) END,
           quote_ident(t.tgname), pg_get_triggerdef(t.oid), quote_ident(p.polname),
           CASE WHEN i.oid IS NOT NULL THEN i.oid::regclass::text END
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
                    AND d.refobjsubid = a.attnum
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    LEFT JOIN pg_class v ON v.oid = r.ev_class
    LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
    LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    LEFT JOIN pg_class i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid
                        AND i.relkind IN ('i', 'I')
    LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND a.attname = ANY (%(columns)s)
      AND (i.oid IS NULL OR %(dropped)s)
      -- A CHECK of its own, and its own default, go with it.
      AND NOT (k.oid IS NOT NULL AND k.contype IN ('c', 'n') AND k.conrelid = c.oid)
      AND NOT (f.oid IS NOT NULL AND f.adrelid = c.oid AND f.adnum = a.attnum AND a.attgenerated = '')
      AND d.classid <> 'pg_statistic_ext'::regclass
      AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (
              SELECT FROM pg_class s WHERE s.oid = d.objid AND s.relkind IN ('S', 't')))
    ORDER BY 1, 2
"""


def holders(
    conn: Connection, table: tuple[str, str], columns: Sequence[str], *, dropped: bool
) -> list[Holder]:
    """Find what keeps columns of a table from another type.

    Args:
        conn: Any connection.
        table: Schema and name.
        columns: The columns.
        dropped: Whether the columns themselves would go, and with them every index that holds them.
    """
    schema, name = table
    shown = ".".join(_quoted(part) for part in table)
    found = []
    rows = conn.execute(
        _HOLDERS, {"schema": schema, "table": name, "columns": list(columns), "dropped": dropped}
    )
    for column, what, kind, view, definition, trigger, trigger_is, policy, index in rows:
        shown_as = str(what)
        mend = f"-- Drop {what}, and make it again afterwards."
        if kind in {"v", "m"}:
            word = "VIEW" if kind == "v" else "MATERIALIZED VIEW"
            text = " ".join(str(definition).split())
            shown_as = f"{word.lower()} {view}"
            mend = f"DROP {word} {view};  -- and afterwards: CREATE {word} {view} AS {text}"
        elif trigger is not None:
            mend = f"DROP TRIGGER {trigger} ON {shown};  -- and afterwards: {trigger_is}"
        elif policy is not None:
            mend = f"DROP POLICY {policy} ON {shown};  -- and create it again afterwards"
        elif index is not None:
            mend = f"DROP INDEX CONCURRENTLY {index};"
        found.append(Holder(str(column), shown_as, mend))
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def odd_zones(conn: Connection, schema: str, table: str) -> list[tuple[str, str]]:
    """Return the roles whose sessions read a time without a zone as one of another zone than UTC.

    Looked at are those that may log in and write to the table, as far as their zone is set on the
    server; what an app sets by itself once it is connected cannot be seen.
    """
    rows = conn.execute(
        """SELECT r.rolname::text, coalesce(
                      (SELECT split_part(o, '=', 2)
                       FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS o
                       WHERE o ILIKE 'timezone=%%'
                         AND s.setrole IN (r.oid, 0) AND s.setdatabase IN (d.oid, 0)
                       -- As the server has it: the role in the database, the role, the database.
                       ORDER BY s.setrole = 0, s.setdatabase = 0
                       LIMIT 1),
                      (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'))
           FROM pg_roles r
           JOIN pg_database d ON d.datname = current_database()
           JOIN pg_class c ON c.relname = %(table)s
           JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %(schema)s
           WHERE r.rolcanlogin AND has_table_privilege(r.oid, c.oid, 'INSERT')
             AND (NOT r.rolsuper OR r.oid = c.relowner OR r.rolname = current_user)
           ORDER BY 1""",
        {"schema": schema, "table": table},
    )
    return [(str(role), str(zone)) for role, zone in rows if str(zone).lower() not in _UTC]
