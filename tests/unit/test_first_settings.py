"""The written secops.yaml: it is read back as it was meant, and written whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.database.layout import Layout, UsersTable
from secops.doctor.first_settings import (
    as_yaml,
    chosen,
    left_out,
    sample,
    scalar,
    with_users_table,
    write,
)
from secops.errors import Refused
from secops.settings import CONFIG_NAME, DECLARED, Settings, load

# What PostgreSQL takes for a name, the odd ones included.
NAMES = st.one_of(
    st.sampled_from(
        [
            *(
                "null",
                "Null",
                "NULL",
                "~",
                "yes",
                "No",
                "on",
                "true",
                "1e3",
                "0x1f",
                "007",
                "-",
                "?",
            ),
            *(
                "a: b",
                "a #b",
                "#",
                "&a",
                "*a",
                "!a",
                "%a",
                "@a",
                "`a",
                "|",
                ">",
                "{a}",
                "[a]",
                "a,b",
            ),
            *(
                '"',
                "'",
                "\\",
                "\\n",
                "\t",
                "\n",
                "a\nb: c",
                "\x7f",
                "\x85",
                "\u2028",
                "\ufeff",
                "😀",
            ),
            *(
                "---",
                "...",
                "- a",
                "a:",
                "users",
                " a ",
                "<<",
                "=",
                "2024-01-01",
                "таблица",
                "\xa0",
            ),
        ]
    ),
    st.text(
        st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=15
    ),
).filter(lambda name: len(name.encode()) <= 63)


def settings(folder: Path | None = None, **environ: str) -> Settings:
    return load(environ=environ, folder=folder or Path("/"))


def layout(**names: str) -> Layout:
    users = UsersTable(
        schema=names.get("schema", "public"),
        name=names.get("name", "users"),
        id=names.get("id", "id"),
        id_type="uuid",
        email=names.get("email", "email"),
        display_name=names.get("display_name"),
        active=names.get("active"),
        password=names.get("password"),
    )
    return Layout(users=users, schema=names.get("ours", users.schema))


@given(st.lists(NAMES, min_size=8, max_size=8))
def test_any_names_are_read_back_as_they_were_found(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    keys = ("schema", "name", "id", "email", "display_name", "active", "password", "ours")
    found = layout(**dict(zip(keys, names, strict=True)))
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    values = chosen(found, settings(), path)
    path.write_text(as_yaml(values), encoding="utf-8")
    read = load(config=path, environ={})
    users = found.users
    assert [read.text(f"users.{key}") for key in ("schema", "table", "id", "email")] == [
        users.schema,
        users.name,
        users.id,
        users.email,
    ]
    assert [read.text(f"users.{key}") for key in ("name", "active", "password")] == [
        users.display_name,
        users.active,
        users.password,
    ]
    assert (read.text("schema") or users.schema) == found.schema


@given(NAMES)
def test_a_scalar_is_one_line_of_characters_that_every_editor_shows(name: str) -> None:
    assert scalar(name).isprintable()


def test_a_simple_layout_makes_a_short_file_without_quotes(tmp_path: Path) -> None:
    url = "postgresql://app@db.example.com:5432/shop?sslmode=require"
    path = tmp_path / CONFIG_NAME
    text = as_yaml(chosen(layout(active="is_active"), settings(SECOPS_DATABASE_URL=url), path))
    plain = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert plain == [
        f"database_url: {url}",
        "users:",
        "  schema: public",
        "  table: users",
        "  id: id",
        "  email: email",
        "  active: is_active",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:c4n4ry@h/d",
        "postgresql://h/d?password=c4n4ry",
        "host=h password=c4n4ry dbname=d",
        "postgresql://h/d?p%61ssword=c4n4ry",
    ],
)
def test_a_password_is_never_written_and_the_file_says_what_to_do(tmp_path: Path, url: str) -> None:
    given_settings = settings(SECOPS_DATABASE_URL=url)
    values = chosen(layout(), given_settings, tmp_path / CONFIG_NAME)
    text = as_yaml(values)
    assert "c4n4ry" not in text
    assert "~/.pgpass" in text
    assert left_out(given_settings, values) == ["database_url"]


def test_what_an_overwritten_file_held_is_kept_but_for_passwords(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_NAME
    path.write_text(
        "database_url: postgresql://h/d\nreport_database_url: postgresql://r:c4n4ry@h/d\n"
        "direct_url: postgresql://h:6543/d\nlock_timeout: 1500ms\nrequire_reason: no\n"
        "queries: ours\nmax_login_attempts: 9\nusers: {table: people}\n"
    )
    before = load(folder=tmp_path, environ={"SECOPS_OPERATOR": "not from the file"})
    values = chosen(layout(name="people"), before, path)
    assert left_out(before, values) == ["report_database_url"]
    path.write_text(as_yaml(values))
    after = load(folder=tmp_path, environ={})
    changed = {key for key in before.values if before.values[key] != after.values[key]}
    assert changed == {
        *("report_database_url", "operator"),
        *("users.schema", "users.id", "users.email"),
    }


def test_settings_of_another_file_are_not_copied(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_text("lock_timeout: 1s\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    values = chosen(layout(), load(folder=inner, environ={}), inner / CONFIG_NAME)
    assert "lock_timeout" not in values


def test_the_sample_is_a_valid_file_as_it_is_and_with_its_comments_taken_off(
    tmp_path: Path,
) -> None:
    path = tmp_path / CONFIG_NAME
    for text in (sample(), re.sub(r"^# (?!What|`)", "", sample(), flags=re.MULTILINE)):
        path.write_text(text)
        assert load(folder=tmp_path, environ={}).values == settings().values
    for setting in DECLARED:
        assert setting.help in text
        assert re.search(rf"^ *{setting.key.rpartition('.')[2]}:", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "schema", "table"),
    [("people", None, "people"), ("auth.people", "auth", "people"), ("a.b.c", "a.b", "c")],
)
def test_a_users_table_can_be_named_with_its_schema(
    name: str, schema: str | None, table: str
) -> None:
    named = with_users_table(settings(), name)
    assert (named.text("users.schema"), named.text("users.table")) == (schema, table)
    assert str(named.origins["users.table"]) == "--users-table"


def test_a_file_is_for_its_owner_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_NAME
    assert write(path, "é: 1\n", overwrite=False) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text(encoding="utf-8") == "é: 1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_NAME
    path.write_text("old")
    with pytest.raises(Refused, match="is there already"):
        write(path, "new", overwrite=False)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_overwritten_file_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_NAME
    path.write_text("old")
    path.chmod(0o644)
    kept = write(path, "new", overwrite=True)
    assert kept == tmp_path / "secops.yaml.old"
    assert (kept.read_text(), path.read_text()) == ("old", "new")
    # It may hold a password.
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sorted(tmp_path.iterdir()) == [path, kept]


def test_a_file_system_without_links_refuses_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / CONFIG_NAME
    write(path, "one", overwrite=False)
    with pytest.raises(Refused):
        write(path, "two", overwrite=False)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / CONFIG_NAME
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, "new", overwrite=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
