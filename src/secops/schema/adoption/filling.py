"""New columns beside the old ones, and their values for the rows that are there, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

from psycopg import sql

from secops.database.layout import INTERNAL
from secops.schema import catalogue, effects
from secops.schema.adoption import retyping
from secops.schema.adoption.earlier import AWARE, MEMORY, TOKENS, recall
from secops.schema.adoption.following import guesses_success, syncs_revoked
from secops.schema.adoption.memory import remembering
from secops.schema.adoption.ways import FAILURES, STANDING_IN, Way, swapped
from secops.schema.effects import Statement, together
from secops.schema.indexes import as_sql
from secops.schema.steps import DONE, Finding, Lock, Loss, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.schema.adoption.table import Taken
    from secops.schema.adoption.ways import Plan
    from secops.schema.tables import Column


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
            if taken.whole
            and column.not_null
            and name not in names
            # A token that a default makes is none of the new app's.
            and (not column.filled or (taken.label, name) == (TOKENS, "token"))
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
        ours = [plan.column.name for plan in mine]
        undo = Statement(
            altering([sql.SQL("DROP COLUMN {}").format(sql.Identifier(name)) for name in ours]),
            effects.drops_columns(taken.table, ours),
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


_BACKFILL: Final = """DO $backfill$
DECLARE
    page bigint;
    pages bigint;
    step bigint := 8;
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
            -- The app waits for a row of a batch as long as that takes: about 50 ms.
            step := greatest(1, least(256, step * least(2, greatest(0.5, 0.05 / greatest(took, 0.001)))));
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
        effects.fills(taken.table),
        effects.writes((INTERNAL, MEMORY)),
    )


def has_to_fill(taken: Taken) -> bool:
    """Say whether rows are written at all."""
    filled = taken.going(Way.FILL, Way.SWAP)
    return bool(filled) or syncs_revoked(taken) or guesses_success(taken)
