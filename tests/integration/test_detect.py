"""Finding the users table: by name, by settings, and saying clearly why one cannot serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from secops.errors import ConfigurationError, SecopsError
from secops.schema.detect import detect

if TYPE_CHECKING:
    from secops.database.layout import Layout
    from support.databases import Database


def found(database: Database, **flags: str) -> Layout:
    with database.connect() as conn:
        return detect(
            conn, database.settings(**{k.replace("__", "."): v for k, v in flags.items()})
        )


def refused(database: Database, **flags: str) -> SecopsError:
    with pytest.raises(SecopsError) as caught:
        found(database, **flags)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [
        ("uuid", "uuid"),
        ("bigserial", "bigint"),
        ("int GENERATED ALWAYS AS IDENTITY", "integer"),
        ("text", "text"),
        ("varchar(40)", "text"),
    ],
)
def test_the_type_of_the_key_is_detected(database: Database, declared: str, wanted: str) -> None:
    database.execute(f"CREATE TABLE users (id {declared} PRIMARY KEY, email text)")
    users = found(database).users
    assert (users.schema, users.name, users.id, users.email) == ("public", "users", "id", "email")
    assert users.id_type == wanted


def test_columns_are_found_by_their_usual_names_in_mixed_case(database: Database) -> None:
    database.execute(
        """CREATE SCHEMA "App"; CREATE TABLE "App"."Users" (
           "userId" bigint PRIMARY KEY, "EmailAddress" varchar(99), "displayName" text,
           "isActive" boolean, "passwordHash" text)"""
    )
    layout = found(database)
    users = layout.users
    assert (users.schema, users.name, users.id, users.email) == (
        "App", "Users", "userId", "EmailAddress",
    )  # fmt: skip
    assert (users.display_name, users.active, users.password) == (
        "displayName", "isActive", "passwordHash",
    )  # fmt: skip
    assert layout.schema == "App"


def test_columns_of_the_wrong_type_are_not_taken(database: Database) -> None:
    database.execute(
        "CREATE TABLE users (id int PRIMARY KEY, email int, login text, active text, name int)"
    )
    users = found(database).users
    assert users.email == "login"
    assert users.active is None
    assert users.display_name is None
    assert users.password is None


def test_the_table_on_the_search_path_wins_over_one_elsewhere(database: Database) -> None:
    database.execute(
        """CREATE SCHEMA auth; CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
           CREATE TABLE users (id bigint PRIMARY KEY, email text)"""
    )
    assert found(database).users.schema == "public"
    assert found(database, users__schema="auth").users.schema == "auth"


def test_two_tables_off_the_search_path_ask_for_a_choice(database: Database) -> None:
    database.execute(
        """CREATE SCHEMA a; CREATE TABLE a.users (id uuid PRIMARY KEY, email text);
           CREATE SCHEMA b; CREATE TABLE b.users (id uuid PRIMARY KEY, email text)"""
    )
    error = refused(database)
    assert "a.users, b.users" in error.message
    assert "users.schema" in error.hint


def test_users_wins_over_other_names_and_other_names_serve_without_it(database: Database) -> None:
    database.execute(
        """CREATE TABLE accounts (id bigint PRIMARY KEY, balance numeric);
           CREATE TABLE app_user (id bigint PRIMARY KEY, login text)"""
    )
    assert found(database).users.name == "app_user"
    database.execute("CREATE TABLE users (id bigint PRIMARY KEY, email text)")
    assert found(database).users.name == "users"


def test_several_other_names_ask_for_a_choice(database: Database) -> None:
    database.execute(
        """CREATE TABLE accounts (id bigint PRIMARY KEY, email text);
           CREATE TABLE members (id bigint PRIMARY KEY, email text)"""
    )
    assert "public.accounts, public.members" in refused(database).message
    assert found(database, users__table="members").users.name == "members"


def test_no_users_table_names_tables_that_look_like_one(database: Database) -> None:
    assert "is this the right database?" in refused(database).hint
    database.execute("CREATE TABLE folk (id bigint PRIMARY KEY, e_mail text, email text)")
    error = refused(database)
    assert "no users table" in error.message
    assert "public.folk" in error.hint
    assert "users.table" in error.hint


def test_a_view_called_users_names_the_table_behind_it(database: Database) -> None:
    database.execute(
        """CREATE TABLE people (id bigint PRIMARY KEY, email text);
           CREATE VIEW users AS SELECT * FROM people"""
    )
    error = refused(database)
    assert "public.users is a view" in error.message
    assert "public.people" in error.hint
    assert found(database, users__table="people").users.name == "people"


def test_a_partitioned_table_and_a_materialized_view_are_refused(database: Database) -> None:
    database.execute(
        "CREATE TABLE users (id bigint PRIMARY KEY, email text) PARTITION BY HASH (id)"
    )
    assert "a partitioned table" in refused(database).message
    database.execute("DROP TABLE users; CREATE MATERIALIZED VIEW users AS SELECT 1 AS id")
    assert "a materialized view" in refused(database).message


def test_a_table_without_a_single_column_key_is_refused(database: Database) -> None:
    database.execute("CREATE TABLE users (id bigint, email text)")
    assert "no primary key" in refused(database).message
    database.execute("ALTER TABLE users ADD PRIMARY KEY (email, id)")
    assert "several columns (email, id)" in refused(database).message


def test_a_unique_column_can_be_named_as_the_key(database: Database) -> None:
    database.execute(
        """CREATE TABLE users (tenant int, nr int, PRIMARY KEY (tenant, nr), email text,
           public_id uuid NOT NULL UNIQUE, loose uuid UNIQUE, half uuid NOT NULL);
           CREATE UNIQUE INDEX ON users (half) WHERE nr > 5"""
    )
    assert found(database, users__id="public_id").users.id_type == "uuid"
    for column in ("loose", "half", "nr"):
        assert "is no key" in refused(database, users__id=column).message


@pytest.mark.parametrize("declared", ["smallint", "numeric", "char(8)"])
def test_a_key_of_another_type_is_refused(database: Database, declared: str) -> None:
    database.execute(f"CREATE TABLE users (id {declared} PRIMARY KEY, email text)")
    error = refused(database)
    assert "public.users.id is of type" in error.message
    assert declared.partition("(")[0].replace("char", "character") in error.message


def test_no_email_column_lists_the_columns(database: Database) -> None:
    database.execute("CREATE TABLE users (id bigint PRIMARY KEY, contact text)")
    error = refused(database)
    assert "users.email" in error.hint
    assert "contact" in error.hint
    assert found(database, users__email="contact").users.email == "contact"


@pytest.mark.parametrize(
    "flags",
    [
        {"users__table": "nobody"},
        {"users__table": "users", "users__schema": "nowhere"},
        {"users__email": "nothing"},
        {"users__id": "nothing"},
        {"users__active": "email"},
        {"users__password": "id"},
    ],
)
def test_settings_that_name_what_is_not_there_are_refused(
    app_db: Database, flags: dict[str, str]
) -> None:
    error = refused(app_db, **flags)
    assert isinstance(error, ConfigurationError)


def test_the_demo_app_is_found_whole(app_db: Database) -> None:
    layout = found(app_db)
    users = layout.users
    assert (users.email, users.display_name) == ("email", "first_name")
    assert (users.active, users.password) == ("is_active", "password_hash")
    assert layout.schema == "public"
    assert found(app_db, schema="security").schema == "security"
