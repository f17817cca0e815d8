"""Settings: which source wins, what is refused and in which words, and what is never repeated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.errors import ConfigurationError
from secops.settings import CONFIG_NAME, DECLARED, Secret, Settings, load

CANARY = "c4n4ry"


def written(folder: Path, text: str) -> Path:
    path = folder / CONFIG_NAME
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str, **environ: str) -> Settings:
    written(folder, text)
    return load(environ=environ, folder=folder)


def refused(folder: Path, text: str, **environ: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        loaded(folder, text, **environ)
    assert caught.value.hint
    return caught.value


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    path = written(tmp_path, "database_url: postgresql://file/d\n")
    everything = {
        "SECOPS_DATABASE_URL": "postgresql://secops/d",
        "DATABASE_URL": "postgresql://any/d",
    }

    def found(flag: str | None, environ: dict[str, str], folder: Path) -> tuple[str | None, str]:
        settings = load({"database_url": flag}, environ=environ, folder=folder)
        secret = settings.secret("database_url")
        return secret.reveal() if secret else None, str(settings.origins["database_url"])

    flag = "postgresql://flag/d"
    assert found(flag, everything, tmp_path) == (flag, "--database-url")
    assert found(None, everything, tmp_path) == ("postgresql://secops/d", "SECOPS_DATABASE_URL")
    del everything["SECOPS_DATABASE_URL"]
    assert found(None, everything, tmp_path) == ("postgresql://any/d", "DATABASE_URL")
    assert found(None, {}, tmp_path) == ("postgresql://file/d", f"{path}:1")
    path.unlink()
    assert found(None, {}, tmp_path) == (None, "default")


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "database_url: postgresql://file/d\n", SECOPS_DATABASE_URL="")
    assert settings.origins["database_url"].kind == "file"


def test_every_declared_setting_can_be_set_by_the_file_and_by_each_of_its_variables(
    tmp_path: Path,
) -> None:
    samples = {int: "7", bool: "false", timedelta: "42s"}
    for setting in DECLARED:
        text = samples.get(type(setting.default), "something")
        if setting.key == "require_reason":
            text = "false"
        if setting.key == "production":
            text = "true"
        if setting.key == "retention.preset":
            text = "pci"
        elif setting.key in {
            "throttle.max_lag",
            *(f"retention.{name}" for name in ("information", "security", "operator")),
        }:
            text = "42d"
        settings = loaded(tmp_path, f"{setting.key}: {text}\n")
        assert settings.origins[setting.key].kind == "file", setting.key
        assert settings.values[setting.key] != setting.default, setting.key
        for name in setting.env:
            settings = load(environ={name: text}, folder=Path("/"))
            assert settings.origins[setting.key].detail == name
            assert settings.values[setting.key] != setting.default, name


def test_keys_and_variables_are_declared_once_and_have_help() -> None:
    keys = [setting.key for setting in DECLARED]
    variables = [name for setting in DECLARED for name in setting.env]
    assert len(set(keys)) == len(keys)
    assert len(set(variables)) == len(variables)
    assert all(setting.help.endswith(".") for setting in DECLARED)


def test_a_default_is_what_its_own_reader_accepts() -> None:
    from secops.durations import format_duration

    for setting in DECLARED:
        if setting.default is None:
            continue
        text = (
            format_duration(setting.default)
            if isinstance(setting.default, timedelta)
            else str(setting.default)
        )
        assert setting.read(text) == setting.default, setting.key


def test_a_mapping_and_dotted_keys_mean_the_same(tmp_path: Path) -> None:
    nested = loaded(tmp_path, "users:\n  table: people\n  id: key\n")
    dotted = loaded(tmp_path, "users.table: people\nusers.id: key\n")
    assert nested.text("users.table") == dotted.text("users.table") == "people"
    assert str(nested.origins["users.id"]) == f"{tmp_path / CONFIG_NAME}:3"


def test_words_that_yaml_takes_for_something_else_stay_words(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "users: {table: yes, id: 007, email: 1e3, name: 2024-01-01}")
    assert [settings.text(f"users.{key}") for key in ("table", "id", "email", "name")] == [
        "yes",
        "007",
        "1e3",
        "2024-01-01",
    ]


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "users:\n", "users:\n  table:\n", "schema: ~\n"]
)
def test_what_is_left_empty_is_not_set(tmp_path: Path, text: str) -> None:
    settings = loaded(tmp_path, text)
    assert {origin.kind for origin in settings.origins.values()} == {"default"}


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("schema: a\nlock_timout: 5s\n", 2, "Did you mean lock_timeout?"),
        ("users:\n  id: a\n  tabel: people\n", 3, "Did you mean users.table?"),
        ("user:\n  table: people\n", 1, "Did you mean users?"),
        ("\n\nwhatever: 1\n", 3, "The settings are: database_url, "),
        ("users.emial: mail\n", 1, "Did you mean users.email?"),
    ],
)
def test_a_wrong_key_is_named_with_its_line_and_the_nearest_right_one(
    tmp_path: Path, text: str, line: int, hint: str
) -> None:
    error = refused(tmp_path, text)
    assert error.message.startswith(f"{tmp_path / CONFIG_NAME}:{line}: there is no setting '")
    assert error.hint.startswith(hint)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema: a\nschema: b\n", ":2: schema stands twice; first on line 1."),
        ("users: {id: a}\nusers.id: b\n", ":2: users.id stands twice; first on line 1."),
        ("schema:\n  - a\n", ":1: schema takes one value, not a list."),
        ("schema:\n  name: a\n", ":1: schema takes one value, not a mapping."),
        ("users: people\n", ":1: users takes settings of its own, indented under it."),
        ("- a\n", ":1: the file must hold settings, one `key: value` a line."),
        ("just words\n", ":1: the file must hold settings, one `key: value` a line."),
        ("schema: 'a\n", ":2: this is not YAML: "),
        ("schema: a: b\n", ":1: this is not YAML: "),
        ("\tschema: a\n", ":1: this is not YAML: "),
        ("schema: a\n---\nschema: b\n", ":2: this is not YAML: "),
        ("schema: é\nqueries: \x01\n", ":2: a character that YAML does not allow."),
        ("? [a]\n: b\n", ":1: what stands before the colon is no setting's name."),
    ],
)
def test_a_file_that_is_no_settings_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    assert refused(tmp_path, text).message.startswith(f"{tmp_path / CONFIG_NAME}{said}")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_bytes("schema: é".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load(environ={}, folder=tmp_path)


def test_a_deeply_nested_file_is_refused(tmp_path: Path) -> None:
    assert "nested" in refused(tmp_path, "schema: " + "[" * 50_000).message


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("max_login_attempts", "0", "must be a whole number from 1 to 10,000; it is '0'."),
        ("max_login_attempts", "-3", "must be a whole number"),
        ("max_login_attempts", "five", "must be a whole number"),
        ("max_login_attempts", "9" * 5000, "must be a whole number"),
        ("production", "maybe", "must be true or false; it is 'maybe'."),
        ("lock_timeout", "5 parsecs", "'5 parsecs' is not a duration."),
        ("lock_timeout", "-5s", "'-5s' is not a duration."),
        ("schema", "x" * 64, "must be a name of 1 to 63 bytes"),
        ("schema", "ä" * 32, "must be a name of 1 to 63 bytes"),
        ("schema", '""', "must be a name of 1 to 63 bytes"),
        ("queries", '""', "must name a folder"),
        ("queries", "~nobody-of-that-name/x", "names a home folder that is not there"),
    ],
)
def test_a_value_that_cannot_be_is_refused_naming_key_and_place(
    tmp_path: Path, key: str, text: str, said: str
) -> None:
    error = refused(tmp_path, f"{key}: {text}\n")
    assert f"{key} ({tmp_path / CONFIG_NAME}:1)" in error.message
    assert said in error.message


@pytest.mark.parametrize("key", [setting.key for setting in DECLARED if not setting.secret])
def test_a_url_put_where_another_setting_belongs_is_not_repeated(tmp_path: Path, key: str) -> None:
    try:
        settings = loaded(tmp_path, f"{key}: postgresql://u:{CANARY}@h:5432/{'d' * 60}\n")
    except ConfigurationError as error:
        assert CANARY not in f"{error.message} {error.hint}"  # noqa: PT017  both ways are right
    else:
        assert CANARY not in repr(settings.origins)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{CANARY}@h/d\n",
        f"postgresql://u:{CANARY}@h/d: x\n",
        f"'postgresql://u:{CANARY}@h/d': x\n",
        f"database_url postgresql://u:{CANARY}@h/d: x\n",
        f"database_url: *{CANARY}\n",
        f"database_url: !{CANARY}!x y\n",
        f'database_url: "\\{CANARY}"\n',
        f"database_url: postgresql://u:{CANARY}@h: d\n",
        f"database_url: '{CANARY}\n",
        f"database_url: [{CANARY}]\n",
        f"database_url:\n  password: {CANARY}\n",
        f"{{postgresql://u:{CANARY}@h/d}}\n",
        f"%{CANARY}\n---\n",
    ],
)
def test_no_complaint_about_the_file_repeats_a_password_in_it(tmp_path: Path, text: str) -> None:
    error = refused(tmp_path, text)
    assert CANARY not in f"{error.message} {error.hint} {error.as_dict()}"


def test_secrets_do_not_show_in_any_printed_form(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f"database_url: postgresql://u:{CANARY}@h/d\n")
    secret = settings.secret("database_url")
    assert secret is not None
    assert CANARY in secret.reveal()
    for form in (str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", repr(settings)):
        assert CANARY not in form
    assert secret == Secret(secret.reveal())
    assert secret != Secret("another")
    assert hash(secret) == hash(Secret(secret.reveal()))


def test_the_nearest_file_above_is_read_up_to_the_root_of_a_repository(tmp_path: Path) -> None:
    outer = written(tmp_path, "schema: outer\n")
    repository = tmp_path / "repository"
    inner = repository / "a" / "b"
    inner.mkdir(parents=True)
    assert load(environ={}, folder=inner).config == outer
    (repository / ".git").mkdir()
    assert load(environ={}, folder=inner).config is None
    here = written(repository, "schema: here\n")
    assert load(environ={}, folder=inner).config == here
    assert load(environ={}, folder=inner, read_file=False).config is None


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    for given_by in ({"config": tmp_path / "no.yaml"}, {"environ": {"SECOPS_CONFIG": "no.yaml"}}):
        with pytest.raises(ConfigurationError, match=r"There is no file .*no\.yaml"):
            load(folder=tmp_path, **{"environ": {}, **given_by})  # type: ignore[arg-type]


def test_a_folder_that_was_removed_or_cannot_be_searched_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load(environ={}).config is None

    def denied(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "is_file", denied)
    assert load(environ={}).config is None


def test_a_folder_from_the_file_is_relative_to_the_file_and_one_from_elsewhere_is_not(
    tmp_path: Path,
) -> None:
    assert loaded(tmp_path, "queries: ours\n").folder("queries") == tmp_path / "ours"
    assert loaded(tmp_path, "queries: /ours\n").folder("queries") == Path("/ours")
    assert loaded(tmp_path, "", SECOPS_QUERIES="ours").folder("queries") == Path("ours")
    assert loaded(tmp_path, "").folder("queries") is None
    home = loaded(tmp_path, "queries: ~/ours\n").folder("queries")
    assert home == Path.home() / "ours"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, False),
        ({"PGUSER": "alice", "PGPASSWORD": "x", "PGPORT": "5432"}, False),
        ({"PGHOST": ""}, False),
        ({"PGHOST": "h"}, True),
        ({"PGHOSTADDR": "1.2.3.4"}, True),
        ({"PGSERVICE": "s"}, True),
        ({"PGDATABASE": "d"}, True),
        ({"DATABASE_URL": "postgresql://h/d"}, True),
    ],
)
def test_a_server_is_named_only_by_what_says_where_or_which(
    environ: dict[str, str], named: bool
) -> None:
    assert load(environ=environ, folder=Path("/")).names_a_server() is named


@given(st.text(max_size=200))
def test_no_file_makes_anything_but_settings_or_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load(config=path, environ={})
    except ConfigurationError as error:
        assert error.message  # noqa: PT017
