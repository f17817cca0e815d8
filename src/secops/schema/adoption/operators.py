"""``->`` and ``->>`` on text, so that what the old app asks of a jsonb column can be asked of a text one.

PostgreSQL has none, so nothing that works today means something else with them. They are there between
expand and contract alone, in the schema of the tables, where the app's search_path finds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema.adoption.ways import Way
from secops.schema.effects import Statement, together
from secops.schema.indexes import as_sql
from secops.schema.steps import Finding, Lock, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.schema.adoption.table import Taken

_OPERATORS: Final = {"->": ("secops_json_get", "jsonb"), "->>": ("secops_json_get_text", "text")}

_BODY: Final = """
BEGIN
    RETURN document::pg_catalog.jsonb {} key;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN NULL;  -- what the new app writes is plain text
END
"""

NAMES: Final = tuple(_OPERATORS)
"""What they are called."""


def needed(taken: Taken) -> bool:
    """Say whether a jsonb column of a table becomes text."""
    return any(
        plan.kind in {"json", "jsonb"} and plan.column.type == "text"
        for plan in taken.going(Way.SWAP)
    )


def make(schema: str) -> Step:
    """Make the operators."""

    def making(operator: str, *, function_too: bool) -> list[sql.Composed]:
        name, returns = _OPERATORS[operator]
        function = sql.Identifier(schema, name)
        parts = []
        if function_too:
            parts.append(
                sql.SQL(
                    "CREATE OR REPLACE FUNCTION {}(document text, key text) RETURNS {}\n"
                    "    LANGUAGE plpgsql STABLE STRICT AS $body${}$body$"
                ).format(function, as_sql(returns), as_sql(_BODY.format(operator)))
            )
        parts.append(
            sql.SQL(
                "CREATE OPERATOR {}.{} (LEFTARG = text, RIGHTARG = text, FUNCTION = {})"
            ).format(sql.Identifier(schema), as_sql(operator), function)
        )
        return parts

    def probe(conn: Connection) -> Finding:
        there = present(conn, schema)
        missing = [operator for operator in _OPERATORS if operator not in there]
        undo = dropping(schema, there) if there else None
        if not missing:
            return Finding(State.DONE, undo=undo)
        parts = [part for operator in missing for part in making(operator, function_too=True)]
        state = State.PARTIAL if there else State.ABSENT
        words = f"{schema} lacks {' and '.join(missing)} on text" if there else ""
        return Finding(state, words, instead=(together(parts),), undo=undo)

    parts = [part for operator in _OPERATORS for part in making(operator, function_too=True)]
    return Step(
        title="Let text be asked as jsonb is",
        do=together(parts),
        lock=Lock.SHORT,
        probe=probe,
    )


def present(conn: Connection, schema: str) -> list[str]:
    """Return which of the operators are there."""
    rows = conn.execute(
        """SELECT o.oprname::text FROM pg_operator o
           JOIN pg_namespace n ON n.oid = o.oprnamespace
           JOIN pg_proc p ON p.oid = o.oprcode
           WHERE n.nspname = %s AND p.proname::text = ANY (%s)
           ORDER BY 1""",
        (schema, [name for name, _ in _OPERATORS.values()]),
    )
    return [str(row[0]) for row in rows]


def dropping(schema: str, there: list[str]) -> Statement:
    """Return what takes operators and their functions away."""
    parts = []
    for operator in there:
        name, _ = _OPERATORS[operator]
        words = sql.SQL("DROP OPERATOR {}.{} (text, text)")
        parts.append(words.format(sql.Identifier(schema), as_sql(operator)))
        parts.append(sql.SQL("DROP FUNCTION {}(text, text)").format(sql.Identifier(schema, name)))
    return together(parts)
