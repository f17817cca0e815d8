"""New columns beside the old ones, filled for every row: by a trigger from now on, in batches for before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

from psycopg import sql

from secops.database.layout import INTERNAL
from secops.schema import catalogue, effects
from secops.schema.adoption import retyping
from secops.schema.adoption.earlier import AWARE, MEMORY, TOKENS, recall
from secops.schema.adoption.memory import remembering
from secops.schema.adoption.ways import FAILURES, STANDING_IN, Way
from secops.schema.effects import Effect, Mode, Statement, together
from secops.schema.indexes import as_sql
from secops.schema.steps import DONE, Finding, Lock, Loss, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.schema.adoption.table import Taken
    from secops.schema.adoption.ways import Plan
    from secops.schema.tables import Column

TRIGGER: Final = "secops_earlier"
"""The trigger of a table that is taken over."""


def function_name(taken: Taken) -> str:
    """Return the name of the trigger's function, in the schema ``secops``."""
    return f"earlier_{taken.label}"


def make_room(taken: Taken) -> Step:
    """Add what is missing, and let rows come in without what only the old app writes."""
    added = taken.going(Way.FILL, Way.SWAP, Way.STAND_IN, Way.ADD)

    # What is added anew is not filled, whatever an earlier run has noted.
    unfilled = Statement(
        sql.SQL("DELETE FROM {} WHERE kind = 'filled' AND name = {}").format(
            sql.Identifier(INTERNAL, MEMORY), sql.Literal(taken.label)
        ),
        effects.writes((INTERNAL, MEMORY)),
    )

    def altering(lines: list[sql.Composable]) -> Statement:
        words = sql.SQL("ALTER TABLE {}\n    {}")
        change = words.format(taken.identifier, sql.SQL(",\n    ").join(lines))
        return Statement(change, effects.alters(taken.table))

    def adding(lines: list[sql.Composable]) -> Statement:
        return together([altering(lines), unfilled])

    def absent(there: dict[str, catalogue.Column]) -> list[Plan]:
        return [plan for plan in added if plan.place not in there and not swapped(plan, there)]

    def probe(conn: Connection) -> Finding:
        there = dict(catalogue.columns(conn, *taken.table))
        missing = absent(there)
        lines: list[sql.Composable] = [line for plan in missing for line in _adding(plan)]
        names = {column.name for column in taken.wanted if column.not_null}
        # What the wanted columns leave away must not be asked for.
        lines += [
            sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(sql.Identifier(name))
            for name, column in there.items()
            if taken.whole and column.not_null and not column.filled and name not in names
        ]
        lines += [
            sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(each.name))
            for each in catalogue.constraints(conn, *taken.table)
            if each.kind == "c"
            and taken.reserved.intersection(each.columns)
            # The change of types takes them away first.
            and not retyping.pending(conn, taken)
        ]
        mine = [plan for plan in added if plan.way is not Way.SWAP and plan.column.name in there]
        undo = altering(
            [sql.SQL("DROP COLUMN {}").format(sql.Identifier(plan.column.name)) for plan in mine]
        )
        losses = tuple(_lost(taken, plan) for plan in mine)
        if not lines:
            return Finding(State.DONE, undo=undo, losses=losses) if mine else Finding(State.DONE)
        if not mine:
            return Finding(State.ABSENT, instead=(adding(lines),))
        return Finding(
            State.PARTIAL,
            f"{taken.schema}.{taken.name} has not all room that it needs",
            instead=(adding(lines),),
            undo=undo,
            losses=losses,
        )

    return Step(
        title=f"Make room in {taken.name} for what is new",
        do=adding([sql.SQL("")]),  # the probe says what is to be done
        lock=Lock.SHORT,
        probe=probe,
        busy=taken.identifier,
    )


def swapped(plan: Plan, there: dict[str, catalogue.Column]) -> bool:
    """Say whether a column of another type has taken the old one's name."""
    found = there.get(plan.column.name)
    return plan.way is Way.SWAP and found is not None and plan.column.holds(found.type)


def _adding(plan: Plan) -> list[sql.Composable]:
    column = plan.column
    words = sql.SQL("ADD COLUMN {} {}")
    if plan.way is Way.STAND_IN:
        # A constant: PostgreSQL notes it once, and writes no row.
        return [
            sql.SQL("ADD COLUMN {} {} NOT NULL DEFAULT {}").format(
                sql.Identifier(plan.place), sql.SQL(column.type), sql.SQL(standing_in(column))
            )
        ]
    if plan.way is Way.ADD and column.default is not None:
        if column.type == AWARE:  # rows that are there are not of now
            default = sql.SQL("ALTER COLUMN {} SET DEFAULT {}").format(
                sql.Identifier(column.name), sql.SQL(column.default)
            )
            return [words.format(sql.Identifier(column.name), sql.SQL(column.type)), default]
        return [sql.SQL("ADD COLUMN {}").format(column.declaration())]
    return [words.format(sql.Identifier(plan.place), sql.SQL(column.type))]


def standing_in(column: Column) -> LiteralString:
    """Return the constant that stands in for a column's values."""
    return STANDING_IN[column.name]


def _lost(taken: Taken, plan: Plan) -> Loss:
    column = plan.column
    name = sql.Identifier(column.name)
    if plan.way is Way.FILL:
        source = sql.Identifier(plan.source)
        where = sql.SQL("{} IS NULL AND {} IS NOT NULL").format(source, name)
        words = f"values of {taken.name}.{column.name} that {plan.source} does not hold"
    else:
        stands = standing_in(column) if plan.way is Way.STAND_IN else column.default or "NULL"
        where = sql.SQL("{0} IS NOT NULL AND {0} IS DISTINCT FROM {1}").format(name, as_sql(stands))
        words = f"values of {taken.name}.{column.name}"
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(taken.identifier, where)
    return Loss(words, query)


# -- from now on: a trigger


def syncs_revoked(taken: Taken) -> bool:
    """Say whether the old app says by ``revoked_at`` alone that a token is revoked, or reads it."""
    return taken.label == TOKENS and "revoked_at" in taken.earlier.had(TOKENS)


_HASHING: Final = """
    IF NEW.token IS NOT NULL AND (NEW.token_hash IS NULL OR (TG_OP = 'UPDATE'
            AND NEW.token IS DISTINCT FROM OLD.token
            AND NEW.token_hash IS NOT DISTINCT FROM OLD.token_hash)) THEN
        NEW.token_hash := {value};
    ELSIF TG_OP = 'UPDATE' AND OLD.token_hash IS NOT NULL
            AND NEW.token_hash IS DISTINCT FROM OLD.token_hash
            AND NEW.token IS NOT DISTINCT FROM OLD.token THEN
        NEW.token := NULL;
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
    IF NEW.success AND NEW.event_type ~* {failures} THEN
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


# -- before: batches

_BACKFILL: Final = """DO $backfill$
DECLARE
    page bigint;
    pages bigint;
    step constant bigint := 64;
    begun timestamptz;
    took double precision;
    written boolean;
    round integer := 0;
BEGIN
    PERFORM set_config('client_connection_check_interval', '2s', false);
    LOOP
        round := round + 1;
        page := 0;
        SELECT pg_relation_size({oid}::regclass) / current_setting('block_size')::bigint INTO pages;
        WHILE page < pages LOOP
            -- Triggers of the app's own may rely on where it finds its names.
            PERFORM set_config('search_path', {path}, true);
            begun := clock_timestamp();
            UPDATE {table} AS t SET {assignments}
            FROM (SELECT t.ctid FROM {table} AS t
                  WHERE t.ctid >= ('(' || page || ',0)')::tid
                    AND t.ctid < ('(' || page + step || ',0)')::tid
                    AND ({condition})
                  FOR UPDATE SKIP LOCKED) AS b
            WHERE t.ctid = b.ctid;
            written := FOUND;
            COMMIT;
            took := extract(epoch FROM clock_timestamp() - begun);
            IF written THEN
                PERFORM pg_sleep(least(took, 1));
            END IF;
            page := page + step;
        END LOOP;
        -- Rows that somebody held are left for another round.
        PERFORM FROM {table} AS t WHERE {condition} LIMIT 1;
        EXIT WHEN NOT FOUND;
        COMMIT;
        PERFORM pg_sleep(least(round * 0.2, 5));
    END LOOP;
    INSERT INTO {memory} (kind, name, definition) VALUES ('filled', {label}, '')
        ON CONFLICT DO NOTHING;
END
$backfill$"""


def fill(taken: Taken) -> Step:
    """Fill the new columns of the rows that are there, some hundred at a time.

    One statement that commits after each batch: it ends no earlier than all is filled, and one that is
    cut short is begun again and passes over what is filled already.
    """

    def probe(conn: Connection) -> Finding:
        if (taken.label, "") in recall(conn, "filled"):
            return DONE
        there = dict(catalogue.columns(conn, *taken.table))
        return Finding(State.ABSENT, instead=(_filling(taken, there),))

    return Step(
        title=f"Fill the new columns of {taken.name}",
        do=_filling(taken, {}),
        lock=Lock.LONG,
        probe=probe,
    )


def _filling(taken: Taken, there: dict[str, catalogue.Column]) -> Statement:
    """Return the statement; a column that has taken another's name already is filled."""
    assignments: list[sql.Composable] = []
    conditions: list[sql.Composable] = []
    for plan in taken.going(Way.FILL, Way.SWAP):
        if swapped(plan, there):
            continue
        place, source = sql.Identifier(plan.place), sql.Identifier(plan.source)
        assignments.append(sql.SQL("{0} = coalesce(t.{0}, {1})").format(place, plan.value("t")))
        conditions.append(sql.SQL("t.{} IS NULL AND t.{} IS NOT NULL").format(place, source))
    if syncs_revoked(taken):
        revoked = "revoked = coalesce(t.revoked, false) OR t.revoked_at IS NOT NULL"
        assignments.append(sql.SQL(revoked))
        conditions.append(sql.SQL("t.revoked IS NOT TRUE AND t.revoked_at IS NOT NULL"))
    if guesses_success(taken):
        kind: sql.Composable = sql.SQL("t.event_type")
        plan = taken.plans["event_type"]
        if plan.filled and not swapped(plan, there):
            kind = plan.value("t")
        failed = sql.SQL("{} ~* {}").format(kind, sql.Literal(FAILURES))
        guess = sql.SQL("success = t.success AND NOT coalesce({}, false)")
        assignments.append(guess.format(failed))
        conditions.append(sql.SQL("t.success AND {}").format(failed))
    if not conditions:
        return remembering([("filled", taken.label, "")])
    return Statement(
        sql.SQL(_BACKFILL).format(
            oid=sql.Literal(taken.identifier.as_string()),
            path=sql.Literal(f"{sql.Identifier(taken.schema).as_string()}, public"),
            table=taken.identifier,
            assignments=sql.SQL(", ").join(assignments),
            condition=sql.SQL(" OR ").join(
                sql.SQL("({})").format(condition) for condition in conditions
            ),
            memory=sql.Identifier(INTERNAL, MEMORY),
            label=sql.Literal(taken.label),
        ),
        Effect(taken.table, Mode.ROW_EXCLUSIVE, reads=2),
        effects.writes((INTERNAL, MEMORY)),
    )


def guesses_success(taken: Taken) -> bool:
    """Say whether an event's type must tell whether it was a success, for nothing else does."""
    return any(plan.column.name == "success" for plan in taken.going(Way.STAND_IN))


def has_to_fill(taken: Taken) -> bool:
    """Say whether rows are written at all."""
    filled = taken.going(Way.FILL, Way.SWAP)
    return bool(filled) or syncs_revoked(taken) or guesses_success(taken)
