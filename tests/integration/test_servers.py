from __future__ import annotations

from support.databases import Database


def test_the_tests_run_on_the_major_that_they_say(database: Database) -> None:
    version = int(database.value("SHOW server_version_num"))
    assert f"/{version // 10000}/" in str(database.server.binaries) or version // 10000 == 18


def test_an_app_database_has_people_in_it(app_db: Database) -> None:
    assert app_db.value("SELECT count(*) FROM users") == 8
