"""What a plan says is what happens: the statements, their order, and what each does to every table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from secops.accounts.operations import Operation
from secops.schema import versions
from secops.schema.migrate import opened
from secops.schema.partitions.converting import Converting
from secops.schema.partitions.undoing import Undoing
from secops.schema.workplace import opened as place
from support.event_tables import fill
from support.layouts import LAYOUTS, by_hand
from support.watched import Log, Watch, declared, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.schema.steps import Step
    from support.databases import Command, Database

OPERATION = Operation.begin(actor="test", host="here", reason="", ticket="", command="test")


@pytest.fixture(params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest, database: Database) -> Database:
    LAYOUTS[request.param](database)
    return database


def code(script: str) -> str:
    """Return a script without its comments."""
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).strip())


def recorded(sent: str) -> str | None:
    """Say what a message records, if it is no statement of the plan."""
    found = re.match(r'\s*(INSERT INTO|UPDATE) "?([^".]+)"?\."?(\w+)"?', sent)
    return None if found is None else f"{found[1]} {found[3]}"


def test_what_a_plan_prints_is_what_the_server_is_sent(secops: Command, layout: Database) -> None:
    on = secops.on(layout)
    script = on("migrate", "plan", "--format", "sql")
    assert script.code == 0, script.err
    log = Log(layout)
    assert on("migrate", "--yes").code == 0
    changes = log.changes()
    planned = [each for each in changes if recorded(each) is None]
    assert "\n\n".join(f"{each};" for each in planned) == code(script.out)
    # And besides nothing but what the plan says of it: each version with its event, then the operation.
    later = len(versions.versions()) - 1
    assert [recorded(each) for each in changes if recorded(each) is not None] == [
        *("INSERT INTO alembic_version", "INSERT INTO security_events"),
        *("UPDATE alembic_version", "INSERT INTO security_events") * later,
        *("INSERT INTO operations", "UPDATE operations"),
    ]


@pytest.fixture
def watched(database: Database) -> Iterator[Watch]:
    watch = Watch(database)
    yield watch
    watch.close()


def proves(watch: Watch, database: Database, step: Step, *, undo: bool = False) -> int:
    """Run what a step has left, and hold each statement to what it says; returns how many."""
    with database.connect() as conn:
        conn.execute("SET search_path = pg_catalog")
        conn.execute("SET TimeZone = 'UTC'")
        finding = step.probe(conn)
    back = step.undoing(finding)
    statements = ([back] if back is not None else []) if undo else step.statements(finding)
    for statement in statements:
        if statement.as_string().startswith("DO $backfill$"):
            # It commits after each batch, so no transaction can be looked into; what rows it locks, and
            # that nobody waits for it, is in test_earlier_layer.py.
            with database.connect() as conn:
                conn.execute(statement)
            continue
        said = declared(database, statement)
        assert watch.run(statement) == said, statement.as_string()
    return len(statements)


def test_each_statement_locks_reads_and_rewrites_what_it_says(
    layout: Database, watched: Watch
) -> None:
    with opened(layout.settings(), changing=True) as migration:
        site = migration.site
        plan = migration.look()
    steps = [*versions.preamble()]
    for version in versions.versions():
        steps += version.steps(site)
    assert sum(proves(watched, layout, step) for step in steps) >= len(plan.open) > 15
    with opened(layout.settings(), changing=True) as migration:
        assert not migration.look().open
    # And back.
    backwards = [step for version in versions.versions() for step in version.steps(site)][::-1]
    assert sum(proves(watched, layout, step, undo=True) for step in backwards) > 15


def test_so_does_each_of_a_conversion_and_of_its_undoing(
    hardened: Database, secops: Command
) -> None:
    fill(hardened, 3000)
    watch = Watch(hardened)
    try:
        with place(Converting, hardened.settings(), "test") as converting:
            steps = [each.step for each in converting.plan(OPERATION).open]
        assert sum(proves(watch, hardened, step) for step in steps) >= 8
        with place(Undoing, hardened.settings(), "test") as undoing:
            work = undoing.plan(OPERATION)
        assert sum(proves(watch, hardened, each.step) for each in work.steps) >= 2
        assert sum(proves(watch, hardened, each.step) for each in work.drops) >= 3
    finally:
        watch.close()
    assert secops.on(hardened)("migrate", "check").code == 0


def test_a_conversion_sends_what_its_dry_run_lists_and_nothing_else(
    secops: Command, hardened: Database
) -> None:
    fill(hardened, 300)
    on = secops.on(hardened)
    dry = on("partition", "convert", "--dry-run", "--json").json()
    assert len(dry["sql"]) == len(dry["items"]) >= 8
    swap = next(each for each in dry["items"] if "in its place" in each["step"])
    assert swap["locks"].startswith("public.security_events ACCESS EXCLUSIVE; ")
    log = Log(hardened)
    assert on("partition", "convert", "--yes").code == 0
    changes = [each for each in log.changes() if recorded(each) is None]
    assert len(changes) == len(dry["sql"])
    for sent, planned in zip(changes, dry["sql"], strict=True):
        assert planned in sent
        # Around it stands what every short transaction begins and ends with, and the event that tells of it.
        around = sent.replace(planned, "").replace(";", "\n")
        assert all(
            re.match(
                r"(BEGIN|COMMIT|SET LOCAL|LOCK TABLE .* IN SHARE UPDATE EXCLUSIVE|INSERT INTO|$)",
                line,
            )
            for line in around.splitlines()
            if not line.startswith((" ", "("))
        ), around


def test_the_plan_as_json_says_the_same_with_sizes_and_times(
    secops: Command, database: Database
) -> None:
    by_hand(database)
    on = secops.on(database)
    found: dict[str, Any] = on("migrate", "plan", "--json").json()
    assert plain(found["steps"]) == on("migrate", "--dry-run", "--json").json()["sql"]
    told = {
        (each["table"], each["lock"]): each
        for step in found["steps"]
        for statement in step["statements"]
        for each in statement["tables"]
    }
    users = told["public.users", "ACCESS EXCLUSIVE"]
    assert users["waits"] == "reads and writes"
    assert users["rows"] == 2001
    assert users["bytes"] == database.value("SELECT pg_relation_size('users')")
    assert told["public.users", "ROW SHARE"]["waits"] == "nothing"
    for step in found["steps"]:
        for statement in step["statements"]:
            assert 0 <= statement["seconds"]["at_least"] <= statement["seconds"]["at_most"] < 1
