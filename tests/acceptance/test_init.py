"""``secops init``: it finds, shows and writes; what it writes is what the next command reads."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from secops.settings import load
from support.databases import Command, Database

CANARY = "c4n4ry"


def test_the_written_file_is_all_that_the_next_command_needs(
    secops: Command, hardened: Database
) -> None:
    done = secops("init", "--database-url", hardened.url)
    assert done.code == 0, done.err
    assert f"Wrote secops.yaml for database {hardened.name}" in done.out
    assert "public.users" in done.out
    assert "Undo: rm secops.yaml" in done.out
    assert "secops doctor" in done.err
    path = secops.home / "secops.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = load(folder=secops.home, environ={})
    assert settings.text("users.table") == "users"
    assert settings.text("users.password") == "password_hash"
    # Nothing in the environment names the database now.
    assert secops("show", "user", "alice@example.com").code == 0
    assert "secops.yaml:" in secops("doctor", "--settings").out


def test_a_file_that_is_there_is_refused_until_force_and_the_old_one_is_kept(
    secops: Command, hardened: Database
) -> None:
    path = secops.home / "secops.yaml"
    path.write_text("lockout_duration: 45m\n")
    on = secops.on(hardened)
    refused = on("init", "--json")
    assert refused.code == 8
    assert "--force" in refused.error()["hint"]
    assert path.read_text() == "lockout_duration: 45m\n"
    done = on("init", "--force", "--json")
    assert done.code == 0, done.err
    outcome = done.json()
    assert {"action", "dry_run", "matched", "changed", "items", "undo"} <= set(outcome)
    assert outcome["undo"] == "mv secops.yaml.old secops.yaml"
    assert (secops.home / "secops.yaml.old").read_text() == "lockout_duration: 45m\n"
    assert "lockout_duration: 45m" in path.read_text()
    assert {item["setting"] for item in outcome["items"]} >= {"users.table", "lockout_duration"}


def test_print_writes_nothing_and_prints_the_file(secops: Command, hardened: Database) -> None:
    printed = secops.on(hardened)("init", "--print")
    assert (printed.code, printed.err) == (0, "")
    assert list(secops.home.iterdir()) == []
    (secops.home / "secops.yaml").write_text(printed.out)
    assert secops("show", "user", "alice@example.com").code == 0


def test_print_without_a_database_shows_every_setting(secops: Command) -> None:
    printed = secops("init", "--print")
    assert printed.code == 0
    assert "# max_login_attempts: 5" in printed.out


def test_a_broken_file_does_not_keep_init_from_showing_or_replacing_it(
    secops: Command, hardened: Database
) -> None:
    path = secops.home / "secops.yaml"
    path.write_text("database_url: [\n")
    printed = secops.on(hardened)("init", "--print")
    assert printed.code == 0
    assert "this is not YAML" in printed.err
    assert secops("init", "--print").code == 0
    assert secops.on(hardened)("init").code == 8
    assert secops.on(hardened)("init", "--force").code == 0
    assert secops("show", "user", "alice@example.com").code == 0
    assert (secops.home / "secops.yaml.old").read_text() == "database_url: [\n"


def test_a_password_is_not_written_shown_or_told(secops: Command, hardened: Database) -> None:
    # The servers of the tests trust everybody, whatever the password.
    url = hardened.server.url(hardened.name, password=CANARY)
    done = secops("init", env={"SECOPS_DATABASE_URL": url})
    assert done.code == 0
    assert "SECOPS_DATABASE_URL) holds a password and was not written" in done.err
    text = (secops.home / "secops.yaml").read_text()
    assert CANARY not in done.out + done.err + text
    assert "\ndatabase_url:" not in text


def test_without_a_database_init_says_how_to_name_one(secops: Command) -> None:
    said = secops("init", "--json")
    assert said.code == 2
    assert "SECOPS_DATABASE_URL" in said.error()["hint"]
    assert list(secops.home.iterdir()) == []


def test_one_of_several_tables_can_be_chosen(secops: Command, database: Database) -> None:
    for schema in ("one", "two"):
        database.execute(f"CREATE SCHEMA {schema}")
        database.execute(f"CREATE TABLE {schema}.users (id bigint PRIMARY KEY, email text)")
    on = secops.on(database)
    unsure = on("init")
    assert unsure.code == 1
    assert "one.users, two.users" in unsure.err
    assert list(secops.home.iterdir()) == []
    assert on("init", "--users-table", "two.users").code == 0
    assert "schema: two" in (secops.home / "secops.yaml").read_text()
    assert on("init", "--users-table", "three.users", "--force").code == 2


def test_a_named_file_is_written_there(secops: Command, hardened: Database, tmp_path: Path) -> None:
    there = tmp_path / "settings.yaml"
    assert secops.on(hardened)("init", "--config", str(there)).code == 0
    assert secops("show", "user", "alice@example.com", "--config", str(there)).code == 0
    nowhere = secops.on(hardened)("init", "--config", str(tmp_path / "no" / "folder.yaml"))
    assert nowhere.code == 1
    assert "No such file or directory" in nowhere.err


def test_the_grants_are_sql_alone(secops: Command, hardened: Database) -> None:
    printed = secops.on(hardened)("init", "--print-grants")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("-- ")
    assert secops.on(hardened)("init", "--print-grants", "--print").code == 2
    assert list(secops.home.iterdir()) == []


@pytest.mark.parametrize("topic", ["exit-codes", "settings", "formats"])
def test_each_topic_can_be_read_beside_a_broken_configuration(secops: Command, topic: str) -> None:
    (secops.home / "secops.yaml").write_text("nonsense: [")
    told = secops("help", topic, env={"MAX_LOGIN_ATTEMPTS": "many"})
    assert (told.code, told.err) == (0, "")
    assert told.out
    assert secops("help", topic, "--json").json()
    assert f"secops help {topic}" in secops("help").out


def test_help_tells_every_exit_code_and_every_setting(secops: Command) -> None:
    from secops.errors import EXIT_CODES
    from secops.settings import DECLARED

    codes = secops("help", "exit-codes", "--json").json()
    assert codes == {str(code): meaning for code, meaning in EXIT_CODES.items()}
    text = secops("help", "settings").out
    for setting in DECLARED:
        assert setting.key in text
        assert setting.help in text
        assert all(name in text for name in setting.env)


def test_an_unknown_topic_is_answered_with_the_nearest(secops: Command) -> None:
    said = secops("help", "exit-code", "--json")
    assert said.code == 4
    assert said.error()["hint"].startswith("Did you mean `secops help exit-codes`?")


def test_the_doctor_exits_by_what_it_found(secops: Command, hardened: Database) -> None:
    on = secops.on(hardened)
    well = on("doctor")
    assert (well.code, well.err) == (0, "")
    assert "✓ Migrations: all " in well.out
    assert "0 failed" in well.out
    hardened.execute("DELETE FROM secops.alembic_version")
    ill = on("doctor", "--json")
    assert ill.code == 3
    assert ill.error()["code"] == "findings"
    document = ill.json()
    failed = [check for check in document["checks"] if check["status"] == "fail"]
    assert document["fail"] == len(failed) == 1
    assert "secops migrate" in failed[0]["mend"]
    lost = secops("doctor", env={"SECOPS_DATABASE_URL": "postgresql://127.0.0.1:1/x"})
    assert lost.code == 10
    assert "✓ secops.yaml" in lost.out
    assert "✗ Connection: Nothing answers there" in lost.out
    assert "- Clocks: there is no connection" in lost.out


def test_settings_are_told_with_their_origin_without_a_database(secops: Command) -> None:
    told = secops(
        "doctor", "--settings", "--json",
        env={"SECOPS_DATABASE_URL": f"postgresql://u:{CANARY}@h/d", "SECOPS_LOCK_TIMEOUT": "2s"},
    )  # fmt: skip
    assert told.code == 0
    assert CANARY not in told.out + told.err
    found = {row["setting"]: row for row in told.json()}
    assert found["database_url"]["value"] == "postgresql://u:***@h/d"
    assert found["lock_timeout"]["from"] == "SECOPS_LOCK_TIMEOUT"
    assert found["production"] == {
        "setting": "production",
        "value": False,
        "from": "default",
        "help": found["production"]["help"],
    }
