"""Commands that must survive anything: where each begins, what it runs, and what is to hold afterwards.

One place says what "it converged" means, for all of them: :func:`holds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import archives, earlier_layer
from support.databases import Database
from support.event_tables import fill, later, loose_ends
from support.faults import list_into
from support.forked import Forked
from support.schemas import APPS, dump, shape

if TYPE_CHECKING:
    from support.databases import Result
    from support.servers import Server

Deeds = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Story:
    """A command, and a database for it to work on.

    Attributes:
        name: What it is called in tests.
        words: The command; ``{home}`` is a folder of its own.
        begin: Makes the database what it is before, given one with nothing in it but, where
            ``hardened``, what a migration makes, and a way to run commands.
        hardened: Whether it begins after a migration.
        back: The command that takes it back, where there is one.
        env: What stands in its environment.
        deeds: What the records tell of it, each deed once; compared with those of a whole run.
        meanwhile: What must hold as soon as a run has died, given what there was before.
        after: More that must hold after the next run.
        patient: Whether the next run waits for what a dead one left on the server; where not, it is
            begun when that is gone.
    """

    name: str
    words: tuple[str, ...]
    begin: Callable[[Database, Forked], None]
    hardened: bool = True
    back: tuple[str, ...] | None = None
    env: dict[str, str] = field(default_factory=dict)
    deeds: Callable[[Database], Deeds] = lambda _: []
    meanwhile: Callable[[Database, dict[str, list[str]]], None] = lambda _, __: None
    after: Callable[[Database, Path], None] = lambda _, __: None
    patient: bool = True

    def run(
        self, database: Database, home: Path, hook: Any = None, *, back: bool = False
    ) -> Result:
        """Run it, or what takes it back."""
        home.mkdir(parents=True, exist_ok=True)
        words = self.back if back and self.back is not None else self.words
        on = Forked(home, self.env).on(database)
        return on(*(word.replace("{home}", str(home)) for word in words), hook=hook)


def rows(database: Database) -> dict[str, list[str]]:
    """Return every row of the app's tables, but for the records of what secops did."""
    tables = database.execute(
        """SELECT c.oid::regclass::text, c.relname::text
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND n.nspname !~ '^pg_|^information|^secops$'
             AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)"""
    )
    found = {}
    for table, name in tables:
        # Of an earlier layer the column is not there yet.
        category = "to_jsonb(t) ->> 'event_category'"
        told = name == "security_events"
        records = f" WHERE {category} IS DISTINCT FROM 'operator'" if told else ""
        query = f"SELECT to_jsonb(t)::text FROM {table} t{records} ORDER BY 1"
        found[name] = [row[0] for row in database.execute(query)]
    return found


def versions(database: Database) -> Deeds:
    """Return which versions were recorded as applied, and how often."""
    place = database.value(
        "SELECT nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relname = 'security_events' AND relkind IN ('r', 'p') AND nspname <> 'secops'"
    )
    return database.execute(
        f"""SELECT metadata ->> 'revision', count(*) FROM "{place}".security_events
            WHERE event_type = 'schema_migrated' GROUP BY 1 ORDER BY 1"""
    )


def partitionings(database: Database) -> Deeds:
    """Return what was told of partitions, but for cutoffs that were given up, which is no end."""
    return database.execute(
        """SELECT metadata ->> 'direction', metadata ->> 'partition', count(*) FROM security_events
           WHERE metadata ->> 'direction' IN ('partition', 'unpartition', 'ahead')
           GROUP BY 1, 2 ORDER BY 1, 2"""
    )


def settled(database: Database, seconds: float = 60) -> None:
    """Wait until the server is done with whatever the command had begun."""
    deadline = time.monotonic() + seconds
    while database.value(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE 'secops/%' AND datname = current_database()"
    ):
        assert time.monotonic() < deadline, "a session of a run that died goes on"
        time.sleep(0.01)


@dataclass(frozen=True)
class Whole:
    """What a run leaves that nothing happens to.

    Attributes:
        story: What was run.
        template: Where it began; copied for each run.
        statements: What it said, in order.
        end: The schema at its end, as the catalogue and pg_dump know it; ``begin`` before.
        rows: Every row at its end; ``before`` before.
        deeds: What it recorded.
    """

    story: Story
    template: Database
    statements: list[str]
    begin: tuple[Any, str]
    end: tuple[Any, str]
    before: dict[str, list[str]]
    rows: dict[str, list[str]]
    deeds: Deeds

    def copy(self) -> Database:
        """Return a database to hurt."""
        server = self.template.server
        return Database(server, server.create(self.template.name))

    def holds(self, database: Database, home: Path, *, back: bool = False) -> None:
        """Assert that a database is where a whole run, or its way back, would have left it."""
        settled(database)
        assert loose_ends(database) == []
        schema = self.begin if back else self.end
        assert shape(database) == schema[0]
        assert dump(database) == schema[1]
        assert rows(database) == (self.before if back else self.rows)
        if not back:
            assert self.story.deeds(database) == self.deeds
        self.story.after(database, home)


def whole(story: Story, server: Server, hardened: Database | None, home: Path) -> Whole:
    """Make a story's beginning, and run it once to its end."""
    template = Database(server, server.create(hardened.name if hardened else "template1"))
    story.begin(template, Forked(home).on(template))
    listed = home / "statements"
    ended = Database(server, server.create(template.name))
    done = story.run(ended, home / "whole", list_into(listed))
    assert done.code == 0, done.err
    settled(ended)
    found = Whole(
        story,
        template,
        listed.read_text(encoding="utf-8").splitlines(),
        (shape(template), dump(template)) if story.back else ([], ""),
        (shape(ended), dump(ended)),
        rows(template),
        rows(ended),
        story.deeds(ended),
    )
    found.holds(ended, home / "whole")
    server.drop(ended.name)
    return found


def _bare(name: str) -> Callable[[Database, Forked], None]:
    def begin(database: Database, _: Forked) -> None:
        APPS[name].create(database)

    return begin


def _by_hand(name: str) -> Callable[[Database, Forked], None]:
    def begin(database: Database, _: Forked) -> None:
        app = APPS[name]
        app.create(database)
        app.run_plan(database)
        app.use_plan(database)

    return begin


def _earlier(database: Database, _: Forked) -> None:
    earlier_layer.create(APPS["mixed case"], database, rows=60)


def _taken_over(database: Database, run: Forked) -> None:
    earlier_layer.create(APPS["uuid"], database, rows=60)
    done = run("migrate", "--yes")
    assert done.code == 0, done.err


def contractions(database: Database) -> Deeds:
    """Return what was told of clear tokens that went."""
    return database.execute(
        """SELECT metadata ->> 'tokens', count(*) FROM security_events
           WHERE metadata ->> 'direction' = 'contract' GROUP BY 1"""
    )


def _filled(database: Database, _: Forked) -> None:
    fill(database, 200)


def _partitioned(database: Database, run: Forked) -> None:
    fill(database, 200)
    done = run("partition", "convert", "--yes")
    assert done.code == 0, done.err
    later(database, 60)


TOKENS = """
    INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
    SELECT (SELECT id FROM users LIMIT 1), 'expired-' || g, now() - interval '8 days' - g * interval '1 s'
    FROM generate_series(1, 100) g;
    INSERT INTO refresh_tokens (user_id, token_hash, family_id, used, revoked, expires_at)
    SELECT (SELECT id FROM users LIMIT 1), f || '-' || n, md5(f)::uuid, n < 3, f = 'dead',
           now() + CASE WHEN n < 3 THEN interval '-9 days' ELSE interval '1 day' END
    FROM unnest('{live,dead}'::text[]) f, generate_series(1, 3) n
"""


def _tokens(database: Database, _: Forked) -> None:
    database.execute(TOKENS)


def _old_months(database: Database, run: Forked) -> None:
    archives.partition(database, run)
    archives.fill(database, 200)


def _old_events(database: Database, _: Forked) -> None:
    archives.fill(database, 200)


_ARCHIVING = (
    "prune", "events", "--yes", "--batch", "40", "--pause", "0", "--archive", "{home}/archive",
)  # fmt: skip


def _archived(database: Database, home: Path) -> None:
    """Hold that each event that is gone is in the archive, once, and that the archive is whole."""
    kept = archives.archived(database, home / "archive")
    [(gone,)] = _pruned("events_pruned")(database)
    assert len(kept) == len(set(kept)) == gone
    assert set(archives.live(database)).isdisjoint(kept)
    verified = Forked(home).on(database)("archive", "verify", str(home / "archive"))
    assert verified.code == 0, verified
    _told_of_all("events_pruned", "prune events")(database, home)


def _told_of_all(event: str, action: str) -> Callable[[Database, Path], None]:
    """Return what holds once a prune was finished: records tell of each row that is gone, once."""

    def after(database: Database, _: Path) -> None:
        told = database.value(
            "SELECT coalesce(sum((metadata ->> 'deleted')::int), 0)::int FROM security_events"
            " WHERE event_type = %s",
            (event,),
        )
        counted = database.value(
            "SELECT coalesce(sum(changed), 0)::int FROM secops.operations"
            " WHERE action = %s AND finished_at IS NOT NULL",
            (action,),
        )
        open_ = database.value(
            "SELECT count(*) FROM secops.operations WHERE finished_at IS NULL AND action = %s",
            (action,),
        )
        assert (told, open_) == (counted, 0)

    return after


def _no_deed_unrecorded(
    table: str, action: str
) -> Callable[[Database, dict[str, list[str]]], None]:
    """Return what holds at any moment of a prune: as many rows are gone as are recorded."""

    def meanwhile(database: Database, before: dict[str, list[str]]) -> None:
        counted = database.value(
            "SELECT coalesce(sum(changed), 0)::int FROM secops.operations WHERE action = %s",
            (action,),
        )
        told = database.value(
            "SELECT coalesce(sum((metadata ->> 'deleted')::int), 0)::int FROM security_events"
            " WHERE metadata ->> 'command' = %s",
            (action,),
        )
        gone = len(before[table]) - len(rows(database)[table])
        assert (counted, told) == (gone, gone)

    return meanwhile


def _pruned(event: str) -> Callable[[Database], Deeds]:
    def deeds(database: Database) -> Deeds:
        return database.execute(
            "SELECT sum((metadata ->> 'deleted')::int) FROM security_events WHERE event_type = %s",
            (event,),
        )

    return deeds


STORIES = {
    story.name: story
    for story in (
        Story(
            "migrate", ("migrate", "--yes"), _bare("uuid"), hardened=False, deeds=versions,
        ),
        Story(
            "adopt the plan by hand", ("migrate", "--yes"), _by_hand("mixed case"), hardened=False,
            deeds=versions,
        ),
        Story(
            "take an earlier layer over", ("migrate", "--yes"), _earlier, hardened=False,
            deeds=versions,
        ),
        Story(
            "give an earlier layer up",
            ("migrate", "contract", "--yes", "--accept-loss", "60", "--grace", "0s"), _taken_over,
            hardened=False, deeds=contractions,
        ),
        Story(
            "convert", ("partition", "convert", "--yes"), _filled,
            back=("partition", "undo", "--yes"), deeds=partitionings,
        ),
        Story("undo", ("partition", "undo", "--yes"), _partitioned, deeds=partitionings),
        Story(
            "months ahead", ("partition", "ahead", "--months", "5"), _partitioned,
            deeds=partitionings,
        ),
        Story(
            "prune tokens", ("prune", "tokens", "--yes", "--batch", "40", "--pause", "0"), _tokens,
            deeds=_pruned("tokens_pruned"), after=_told_of_all("tokens_pruned", "prune tokens"),
            meanwhile=_no_deed_unrecorded("refresh_tokens", "prune tokens"),
            patient=False,
        ),
        Story(
            "prune events", ("prune", "events", "--yes", "--batch", "30", "--pause", "0"), _filled,
            env={"SECOPS_RETENTION_INFORMATION": "30d", "SECOPS_RETENTION_SECURITY": "60d"},
            deeds=_pruned("events_pruned"), after=_told_of_all("events_pruned", "prune events"),
            meanwhile=_no_deed_unrecorded("security_events", "prune events"),
            patient=False,
        ),
        Story(
            "prune events in partitions",
            ("prune", "events", "--yes", "--batch", "30", "--pause", "0"), _partitioned,
            env={"SECOPS_RETENTION_INFORMATION": "30d", "SECOPS_RETENTION_SECURITY": "60d"},
            deeds=_pruned("events_pruned"), after=_told_of_all("events_pruned", "prune events"),
            meanwhile=_no_deed_unrecorded("security_events", "prune events"),
            patient=False,
        ),
        Story(
            "prune whole months",
            ("prune", "events", "--yes", "--batch", "30", "--pause", "0"), _old_months,
            env={
                "SECOPS_RETENTION_INFORMATION": "30d", "SECOPS_RETENTION_SECURITY": "60d",
                "SECOPS_RETENTION_OPERATOR": "70d",
            },
            deeds=_pruned("events_pruned"), after=_told_of_all("events_pruned", "prune events"),
            patient=False,
        ),
        Story(
            "archive events", _ARCHIVING, _old_events,
            env={"SECOPS_RETENTION_INFORMATION": "30d", "SECOPS_RETENTION_SECURITY": "60d"},
            deeds=_pruned("events_pruned"), after=_archived,
            meanwhile=_no_deed_unrecorded("security_events", "prune events"),
            patient=False,
        ),
        Story(
            "archive whole months", _ARCHIVING, _old_months,
            env={
                "SECOPS_RETENTION_INFORMATION": "30d", "SECOPS_RETENTION_SECURITY": "60d",
                "SECOPS_RETENTION_OPERATOR": "70d",
            },
            deeds=_pruned("events_pruned"), after=_archived, patient=False,
        ),
    )
}  # fmt: skip
