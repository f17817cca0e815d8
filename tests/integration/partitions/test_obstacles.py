"""What stands in the way is named before anything is touched: all of it, each with what removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from secops.accounts.operations import Operation
from secops.schema.partitions.converting import Converting
from secops.schema.partitions.obstacles import Obstacle
from secops.schema.partitions.undoing import Undoing
from secops.schema.workplace import opened
from support.event_tables import fill, kind, loose_ends
from support.pgbouncer import pgbouncer
from support.schemas import shape

if TYPE_CHECKING:
    from support.databases import Command, Database

OPERATION = Operation.begin(actor="test", host="here", reason="", ticket="", command="test")


def in_the_way(database: Database, **settings: str) -> tuple[Obstacle, ...]:
    with opened(Converting, database.settings(**settings), "test") as place:
        return place.plan(OPERATION).obstacles


# What is done to the table, and the kind and words of what must be said of it.
OBSTACLES = {
    "a foreign key to it": (
        "CREATE TABLE notes (event uuid REFERENCES security_events (id))",
        "foreign key",
        "notes refers to it (notes_event_fkey)",
    ),
    "a foreign key of its own": (
        """CREATE TABLE tenants (id int PRIMARY KEY);
           ALTER TABLE security_events ADD COLUMN tenant int REFERENCES tenants""",
        "foreign key",
        "it refers to public.tenants",
    ),
    "a view": (
        "CREATE VIEW failures AS SELECT * FROM security_events WHERE NOT success",
        "view",
        "the view public.failures reads it",
    ),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM security_events",
        "view",
        "the materialized view public.counts reads it",
    ),
    "a rule": (
        "CREATE RULE keep AS ON DELETE TO security_events DO INSTEAD NOTHING",
        "rule",
        "it has the rule keep",
    ),
    "a function of the table": (
        """CREATE FUNCTION latest() RETURNS timestamptz BEGIN ATOMIC
               SELECT max(created_at) FROM security_events; END""",
        "dependency",
        "function public.latest()",
    ),
    "a function of its rows": (
        """CREATE FUNCTION loud(e security_events) RETURNS boolean LANGUAGE sql AS
               'SELECT e.severity = ''critical'''""",
        "dependency",
        "loud(",
    ),
    "a column of its type": (
        "CREATE TABLE kept (event security_events)",
        "dependency",
        "column event of table public.kept",
    ),
    "a trigger": (
        """CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
           CREATE TRIGGER tell AFTER INSERT ON security_events
               FOR EACH ROW EXECUTE FUNCTION nothing()""",
        "trigger",
        "it has the trigger tell",
    ),
    "a policy": (
        "CREATE POLICY mine ON security_events USING (email = current_user)",
        "policy",
        "the row-level security policy mine",
    ),
    "row-level security": (
        "ALTER TABLE security_events ENABLE ROW LEVEL SECURITY",
        "policy",
        "row-level security is enabled",
    ),
    "a publication": (
        "CREATE PUBLICATION events FOR TABLE security_events",
        "publication",
        "the publication events publishes it",
    ),
    "a publication of all tables": (
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "publication",
        "the publication everything would publish each partition",
    ),
    "a subscription": (
        """CREATE SUBSCRIPTION taken CONNECTION 'host=nowhere' PUBLICATION events
               WITH (connect = false, slot_name = NONE);
           INSERT INTO pg_subscription_rel
               SELECT oid, 'security_events'::regclass, 'r', NULL FROM pg_subscription""",
        "subscription",
        "the subscription taken writes to it",
    ),
    "a replica identity": (
        "ALTER TABLE security_events REPLICA IDENTITY FULL",
        "replica identity",
        "its replica identity is not its primary key",
    ),
    "an heir": (
        "CREATE TABLE older () INHERITS (security_events)",
        "inheritance",
        "public.older inherits from it",
    ),
    "an identity": (
        "ALTER TABLE security_events ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
        "identity",
        "its column number is an identity",
    ),
    "not logged": ("ALTER TABLE security_events SET UNLOGGED", "not logged", "UNLOGGED"),
    "a unique index": (
        "CREATE UNIQUE INDEX once ON security_events (email, event_type, message)",
        "unique index",
        "the unique index once does not hold created_at",
    ),
    "a unique constraint": (
        "ALTER TABLE security_events ADD CONSTRAINT once UNIQUE (message)",
        "unique index",
        "the unique index once does not hold created_at",
    ),
    "an exclusion": (
        "ALTER TABLE security_events ADD CONSTRAINT one EXCLUDE USING hash (message WITH =)",
        "exclusion",
        "it has the exclusion one",
    ),
    "an invalid index": (
        """CREATE INDEX half ON security_events (message);
           UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half'::regclass""",
        "invalid index",
        "the index half is not valid",
    ),
    "an unproven constraint": (
        "ALTER TABLE security_events ADD CONSTRAINT short CHECK (length(message) < 99) NOT VALID",
        "constraint",
        "short is NOT VALID",
    ),
    "a constraint for itself alone": (
        "ALTER TABLE security_events ADD CONSTRAINT alone CHECK (length(message) < 99) NO INHERIT",
        "constraint",
        "alone is NO INHERIT",
    ),
    "events without a time": (
        """INSERT INTO security_events (event_type, event_category, severity, success, created_at)
           SELECT 'logout', 'session', 'info', true, NULL FROM generate_series(1, 3)""",
        "no time",
        "3 rows have no created_at",
    ),
    "events of the future": (
        """INSERT INTO security_events (event_type, event_category, severity, success, created_at)
           VALUES ('logout', 'session', 'info', true, now() + interval '70 days'),
                  ('logout', 'session', 'info', true, 'infinity')""",
        "future",
        "2 rows have a created_at of",
    ),
    "drift": (
        "DROP INDEX idx_security_events_user",
        "migrations",
        "migrations are pending, or the schema drifted (Build index idx_security_events_user)",
    ),
}


@pytest.mark.parametrize("case", list(OBSTACLES))
def test_an_obstacle_is_named_and_its_mend_removes_it(hardened: Database, case: str) -> None:
    statements, shown, words = OBSTACLES[case]
    fill(hardened, 20)
    hardened.execute("UPDATE security_events SET message = id")
    assert in_the_way(hardened) == ()
    hardened.execute(statements)
    (found,) = in_the_way(hardened)
    assert found.kind == shown
    assert words in found.what
    if case == "a subscription":  # belongs to the server, which would not let go of the database
        hardened.execute("ALTER SUBSCRIPTION taken DISABLE; DROP SUBSCRIPTION taken")
        assert in_the_way(hardened) == ()
    if found.mend.startswith(("--", "secops")):
        return
    for mend in found.mend.split(";  --")[0].split("; "):
        hardened.execute(mend.rstrip(";"))
    assert in_the_way(hardened) == ()


def test_all_of_them_are_named_at_once_and_nothing_is_touched(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(
        """CREATE VIEW failures AS SELECT * FROM security_events WHERE NOT success;
           CREATE TABLE notes (event uuid REFERENCES security_events (id));
           INSERT INTO security_events (event_type, event_category, severity, success, created_at)
               VALUES ('logout', 'session', 'info', true, NULL)"""
    )
    before = shape(hardened)
    for words in (["convert", "--yes"], ["convert", "--dry-run"], ["convert"]):
        done = secops.on(hardened)("partition", *words, "--json")
        assert done.code == 5, done.err
        error = done.error()
        assert "nothing was touched" in error["message"]
        found = error["details"]["obstacles"]
        assert {each["kind"] for each in found} == {"view", "foreign key", "no time"}
        for each in found:
            assert each["what"] in error["message"]
            assert each["mend"] in error["hint"]
        assert shape(hardened) == before
    # A view comes back with what the hint says.
    mend = next(each["mend"] for each in found if each["kind"] == "view")
    again = mend.split("and afterwards: ")[1]
    hardened.execute("DROP TABLE notes; DELETE FROM security_events WHERE created_at IS NULL")
    hardened.execute(mend.split(";")[0])
    assert secops.on(hardened)("partition", "convert", "--yes").code == 0
    hardened.execute(again)
    assert hardened.value("SELECT count(*) FROM failures") == 0


def test_who_may_not_is_told_what_to_grant(secops: Command, hardened: Database) -> None:
    me, owner = f"me_{hardened.name}", f"owner_{hardened.name}"
    try:
        hardened.execute(
            f"""CREATE ROLE {me} LOGIN; CREATE ROLE {owner};
                ALTER TABLE security_events OWNER TO {owner};
                REVOKE CREATE ON SCHEMA public FROM PUBLIC"""
        )
        before = shape(hardened)
        url = hardened.url.replace("postgres@", f"{me}@")
        on = secops.on(hardened, SECOPS_DATABASE_URL=url)
        done = on("partition", "convert", "--yes", "--json")
        assert done.code == 8, done.err
        assert {each["kind"] for each in done.error()["details"]["obstacles"]} == {
            "not the owner",
            "privilege",
        }
        assert shape(hardened) == before
        with hardened.connect() as conn:
            for line in done.error()["hint"].splitlines():
                if line.startswith("GRANT"):
                    conn.execute(line.encode())
            # What `secops init --print-grants` prints.
            conn.execute(
                f"""GRANT USAGE ON SCHEMA secops TO {me};
                    GRANT ALL ON ALL TABLES IN SCHEMA secops TO {me};
                    ALTER TABLE users OWNER TO {owner};
                    ALTER TABLE refresh_tokens OWNER TO {owner}""".encode()
            )
        done = on("partition", "convert", "--yes")
        assert done.code == 0, done.err
        owners = hardened.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename ~ '^security_events'"
        )
        assert owners == [(owner,)]
        done = on("partition", "undo", "--yes")
        assert done.code == 0, done.err
    finally:
        hardened.server.drop(hardened.name)
        with hardened.server.connect() as conn:
            conn.execute(f"DROP ROLE IF EXISTS {me}, {owner}".encode())


def test_a_pooler_in_between_is_an_obstacle_and_the_direct_url_removes_it(
    hardened: Database,
) -> None:
    with pgbouncer(hardened.server) as bouncer:
        url = bouncer.url(hardened)
        (found,) = in_the_way(hardened, database_url=url)
        assert (found.kind, found.guard) == ("pooler", True)
        assert "SECOPS_DIRECT_URL" in found.mend
        assert in_the_way(hardened, database_url=url, direct_url=hardened.url) == ()


def test_a_table_partitioned_by_others_is_left_to_them(secops: Command, hardened: Database) -> None:
    hardened.execute(
        """DROP TABLE security_events;
           CREATE TABLE security_events (id uuid DEFAULT gen_random_uuid(), event_type varchar(50) NOT NULL,
               event_category varchar(30) NOT NULL, severity varchar(20) NOT NULL, user_id uuid,
               email varchar(255), ip_address varchar(45), user_agent text, request_path varchar(500),
               request_method varchar(10), success boolean NOT NULL, message text, metadata jsonb,
               created_at timestamptz DEFAULT now()) PARTITION BY LIST (severity)"""
    )
    before = shape(hardened)
    for words in ("convert", "undo"):
        done = secops.on(hardened)("partition", words, "--yes")
        assert done.code == 5, done.err
        assert "ranges of created_at" in done.err
    assert shape(hardened) == before


def test_a_table_that_is_not_there_is_migrated_first(secops: Command, app_db: Database) -> None:
    done = secops.on(app_db)("partition", "convert", "--yes")
    assert done.code == 5
    assert "secops migrate" in done.err
    assert secops.on(app_db)("partition", "status").code == 0


def test_what_relies_on_id_alone_is_warned_of(secops: Command, hardened: Database) -> None:
    hardened.execute(
        """CREATE FUNCTION remember(uuid) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO security_events (id, event_type, event_category, severity, success)
               VALUES ($1, 'logout', 'session', 'info', true) ON CONFLICT ("id") DO NOTHING;
           END $$"""
    )
    done = secops.on(hardened)("partition", "convert", "--dry-run")
    assert done.code == 0
    assert "remember(uuid)" in done.err
    assert "ON CONFLICT (id)" in done.err


UNDO = {
    "a view of the whole": (
        "CREATE VIEW failures AS SELECT * FROM security_events WHERE NOT success",
        "the view public.failures reads it",
    ),
    "a view of a partition": (
        "CREATE VIEW newest AS SELECT * FROM {newest}",
        "the view public.newest reads it",
    ),
    "a foreign key to the whole": (
        """CREATE TABLE notes (event uuid, at timestamptz,
               FOREIGN KEY (event, at) REFERENCES security_events (id, created_at))""",
        "public.notes refers to it",
    ),
    "a trigger": (
        """CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
           CREATE TRIGGER tell AFTER INSERT ON security_events
               FOR EACH ROW EXECUTE FUNCTION nothing()""",
        "it has the trigger tell",
    ),
    "partitions of a partition": (
        """CREATE TABLE security_events_p2050 PARTITION OF security_events
               FOR VALUES FROM ('2050-01-01+00') TO ('2051-01-01+00') PARTITION BY HASH (id)""",
        "the partition security_events_p2050 is a partitioned table",
    ),
}


def test_what_keeps_from_undoing_is_named_too(secops: Command, hardened: Database) -> None:
    assert secops.on(hardened)("partition", "convert", "--yes").code == 0
    newest = hardened.value(
        "SELECT max(relname) FROM pg_class WHERE relname ~ '^security_events_p' AND relkind = 'r'"
    )
    with opened(Undoing, hardened.settings(), "test") as place:
        assert place.plan(OPERATION).obstacles == ()
        for statements, _ in UNDO.values():
            hardened.execute(statements.format(newest=newest))
        said = [each.what for each in place.plan(OPERATION).obstacles]
    for _, words in UNDO.values():
        assert any(words in each for each in said), (words, said)
    # The trigger's copies on partitions are not named again.
    assert len(said) == len(UNDO)
    done = secops.on(hardened)("partition", "undo", "--yes")
    assert done.code == 5
    assert kind(hardened) == "p"
    assert loose_ends(hardened) == []
