"""What statements say of themselves: it agrees with how they may wait, and larger tables take longer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from secops.cli import statements
from secops.database.layout import Layout, UsersTable
from secops.schema import effects, versions
from secops.schema.effects import Effect, Mode, Statement, together
from secops.schema.estimate import MOMENT, Size, estimate, known
from secops.schema.messages import message
from secops.schema.site import Site
from secops.schema.steps import ABSENT, Lock, Step

USERS = ("public", "users")
TOKENS = ("public", "refresh_tokens")
SITE = Site(Layout(UsersTable(*USERS, "id", "uuid", "email"), "public"), "app", "uuid", 180000)
STEPS = [
    *versions.preamble(),
    *(step for version in versions.versions() for step in version.steps(SITE)),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_what_waits_without_a_limit_keeps_nobody_waiting(step: Step) -> None:
    for statement in filter(None, (step.do, step.undo)):
        waits = [
            each
            for each in statement.effects
            if not each.new and each.mode.keeps_waiting != "nothing"
        ]
        assert step.lock is Lock.SHORT or not waits
        # What is read or rewritten under such a lock would make the app wait for all of it.
        assert not any(each.reads or each.sorts or each.rewrites for each in waits)


def test_modes_are_ordered_as_they_conflict() -> None:
    assert [mode.keeps_waiting for mode in Mode] == [
        "nothing", "nothing", "nothing", "nothing", "writes", "writes", "writes", "reads and writes",
    ]  # fmt: skip


def test_statements_together_do_what_each_does() -> None:
    both = together(
        [
            Statement(sql.SQL("a"), effects.attaches(TOKENS)),
            sql.SQL("b"),
            Statement(sql.SQL("c"), effects.alters(TOKENS), effects.builds_index(USERS)),
        ],
        effects.builds_index(USERS),
    )
    assert both.as_string() == "a;\nb;\nc"
    assert both.effects == (
        Effect(TOKENS, Mode.ACCESS_EXCLUSIVE),
        Effect(USERS, Mode.SHARE_UPDATE_EXCLUSIVE, reads=4, sorts=2),
    )


sizes = st.builds(Size, rows=st.integers(0, 10**9), bytes=st.integers(0, 10**12))
does = st.builds(
    Effect,
    st.just(USERS),
    st.sampled_from(list(Mode)),
    reads=st.integers(0, 2),
    sorts=st.integers(0, 2),
    rewrites=st.booleans(),
)


@given(does, sizes, st.integers(0, 10**9), st.integers(0, 10**12))
def test_larger_tables_take_no_less(effect: Effect, size: Size, rows: int, volume: int) -> None:
    least, most = estimate([effect], {USERS: size})
    assert timedelta(0) <= least <= most
    larger = Size(size.rows + rows, size.bytes + volume)
    more = estimate([effect], {USERS: larger})
    assert (more[0] >= least, more[1] >= most) == (True, True)
    if not (effect.reads or effect.sorts or effect.rewrites):
        assert (least, most) == (timedelta(0), MOMENT)


def test_a_join_with_an_empty_table_reads_the_other_not_at_all() -> None:
    both = effects.validates_foreign_key(TOKENS, USERS)
    people = Size(1_000_000, 200_000_000)
    reads = {each.table: each.reads for each in known(both, {USERS: people})}
    assert reads == {TOKENS: 1, USERS: 0}
    reads = {each.table: each.reads for each in known(both, {USERS: people, TOKENS: people})}
    assert reads == {TOKENS: 1, USERS: 1}


def test_a_statement_is_told_in_words() -> None:
    index = Statement(sql.SQL("CREATE INDEX"), effects.builds_index(TOKENS))
    size = {TOKENS: Size(10_000_000, 1_800_000_000)}
    assert statements.locks(index) == "public.refresh_tokens SHARE UPDATE EXCLUSIVE"
    assert statements.work(index, size) == (
        "builds an index of public.refresh_tokens (about 10,000,000 rows), reading it twice"
    )
    assert statements.takes(index, size) == "9.1 s to 1 min"
    assert statements.takes(index, {}) == "moments"
    column = Statement(sql.SQL("ALTER TABLE"), effects.alters(USERS))
    assert statements.comments(column, size) == [
        "-- locks public.users: ACCESS EXCLUSIVE; reads and writes of the app wait",
        "-- changes the catalogue alone; takes moments",
    ]
    gone = Statement(sql.SQL("DROP TABLE"), effects.drops(TOKENS))
    assert statements.work(gone, size) == "drops public.refresh_tokens (about 10,000,000 rows)"


def test_what_the_app_waits_behind_is_sent_in_a_transaction_with_its_limits() -> None:
    statement = Statement(sql.SQL("ALTER TABLE t"))
    step = Step("T", statement, Lock.SHORT, lambda _: ABSENT, busy=sql.Identifier("t"))
    timeout, budget = timedelta(milliseconds=100), timedelta(minutes=10)
    also = [sql.SQL("INSERT")]
    sent = message(step, statement, Lock.SHORT, timeout=timeout, budget=budget, also=also)
    assert sent.as_string().split(";\n") == [
        "BEGIN",
        "SET LOCAL lock_timeout = 600000",
        "SET LOCAL statement_timeout = 605000",
        "SET LOCAL idle_in_transaction_session_timeout = 10000",
        'LOCK TABLE "t" IN SHARE UPDATE EXCLUSIVE MODE',
        "SET LOCAL lock_timeout = 100",
        "SET LOCAL statement_timeout = 5100",
        "SET LOCAL idle_in_transaction_session_timeout = 10000",
        "ALTER TABLE t",
        "INSERT",
        "COMMIT",
    ]
    alone = message(step, statement, Lock.LONG, timeout=timeout, budget=budget)
    assert alone.as_string() == "ALTER TABLE t"
