"""From now on: a trigger that fills the new columns of every row that comes or changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.database.layout import INTERNAL
from secops.schema import catalogue, effects
from secops.schema.adoption.earlier import TOKENS
from secops.schema.adoption.ways import FAILURES, Way, swapped
from secops.schema.effects import Effect, Mode, Statement, together
from secops.schema.indexes import as_sql
from secops.schema.steps import DONE, Finding, Lock, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.schema.adoption.table import Taken
    from secops.schema.adoption.ways import Plan

TRIGGER: Final = "secops_earlier"
"""The trigger of a table that is taken over."""


def function_name(taken: Taken) -> str:
    """Return the name of the trigger's function, in the schema ``secops``."""
    return f"earlier_{taken.label}"


def syncs_revoked(taken: Taken) -> bool:
    """Say whether the old app says by ``revoked_at`` alone that a token is revoked, or reads it."""
    return taken.label == TOKENS and "revoked_at" in taken.earlier.had(TOKENS)


def guesses_success(taken: Taken) -> bool:
    """Say whether an event's type must tell whether it was a success, for nothing else does."""
    return any(plan.column.name == "success" for plan in taken.going(Way.STAND_IN))


_HASHING: Final = """
    IF NEW.token IS NOT NULL AND (NEW.token_hash IS NULL OR (TG_OP = 'UPDATE'
            AND NEW.token IS DISTINCT FROM OLD.token
            AND NEW.token_hash IS NOT DISTINCT FROM OLD.token_hash)) THEN
        NEW.token_hash := {value};
    ELSIF NEW.token_hash IS DISTINCT FROM {value} THEN
        NEW.token := NULL;  -- a default's, or one that another hash has replaced
    END IF;"""

_REVOKED: Final = """
    IF TG_OP = 'UPDATE' AND NEW.revoked IS DISTINCT FROM OLD.revoked
            AND NEW.revoked_at IS NOT DISTINCT FROM OLD.revoked_at THEN
        NEW.revoked_at := CASE WHEN NEW.revoked THEN coalesce(NEW.revoked_at, pg_catalog.now()) END;
    ELSIF NEW.revoked_at IS NOT NULL THEN
        NEW.revoked := true;
    ELSIF TG_OP = 'UPDATE' AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
        NEW.revoked := false;
    ELSIF NEW.revoked THEN
        NEW.revoked_at := pg_catalog.now();
    END IF;"""

_FILL: Final = """
    IF NEW.{place} IS NULL AND NEW.{source} IS NOT NULL THEN
        NEW.{place} := {value};
    END IF;"""

_SWAP: Final = """
    NEW.{place} := {value};"""

_NOW: Final = """
    IF NEW.{place} IS NULL THEN
        NEW.{place} := pg_catalog.now();
    END IF;"""

_SUCCESS: Final = """
    IF NEW.success AND NEW.event_type::text ~* {failures} THEN
        NEW.success := false;
    END IF;"""

_MASK: Final = """
    NEW.{place} := pg_catalog.regexp_replace(NEW.{place}, '/(32|128)$', '');"""


def body(taken: Taken, there: dict[str, catalogue.Column], *, swapping: bool = True) -> str:
    """Return the body of the trigger's function; empty where none is needed.

    Args:
        taken: The table.
        there: Its columns as they are.
        swapping: Whether columns that wait to take another's name are still beside it.
    """
    parts: list[str] = []

    def add(words: str, plan: Plan) -> None:
        parts.append(
            sql.SQL(words)
            .format(
                place=sql.Identifier(plan.place if words != _MASK else plan.column.name),
                source=sql.Identifier(plan.source),
                value=plan.value("NEW"),
            )
            .as_string()
        )

    for plan in taken.going(Way.FILL, Way.SWAP):
        if plan.column.name == "token_hash":
            parts.append(sql.SQL(_HASHING).format(value=plan.value("NEW")).as_string())
        elif plan.way is Way.FILL:
            add(_FILL, plan)
            if plan.column.default == "now()":
                add(_NOW, plan)
        elif swapping and not swapped(plan, there):
            add(_SWAP, plan)
        elif plan.kind in {"inet", "cidr"}:
            add(_MASK, plan)
    if syncs_revoked(taken):
        parts.append(_REVOKED)
    if guesses_success(taken):
        parts.append(sql.SQL(_SUCCESS).format(failures=sql.Literal(FAILURES)).as_string())
    return f"\nBEGIN{''.join(parts)}\n    RETURN NEW;\nEND\n" if parts else ""


def replace_function(taken: Taken, text: str) -> Statement:
    """Return the statement that makes the trigger's function, or another of it."""
    words = sql.SQL(
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger\n    LANGUAGE plpgsql AS $body${}$body$"
    )
    name = sql.Identifier(INTERNAL, function_name(taken))
    return Statement(words.format(name, as_sql(text)))


def drop_trigger(taken: Taken) -> Statement:
    """Return what takes trigger and function away."""
    name = sql.Identifier(INTERNAL, function_name(taken))
    return together(
        [
            sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(TRIGGER), taken.identifier),
            sql.SQL("DROP FUNCTION {}()").format(name),
        ],
        effects.alters(taken.table),
    )


def has_trigger(conn: Connection, taken: Taken) -> bool:
    """Say whether the trigger is there, and fires."""
    row = conn.execute(
        """SELECT EXISTS (SELECT FROM pg_trigger t
                          JOIN pg_class c ON c.oid = t.tgrelid
                          JOIN pg_namespace n ON n.oid = c.relnamespace
                          WHERE n.nspname = %s AND c.relname = %s AND t.tgname = %s
                            AND t.tgenabled IN ('O', 'A'))""",
        (*taken.table, TRIGGER),
    ).fetchone()
    return row == (True,)


def _function(conn: Connection, taken: Taken) -> str | None:
    row = conn.execute(
        """SELECT p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = %s AND p.proname = %s AND p.pronargs = 0""",
        (INTERNAL, function_name(taken)),
    ).fetchone()
    return None if row is None else str(row[0])


def follow(taken: Taken) -> Step:
    """Fill the new columns of every row that comes or changes."""
    creating = Statement(
        sql.SQL(
            "CREATE TRIGGER {} BEFORE INSERT OR UPDATE ON {}\n"
            "    FOR EACH ROW EXECUTE FUNCTION {}()"
        ).format(
            sql.Identifier(TRIGGER),
            taken.identifier,
            sql.Identifier(INTERNAL, function_name(taken)),
        ),
        Effect(taken.table, Mode.SHARE_ROW_EXCLUSIVE),
    )

    def probe(conn: Connection) -> Finding:
        text = body(taken, dict(catalogue.columns(conn, *taken.table)))
        if not text:
            return DONE
        found, fires = _function(conn, taken), has_trigger(conn, taken)
        todo = [] if found == text else [replace_function(taken, text)]
        todo += [] if fires else [creating]
        undo = drop_trigger(taken) if fires else None
        if not todo:
            return Finding(State.DONE, undo=undo)
        state = State.ABSENT if found is None and not fires else State.PARTIAL
        return Finding(
            state,
            "" if state is State.ABSENT else f"the trigger of {taken.name} is of another version",
            instead=(together(todo),),
            undo=undo,
        )

    return Step(
        title=f"Keep old and new columns of {taken.name} in step",
        do=creating,
        lock=Lock.SHORT,
        probe=probe,
        busy=taken.identifier,
    )
