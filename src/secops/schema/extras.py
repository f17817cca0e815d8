"""Steps for schemas, functions, privileges and storage parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from secops.schema import catalogue, effects
from secops.schema.effects import Statement, together
from secops.schema.steps import ABSENT, DONE, NOTHING_YET, Finding, Lock, State, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from secops.database.connection import Connection


def create_schema(name: str) -> Step:
    """Make a schema. Undoing leaves it, for others may have put things into it."""

    def probe(conn: Connection) -> Finding:
        row = conn.execute("SELECT FROM pg_namespace WHERE nspname = %s", (name,)).fetchone()
        return ABSENT if row is None else DONE

    return Step(
        title=f"Create schema {name}",
        do=Statement(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name))),
        lock=Lock.SHORT,
        probe=probe,
    )


def use_schema(schema: str, role: str) -> Step:
    """Let a role reach what is in a schema."""

    def probe(conn: Connection) -> Finding:
        row = conn.execute(
            "SELECT has_schema_privilege(%s, oid, 'USAGE') FROM pg_namespace WHERE nspname = %s",
            (role, schema),
        ).fetchone()
        return _granted(conn, role, row)

    return Step(
        title=f"Let {role} use schema {schema}",
        do=Statement(
            sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(
                sql.Identifier(schema), sql.Identifier(role)
            )
        ),
        lock=Lock.SHORT,
        probe=probe,
    )


def use_table(schema: str, table: str, role: str) -> Step:
    """Let a role read and write a table: whoever migrates, the app can use what it gets."""

    def probe(conn: Connection) -> Finding:
        row = conn.execute(
            """SELECT has_table_privilege(%(role)s, c.oid, 'SELECT')
                  AND has_table_privilege(%(role)s, c.oid, 'INSERT')
                  AND has_table_privilege(%(role)s, c.oid, 'UPDATE')
                  AND has_table_privilege(%(role)s, c.oid, 'DELETE')
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = %(schema)s AND c.relname = %(table)s""",
            {"role": role, "schema": schema, "table": table},
        ).fetchone()
        return _granted(conn, role, row)

    return Step(
        title=f"Let {role} read and write {table}",
        do=Statement(
            sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {}").format(
                sql.Identifier(schema, table), sql.Identifier(role)
            )
        ),
        lock=Lock.SHORT,
        probe=probe,
    )


def _granted(conn: Connection, role: str, row: tuple[object, ...] | None) -> Finding:
    """Say whether a role has what a query asked for; with no row, what it would be had on is missing."""
    if row is None:
        return NOTHING_YET if _owns_ours(conn, role) else ABSENT
    return DONE if row == (True,) else ABSENT


def _owns_ours(conn: Connection, role: str) -> bool:
    """Say whether a role may do everything with what we would make, so that it needs no grant."""
    row = conn.execute("SELECT pg_has_role(%s, current_user, 'USAGE')", (role,)).fetchone()
    return row == (True,)


def set_storage(schema: str, table: str, options: Mapping[LiteralString, LiteralString]) -> Step:
    """Set storage parameters of a table; one that somebody set already is theirs to choose."""

    def setting(name: effects.Table, absent: Iterable[LiteralString]) -> Statement:
        pairs = [sql.SQL("{} = {}").format(sql.SQL(key), sql.SQL(options[key])) for key in absent]
        words = sql.SQL("ALTER TABLE {} SET ({})")
        return Statement(
            words.format(sql.Identifier(*name), sql.SQL(", ").join(pairs)), effects.tunes(name)
        )

    def resetting(name: effects.Table, present: Iterable[LiteralString]) -> Statement:
        words = sql.SQL("ALTER TABLE {} RESET ({})")
        listed = sql.SQL(", ").join(map(sql.SQL, present))
        return Statement(words.format(sql.Identifier(*name), listed), effects.tunes(name))

    def probe(conn: Connection) -> Finding:
        # A partitioned table has no storage, and takes no parameters; its partitions do.
        rows = conn.execute(
            """SELECT pn.nspname::text, p.relname::text,
                      coalesce((SELECT array_agg(split_part(o, '=', 1))
                                FROM unnest(p.reloptions) AS o), '{}')
               FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN LATERAL pg_partition_tree(c.oid) t ON t.isleaf
               JOIN pg_class p ON p.oid = coalesce(t.relid, c.oid) AND p.relkind = 'r'
               JOIN pg_namespace pn ON pn.oid = p.relnamespace
               WHERE n.nspname = %s AND c.relname = %s
               ORDER BY 1, 2""",
            (schema, table),
        ).fetchall()
        if not rows:
            kind = catalogue.kind_of(conn, schema, table)
            return DONE if kind == "p" else ABSENT
        lacking, having = [], []
        for part_schema, part, there in rows:
            name = (str(part_schema), str(part))
            absent = [key for key in options if key not in there]  # type: ignore[operator]  # text[]
            present = [key for key in options if key not in absent]
            lacking += [(name, absent)] if absent else []
            having += [resetting(name, present)] if present else []
        if not having:
            return Finding(
                State.ABSENT, instead=tuple(setting(name, absent) for name, absent in lacking)
            )
        undo = together(having)
        if not lacking:
            return Finding(State.DONE, undo=undo)
        missing = sorted({key for _, absent in lacking for key in absent})
        return Finding(
            State.PARTIAL,
            f"{schema}.{table} lacks {', '.join(missing)}"
            + (f" on {len(lacking)} of {len(rows)} partitions" if len(rows) > 1 else ""),
            instead=tuple(setting(name, absent) for name, absent in lacking),
            undo=undo,
        )

    return Step(
        title=f"Tune vacuum of {table}",
        do=setting((schema, table), options),
        # Nobody reads or writes behind this lock; a vacuum that is running gives way to it, but only
        # after deadlock_timeout, which a short lock timeout never reaches.
        lock=Lock.LONG,
        probe=probe,
        undo=resetting((schema, table), options),
    )


def create_function(
    schema: str,
    name: str,
    *,
    argument: tuple[LiteralString, LiteralString],
    returns: LiteralString,
    attributes: LiteralString,
    body: LiteralString,
) -> Step:
    """Make a PL/pgSQL function of one argument (name, type), or replace an older form of it."""
    argument_name, argument_type = argument
    function = sql.SQL("{}({} {})").format(
        sql.Identifier(schema, name), sql.SQL(argument_name), sql.SQL(argument_type)
    )
    shown = f"{schema}.{name}({argument_type})"

    def making(verb: LiteralString) -> Statement:
        words = sql.SQL("{} FUNCTION {} RETURNS {}\n    LANGUAGE plpgsql {} AS $body${}$body$")
        parts = map(sql.SQL, (returns, attributes, body))
        return Statement(words.format(sql.SQL(verb), function, *parts))

    def probe(conn: Connection) -> Finding:
        row = conn.execute(
            """SELECT p.prosrc, concat_ws(' ',
                          CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' END,
                          CASE WHEN p.proisstrict THEN 'STRICT' END,
                          CASE p.proparallel WHEN 's' THEN 'PARALLEL SAFE' END),
                      format_type(p.prorettype, NULL)
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE n.nspname = %s AND p.proname = %s
                 AND p.proargtypes::text = %s::regtype::oid::text""",
            (schema, name, argument_type),
        ).fetchone()
        if row is None:
            return ABSENT
        found_body, found_attributes, found_type = row
        if found_type != returns:
            return Finding(
                State.DIFFERENT,
                f"{shown} returns {found_type}, not {returns}",
                mend=f"DROP FUNCTION {function.as_string()}",
            )
        if (found_body, found_attributes) != (body, attributes):
            return Finding(
                State.PARTIAL,
                f"{shown} is of another version",
                instead=(making("CREATE OR REPLACE"),),
            )
        return DONE

    return Step(
        title=f"Create function {schema}.{name}",
        do=making("CREATE"),
        lock=Lock.SHORT,
        probe=probe,
        undo=Statement(sql.SQL("DROP FUNCTION {}").format(function)),
    )
