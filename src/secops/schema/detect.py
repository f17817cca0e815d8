"""Find the app's users table, its key and its columns.

Names from the settings win and must be there; what they leave open is detected from the catalogue,
and where that would be a guess between several, a person is asked to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from secops.database.layout import INTERNAL, KeyType, Layout, UsersTable
from secops.errors import ConfigurationError, SecopsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from secops.database.connection import Connection
    from secops.settings import Settings

# Compared in lower case and without underscores, so that "emailAddress" is email_address.
# `users` comes before all others: where it is there, `accounts` beside it may well be ledgers.
_FIRST_TABLE: Final = "users"
_OTHER_TABLES: Final = (
    "user", "accounts", "account", "appusers", "appuser", "authusers", "authuser", "usersuser",
    "useraccounts", "useraccount", "members", "member",
)  # fmt: skip
_EMAIL: Final = (
    "email", "emailaddress", "mail", "useremail", "mailaddress", "login", "loginname", "username",
)  # fmt: skip
_NAME: Final = ("fullname", "displayname", "name", "firstname", "username", "nickname")
_ACTIVE: Final = ("isactive", "active", "isenabled", "enabled")
_PASSWORD: Final = (
    "passwordhash", "hashedpassword", "encryptedpassword", "passworddigest", "passwdhash",
    "pwdhash", "passhash", "password", "passwd", "pwd",
)  # fmt: skip

_KEY_TYPES: Final[dict[str, KeyType]] = {
    "uuid": "uuid",
    "int8": "bigint",
    "int4": "integer",
    "text": "text",
    "varchar": "text",
}
_TEXT_TYPES: Final = ("text", "varchar", "citext", "bpchar")

_RELATIONS: Final = """
    SELECT n.nspname::text, c.relname::text, c.relkind::text,
           n.nspname = ANY (current_schemas(false)) AS on_path,
           coalesce(cols.names, '{}'), coalesce(cols.types, '{}'), coalesce(cols.shown, '{}'),
           coalesce(keys.primary_key, '{}'), coalesce(keys.unique_columns, '{}'),
           coalesce(bases.names, '{}')
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT array_agg(a.attname::text ORDER BY a.attnum) AS names,
               array_agg(b.typname::text ORDER BY a.attnum) AS types,
               array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) AS shown
        FROM pg_attribute a
        JOIN pg_type t ON t.oid = a.atttypid
        JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ) cols ON true
    LEFT JOIN LATERAL (
        SELECT (SELECT array_agg(a.attname::text ORDER BY k.place)
                FROM unnest(p.indkey) WITH ORDINALITY AS k(attnum, place)
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                WHERE k.place <= p.indnkeyatts) AS primary_key,
               (SELECT array_agg(a.attname::text)
                FROM pg_index u
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.indkey[0]
                WHERE u.indrelid = c.oid AND u.indisunique AND u.indisvalid AND u.indimmediate
                  AND u.indpred IS NULL AND u.indnkeyatts = 1 AND a.attnotnull) AS unique_columns
        FROM (SELECT 1) AS always
        LEFT JOIN pg_index p ON p.indrelid = c.oid AND p.indisprimary
    ) keys ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(DISTINCT format('%%I.%%I', bn.nspname, base.relname)) AS names
        FROM pg_rewrite r
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                        AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
        JOIN pg_class base ON base.oid = d.refobjid
        JOIN pg_namespace bn ON bn.oid = base.relnamespace
        WHERE r.ev_class = c.oid AND c.relkind IN ('v', 'm')
    ) bases ON true
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %(internal)s)
      AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s)
      AND CASE WHEN %(table)s::text IS NOT NULL THEN c.relname = %(table)s
               ELSE replace(lower(c.relname), '_', '') = ANY (%(names)s) END
    ORDER BY n.nspname, c.relname
"""

_LOOK_LIKE_IT: Final = """
    SELECT DISTINCT format('%%I.%%I', n.nspname, c.relname)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
      AND n.nspname NOT IN ('information_schema', %(internal)s)
      AND c.relname NOT IN ('security_events', 'refresh_tokens')
      AND replace(lower(a.attname), '_', '') = ANY (%(names)s)
    ORDER BY 1
    LIMIT 8
"""

_KINDS: Final = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "p": "a partitioned table",
}


@dataclass(frozen=True, slots=True)
class _Relation:
    """A relation that may be the users table, as the catalogue describes it."""

    schema: str
    name: str
    kind: str
    on_path: bool
    columns: Sequence[str]
    types: Sequence[str]
    shown_types: Sequence[str]
    primary_key: Sequence[str]
    unique: Sequence[str]
    bases: Sequence[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def type_of(self, column: str) -> str:
        return self.types[self.columns.index(column)]

    def shown_type_of(self, column: str) -> str:
        return self.shown_types[self.columns.index(column)]

    def first(self, names: Iterable[str], types: Sequence[str]) -> str | None:
        """Return the column whose name comes first in the list and whose type fits."""
        for name in names:
            for column, kind in zip(self.columns, self.types, strict=True):
                if _plain(column) == name and kind in types:
                    return column
        return None


def detect(conn: Connection, settings: Settings) -> Layout:
    """Find out what the tables are called; the database decides where the settings are silent.

    Args:
        conn: Any connection; the catalogue needs no privilege.
        settings: ``users.*`` and ``schema``.

    Raises:
        ConfigurationError: The settings name what is not there.
        SecopsError: There is no users table, it cannot carry columns or be referred to, or several
            tables could be it.
    """
    relation = _choose(_relations(conn, settings), conn, settings)
    _usable(relation)
    key = _key(relation, settings)
    users = UsersTable(
        schema=relation.schema,
        name=relation.name,
        id=key,
        id_type=_KEY_TYPES[relation.type_of(key)],
        email=_email(relation, settings),
        display_name=_optional(relation, settings, "users.name", _NAME, _TEXT_TYPES),
        active=_optional(relation, settings, "users.active", _ACTIVE, ("bool",)),
        password=_optional(
            relation, settings, "users.password", _PASSWORD, (*_TEXT_TYPES, "bytea")
        ),
    )
    return Layout(users=users, schema=settings.text("schema") or users.schema)


def _relations(conn: Connection, settings: Settings) -> list[_Relation]:
    rows = conn.execute(
        _RELATIONS,
        {
            "internal": INTERNAL,
            "schema": settings.text("users.schema"),
            "table": settings.text("users.table"),
            "names": [_FIRST_TABLE, *_OTHER_TABLES],
        },
    )
    return [_Relation(*row) for row in rows]  # type: ignore[arg-type]  # the columns above


def _choose(found: list[_Relation], conn: Connection, settings: Settings) -> _Relation:
    named = settings.text("users.table")
    if named is not None:
        if not found:
            schema = settings.text("users.schema")
            raise ConfigurationError(
                f"There is no table {f'{schema}.' if schema else ''}{named} in this database.",
                hint=f"users.table is from {settings.origins['users.table']}. "
                + _look_like_it(conn, ". "),
            )
        return _single(found)
    first = [each for each in found if _plain(each.name) == _FIRST_TABLE]
    if first:
        return _single(first)
    if not found:
        raise SecopsError(
            "There is no users table in this database.", hint=_look_like_it(conn, "; or: ")
        )
    # A table that only might be it by its name must also look like it.
    return _single([each for each in found if _problem(each) is None] or found)


def _single(found: list[_Relation]) -> _Relation:
    """Return the one that the app's own unqualified SQL would reach, if that is one."""
    near = [each for each in found if each.on_path] or found
    if len(near) == 1:
        return near[0]
    raise SecopsError(
        f"Several tables could be the users table: {', '.join(map(str, near))}.",
        hint="Say which in secops.yaml: users.schema and users.table (`secops init` writes it).",
        details={"candidates": [str(each) for each in near]},
    )


def _look_like_it(conn: Connection, glue: str) -> str:
    rows = conn.execute(_LOOK_LIKE_IT, {"internal": INTERNAL, "names": list(_EMAIL)}).fetchall()
    hint = f"Set users.table (and users.schema) in secops.yaml{glue}"
    if not rows:
        return f"{hint}is this the right database? No table has an e-mail or login column."
    names = ", ".join(str(row[0]) for row in rows)
    return f"{hint}these have an e-mail or login column: {names}."


def _problem(relation: _Relation) -> SecopsError | None:
    try:
        _usable(relation)
        if relation.primary_key[1:] or not relation.primary_key:
            return SecopsError(f"{relation} has no primary key of one column.")
        if relation.first(_EMAIL, _TEXT_TYPES) is None:
            return SecopsError(f"{relation} has no e-mail column.")
    except SecopsError as error:
        return error
    return None


def _usable(relation: _Relation) -> None:
    if relation.kind == "r":
        return
    if relation.bases:
        hint = (
            f"It reads {', '.join(relation.bases)}; name the table behind it in secops.yaml: "
            "users.schema and users.table."
        )
    else:
        hint = "Name a plain table in secops.yaml: users.schema and users.table."
    raise SecopsError(
        f"{relation} is {_KINDS[relation.kind]}, which cannot carry the columns and the foreign "
        "key that secops needs.",
        hint=hint,
    )


def _key(relation: _Relation, settings: Settings) -> str:
    named = settings.text("users.id")
    if named is not None:
        _must_be_there(relation, settings, "users.id", named)
        if list(relation.primary_key) != [named] and named not in relation.unique:
            raise ConfigurationError(
                f"{relation}.{named} is no key: neither the primary key, nor unique and NOT NULL.",
                hint=f"users.id is from {settings.origins['users.id']}; leave it away to use the "
                "primary key.",
            )
        key = named
    elif not relation.primary_key:
        raise SecopsError(
            f"{relation} has no primary key, so sessions could not be tied to a person.",
            hint="Add one, or name a column that is unique and NOT NULL in secops.yaml: users.id.",
        )
    elif len(relation.primary_key) > 1:
        raise SecopsError(
            f"The primary key of {relation} has several columns "
            f"({', '.join(relation.primary_key)}), and secops needs one.",
            hint="Name a column that is unique and NOT NULL in secops.yaml: users.id.",
        )
    else:
        key = relation.primary_key[0]
    if relation.type_of(key) not in _KEY_TYPES:
        raise SecopsError(
            f"The key {relation}.{key} is of type {relation.shown_type_of(key)}, which secops does "
            "not handle.",
            hint="Keys may be uuid, bigint, integer, text or varchar. Another column of such a "
            "type, unique and NOT NULL, can be named in secops.yaml: users.id.",
        )
    return key


def _email(relation: _Relation, settings: Settings) -> str:
    found = _optional(relation, settings, "users.email", _EMAIL, _TEXT_TYPES)
    if found is None:
        raise SecopsError(
            f"{relation} has no column that looks like an e-mail address or login name.",
            hint=f"Name it in secops.yaml: users.email. It has: {', '.join(relation.columns)}.",
        )
    return found


def _optional(
    relation: _Relation, settings: Settings, key: str, names: Iterable[str], types: Sequence[str]
) -> str | None:
    named = settings.text(key)
    if named is None:
        return relation.first(names, types)
    _must_be_there(relation, settings, key, named)
    if relation.type_of(named) not in types:
        wanted = "boolean" if types == ("bool",) else "text"
        raise ConfigurationError(
            f"{relation}.{named} is of type {relation.shown_type_of(named)}; "
            f"{key} must be {wanted}.",
            hint=f"{key} is from {settings.origins[key]}.",
        )
    return named


def _must_be_there(relation: _Relation, settings: Settings, key: str, column: str) -> None:
    if column not in relation.columns:
        raise ConfigurationError(
            f"{relation} has no column {column!r}.",
            hint=f"{key} is from {settings.origins[key]}. The table has: "
            f"{', '.join(relation.columns)}.",
        )


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
