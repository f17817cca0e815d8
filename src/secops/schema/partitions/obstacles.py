"""What stands in the way of a conversion, all of it at once, each with what removes it.

Whatever refers to a table by its number in the catalogue (a view, a foreign key, a publication) stays
with the table that is renamed, and would see one partition where it saw everything. PostgreSQL says so of
few of them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg import errors as pg
from psycopg import sql

from secops.errors import Conflict, Refused
from secops.schema.adoption.following import TRIGGER
from secops.schema.partitions.picture import KEY, TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from secops.database.connection import Connection
    from secops.errors import SecopsError
    from secops.schema.partitions.shape import Shape

OLDEST: Final = 14_00_00
"""The server that brought DETACH PARTITION CONCURRENTLY."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing in the way.

    Attributes:
        kind: In a word or two.
        what: In a sentence without a full stop.
        mend: SQL to run, or advice.
        guard: Whether it is about who asks, not about what is there.
    """

    kind: str
    what: str
    mend: str
    guard: bool = False


def refusal(what: str, found: Sequence[Obstacle]) -> SecopsError:
    """Return the error that names them all; nothing was touched."""
    words = "; ".join(each.what for each in found)
    kind = Refused if all(each.guard for each in found) else Conflict
    return kind(
        f"{what} is not possible yet, and nothing was touched: {words}.",
        hint="Then run it again, after:\n" + "\n".join(each.mend for each in found),
        details={
            "obstacles": [
                {"kind": each.kind, "what": each.what, "mend": each.mend} for each in found
            ]
        },
    )


_DEPENDENTS: Final = """
    -- Views and rules. A table's own rules count too.
    SELECT DISTINCT CASE WHEN v.relkind IN ('v', 'm') THEN v.relkind::text ELSE 'rule' END,
           v.oid::regclass::text,
           CASE WHEN v.relkind IN ('v', 'm') THEN pg_get_viewdef(v.oid) ELSE r.rulename::text END
    FROM pg_depend d
    JOIN pg_rewrite r ON r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = %(oid)s::oid
    UNION ALL
    SELECT 'foreign key', k.conrelid::regclass::text, k.conname::text
    FROM pg_constraint k
    WHERE k.contype = 'f' AND k.confrelid = %(oid)s::oid AND k.conparentid = 0
      AND k.conrelid <> k.confrelid
    UNION ALL
    SELECT 'own foreign key', k.confrelid::regclass::text, k.conname::text
    FROM pg_constraint k
    WHERE k.contype = 'f' AND k.conrelid = %(oid)s::oid AND k.conparentid = 0
    UNION ALL
    SELECT 'trigger', t.tgname::text, pg_get_triggerdef(t.oid)
    FROM pg_trigger t WHERE t.tgrelid = %(oid)s::oid AND NOT t.tgisinternal AND t.tgparentid = 0
    UNION ALL
    SELECT 'policy', p.polname::text, '' FROM pg_policy p WHERE p.polrelid = %(oid)s::oid
    UNION ALL
    SELECT 'row security', '', '' FROM pg_class WHERE oid = %(oid)s::oid AND relrowsecurity
    UNION ALL
    SELECT 'publication', p.pubname::text, ''
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    WHERE r.prrelid = %(oid)s::oid
    UNION ALL
    -- All tables, or all of a schema: each partition would be published as a table of its own.
    SELECT 'wide publication', p.pubname::text, ''
    FROM pg_publication p
    JOIN pg_publication_tables t ON t.pubname = p.pubname
    JOIN pg_class c ON c.oid = %(oid)s::oid AND c.relname = t.tablename
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schemaname
    WHERE NOT p.pubviaroot AND c.relkind = 'r'
      AND NOT EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
    UNION ALL
    SELECT 'subscription', s.subname::text, ''
    FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
    WHERE r.srrelid = %(oid)s::oid
    UNION ALL
    SELECT 'replica identity', relreplident::text, ''
    FROM pg_class WHERE oid = %(oid)s::oid AND relreplident <> 'd'
    UNION ALL
    SELECT CASE WHEN i.inhparent = %(oid)s::oid THEN 'child' ELSE 'parent' END,
           CASE WHEN i.inhparent = %(oid)s::oid THEN i.inhrelid ELSE i.inhparent END::regclass::text, ''
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid AND NOT c.relispartition
    WHERE %(oid)s::oid IN (i.inhparent, i.inhrelid)
    UNION ALL
    SELECT 'identity', a.attname::text, ''
    FROM pg_attribute a
    WHERE a.attrelid = %(oid)s::oid AND a.attidentity <> '' AND NOT a.attisdropped
    UNION ALL
    SELECT 'not logged', '', '' FROM pg_class WHERE oid = %(oid)s::oid AND relpersistence <> 'p'
    UNION ALL
    SELECT 'of a type', reloftype::regtype::text, ''
    FROM pg_class WHERE oid = %(oid)s::oid AND reloftype <> 0
    UNION ALL
    -- Whatever else holds on to the table or to the type of its rows: functions, columns, operators ...
    SELECT DISTINCT 'other', pg_describe_object(d.classid, d.objid, d.objsubid), ''
    FROM pg_depend d
    JOIN pg_class c ON c.oid = %(oid)s::oid
    LEFT JOIN pg_type t ON t.oid = c.reltype
    WHERE d.deptype IN ('n', 'a') AND d.objid <> %(oid)s::oid
      AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
           OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray))
      AND d.classid NOT IN ('pg_rewrite'::regclass, 'pg_constraint'::regclass, 'pg_trigger'::regclass,
                            'pg_policy'::regclass, 'pg_publication_rel'::regclass,
                            'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass, 'pg_type'::regclass)
      AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (
              SELECT FROM pg_class o WHERE o.oid = d.objid AND o.relkind IN ('i', 'I', 'S', 't')
                 OR EXISTS (SELECT FROM pg_inherits i
                            WHERE i.inhrelid = d.objid AND i.inhparent = c.oid)))
    ORDER BY 1, 2, 3
"""


# Kind, sentence and mend of each of these; ``who``, ``more`` and their quoted forms are filled in.
_WORDS: Final = {
    "v": (
        "view",
        "the view {who} reads it",
        "DROP VIEW {who};  -- and afterwards: CREATE VIEW {who} AS {more}",
    ),
    "m": (
        "view",
        "the materialized view {who} reads it",
        "DROP MATERIALIZED VIEW {who};  -- and afterwards: CREATE MATERIALIZED VIEW {who} AS {more}",
    ),
    "rule": ("rule", "it has the rule {more}", "DROP RULE {quoted_more} ON {table};"),
    "foreign key": (
        "foreign key",
        "{who} refers to it ({more}), and its id alone will be no key",
        "ALTER TABLE {who} DROP CONSTRAINT {quoted_more};",
    ),
    "own foreign key": (
        "foreign key",
        "it refers to {who} ({more}), which would be locked with it",
        "ALTER TABLE {table} DROP CONSTRAINT {quoted_more};",
    ),
    "trigger": (
        "trigger",
        "it has the trigger {who}",
        "DROP TRIGGER {quoted} ON {table};  -- and afterwards: {more}",
    ),
    "policy": (
        "policy",
        "it has the row-level security policy {who}",
        "DROP POLICY {quoted} ON {table};  -- and create it again afterwards",
    ),
    "row security": (
        "policy",
        "row-level security is enabled on it",
        "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;  -- and enable it again afterwards",
    ),
    "publication": (
        "publication",
        "the publication {who} publishes it",
        (
            "ALTER PUBLICATION {quoted} DROP TABLE {table};  -- and afterwards: ALTER PUBLICATION "
            "{quoted} SET (publish_via_partition_root = true); ALTER PUBLICATION {quoted} ADD TABLE "
            "{table};"
        ),
    ),
    "wide publication": (
        "publication",
        "the publication {who} would publish each partition as a table of its own",
        "ALTER PUBLICATION {quoted} SET (publish_via_partition_root = true);",
    ),
    "subscription": (
        "subscription",
        "the subscription {who} writes to it, by its number",
        "-- Convert it where its events come from, or end the subscription {who}.",
    ),
    "replica identity": (
        "replica identity",
        "its replica identity is not its primary key",
        "ALTER TABLE {table} REPLICA IDENTITY DEFAULT;",
    ),
    "child": ("inheritance", "{who} inherits from it", "ALTER TABLE {who} NO INHERIT {table};"),
    "parent": ("inheritance", "it inherits from {who}", "ALTER TABLE {table} NO INHERIT {who};"),
    "identity": (
        "identity",
        "its column {who} is an identity, whose counter no partitioned table would take over",
        "ALTER TABLE {table} ALTER COLUMN {quoted} DROP IDENTITY;",
    ),
    "not logged": (
        "not logged",
        "it is UNLOGGED, so a crash empties it",
        "ALTER TABLE {table} SET LOGGED;",
    ),
    "of a type": (
        "typed table",
        "it is a table of the type {who}",
        "ALTER TABLE {table} NOT OF;",
    ),
    "other": (
        "dependency",
        "{who} holds on to it",
        "-- Drop {who}, and create it again afterwards.",
    ),
}


def dependents(conn: Connection, oid: int, table: sql.Identifier) -> list[Obstacle]:
    """Find what holds on to a table by its number in the catalogue, or acts on its rows."""
    found = []
    for kind, who, more in conn.execute(_DEPENDENTS, {"oid": oid}):
        shown, what, mend = _WORDS[str(kind)]
        filled = {
            "who": str(who),
            "more": " ".join(str(more).split()),
            "quoted": sql.Identifier(str(who)).as_string(),
            "quoted_more": sql.Identifier(str(more)).as_string(),
            "table": table.as_string(),
        }
        if kind == "trigger" and who == TRIGGER:
            mend = "secops migrate contract   # when the app with the earlier layer has gone"
        found.append(Obstacle(shown, what.format(**filled), mend.format(**filled)))
    return found


def index_obstacles(shape: Shape, mine: str | None) -> list[Obstacle]:
    """Find indexes that a partitioned table cannot have.

    Args:
        shape: The table.
        mine: The index that an earlier run built for the conversion.
    """
    found = []
    for each in shape.others:
        index = sql.Identifier(shape.schema, each.name).as_string()
        drop = f"DROP INDEX CONCURRENTLY {index};"
        if each.constraint:
            constraint = sql.Identifier(each.name).as_string()
            drop = f"ALTER TABLE {shape.identifier.as_string()} DROP CONSTRAINT {constraint};"
        if each.name == mine:
            continue
        if each.unique and KEY not in each.columns:
            words = f"the unique index {each.name} does not hold {KEY}, as any on partitions must"
            found.append(Obstacle("unique index", words, drop))
        elif each.constraint and not each.unique:
            found.append(Obstacle("exclusion", f"it has the exclusion {each.name}", drop))
        elif not each.valid:
            mend = f"REINDEX INDEX CONCURRENTLY {index};"
            found.append(Obstacle("invalid index", f"the index {each.name} is not valid", mend))
    return found


def check_obstacles(shape: Shape, mine: str | None) -> list[Obstacle]:
    """Find CHECK constraints that a partitioned table cannot have.

    Args:
        shape: The table.
        mine: The one that an earlier run made for the conversion.
    """
    name = shape.identifier.as_string()
    found = []
    for each in shape.checks:
        if each.name == mine:
            continue
        constraint = sql.Identifier(each.name).as_string()
        if not each.inherited:
            words = f"{each.name} is NO INHERIT, which no partitioned table may have"
            mend = f"ALTER TABLE {name} DROP CONSTRAINT {constraint};"
            found.append(Obstacle("constraint", words, mend))
        elif not each.validated:
            mend = f"ALTER TABLE {name} VALIDATE CONSTRAINT {constraint};"
            found.append(Obstacle("constraint", f"{each.name} is NOT VALID", mend))
    return found


def owner_obstacles(conn: Connection, shape: Shape) -> list[Obstacle]:
    """Find what this role, or the owner of the partitions to be, is not allowed."""
    row = conn.execute(
        """SELECT pg_has_role(current_user, %(owner)s, 'USAGE'),
                  has_schema_privilege(current_user, %(schema)s, 'CREATE'),
                  has_schema_privilege(%(owner)s, %(schema)s, 'CREATE'),
                  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)""",
        {"owner": shape.owner, "schema": shape.schema},
    ).fetchone()
    assert row is not None
    member, may_create, owner_may, superuser = row
    owner, schema, me = (
        sql.Identifier(name).as_string() for name in (shape.owner, shape.schema, shape.me)
    )
    found = []
    if not member:
        words = f"{shape.me} is not the owner, {shape.owner}, nor a member of it"
        found.append(Obstacle("not the owner", words, f"GRANT {owner} TO {me};", guard=True))
    if not may_create:
        words = f"{shape.me} may create no table in the schema {shape.schema}"
        mend = f"GRANT CREATE ON SCHEMA {schema} TO {me};"
        found.append(Obstacle("privilege", words, mend, guard=True))
    if not owner_may and not superuser and shape.owner != shape.me:
        words = (
            f"its owner {shape.owner}, who is to own the partitions, may create no table in the "
            f"schema {shape.schema}"
        )
        mend = f"GRANT CREATE ON SCHEMA {schema} TO {owner};"
        found.append(Obstacle("privilege", words, mend, guard=True))
    return found


_UPDATE: Final = "UPDATE {} SET created_at = now() WHERE created_at {};"


def rows_in_the_way(conn: Connection, table: sql.Identifier, cutoff: datetime) -> list[Obstacle]:
    """Find rows that no partition would take; the index on created_at finds them."""
    name = table.as_string()
    row = conn.execute(
        sql.SQL(
            """SELECT (SELECT count(*) FROM {table} WHERE created_at IS NULL),
                      count(*), max(created_at)::text
               FROM {table} WHERE created_at >= %s"""
        ).format(table=table),
        (cutoff,),
    ).fetchone()
    assert row is not None
    without, beyond, latest = int(str(row[0])), int(str(row[1])), row[2]
    found = []
    if without:
        words = f"{_rows(without)} no created_at, and a partition is found by it"
        mend = _UPDATE.format(name, "IS NULL") + "  -- or the right time"
        found.append(Obstacle("no time", words, mend))
    if beyond:
        day = f"{cutoff:%Y-%m-%d}"
        words = (
            f"{_rows(beyond)} a created_at of {day} or later (the last {latest}), where the new "
            "partitions begin"
        )
        mend = _UPDATE.format(name, f">= '{day} 00:00+00'") + "  -- or the right time, or DELETE"
        found.append(Obstacle("future", words, mend))
    return found


def _rows(count: int) -> str:
    return f"{count:,} row has" if count == 1 else f"{count:,} rows have"


def by_id_alone(conn: Connection) -> list[str]:
    """Find what may rely on (id) alone being unique: functions, and statements that were seen.

    What an app sends can be seen only where pg_stat_statements is on; nothing found is no proof.
    """
    pattern = rf'\m{TABLE}\M.*on\s+conflict\s*\(\s*["]?id["]?\s*\)'
    found = [
        f"the function {row[0]}"
        for row in conn.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE prosrc ~* %s ORDER BY 1", (pattern,)
        )
    ]
    place = conn.execute(
        """SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
           WHERE e.extname = 'pg_stat_statements'"""
    ).fetchone()
    if place is not None:
        view = sql.Identifier(str(place[0]), "pg_stat_statements")
        query = sql.SQL("SELECT count(*) FROM {} WHERE query ~* %s").format(view)
        # The extension may be made and not loaded, or not for this role to see.
        with (
            suppress(pg.ObjectNotInPrerequisiteState, pg.InsufficientPrivilege),
            conn.transaction(),
        ):
            row = conn.execute(query, (pattern,)).fetchone()
            if row is not None and row[0]:
                found.append(f"{row[0]} statements that pg_stat_statements saw")
    return found
