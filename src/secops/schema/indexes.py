"""Steps that build indexes beside a running app, and that recover from builds that were cut short."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, LiteralString

from psycopg import sql

from secops.schema import catalogue
from secops.schema.steps import ABSENT, DONE, Finding, Lock, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection

_CAST: Final = re.compile(r"::(?:text|character varying|varchar)(?:\(\d+\))?(?:\[\])?")
_STORAGE: Final = re.compile(r"\bwith \([^)]*\)")
_IN: Final = re.compile(r"\bin\s*\(([^)]*)\)")
_NOISE: Final = re.compile(r"[\s()\"]+")


def create_index(
    schema: str,
    table: str,
    name: str,
    definition: LiteralString,
    *,
    accept: tuple[LiteralString, ...] = (),
) -> Step:
    """Build an index, never unique, without keeping anybody from reading or writing.

    Args:
        schema: The schema of the table, and so of the index.
        table: The table.
        name: The index.
        definition: What stands after ``USING btree``: keys, INCLUDE, WHERE.
        accept: Definitions that serve as well under this name, for somebody made them before.
    """
    index = sql.Identifier(schema, name)
    do = sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} USING btree {}").format(
        sql.Identifier(name), sql.Identifier(schema, table), sql.SQL(definition)
    )
    drop = sql.SQL("DROP INDEX CONCURRENTLY {}").format(index)
    served = {normal(f"btree {each}") for each in (definition, *accept)}

    def probe(conn: Connection) -> Finding:
        kind = catalogue.kind_of(conn, schema, name)
        if kind is None:
            return ABSENT
        found = catalogue.index(conn, schema, name)
        if found is None:
            shown = catalogue.KINDS.get(kind, "something else")
            return Finding(State.DIFFERENT, f"{schema}.{name} is {shown}, not an index")
        if found.table != (schema, table) or found.unique or normal(found.definition) not in served:
            on = ".".join(found.table)
            unique = "UNIQUE " if found.unique else ""
            return Finding(
                State.DIFFERENT,
                f"the index {schema}.{name} is {unique}{found.definition} on {on}, "
                f"not btree {definition}",
                mend=f"ALTER INDEX {index.as_string()} RENAME TO "
                f"{sql.Identifier(f'{name}_old'[-63:]).as_string()}",
            )
        if found.building:
            words = f"the index {schema}.{name} is being built by another session"
            return Finding(State.PARTIAL, words, building=True)
        if not found.valid:
            # PostgreSQL keeps up an invalid index at every write, and uses it in no query.
            words = f"the index {schema}.{name} is invalid: its build was cut short"
            return Finding(State.PARTIAL, words, instead=(drop, do))
        return DONE

    return Step(title=f"Build index {name}", do=do, lock=Lock.LONG, probe=probe, undo=drop)


def normal(definition: str) -> str:
    """Return a definition in a form that is the same however it was written.

    ``event_type IN ('a')`` and PostgreSQL's own ``((event_type)::text = ANY (ARRAY['a'::text]))``
    become one. Parentheses and casts between kinds of text go, so it tells apart what differs in
    columns, order, expressions and literals, not in grouping: enough for definitions as plain as ours.
    """
    text = _CAST.sub("", definition.lower())
    # PostgreSQL wraps a column in parentheses to cast it, and the cast array once more.
    text = _IN.sub(r"= any array[\1]", text)
    text = _STORAGE.sub("", text)
    return _NOISE.sub("", text)
