"""Three roles with least privilege: who migrates, who acts, who reads.

One list, :func:`privileges_needed`, is what ``secops init --print-grants`` prints as a script and
what ``secops doctor`` checks. What no role but the app's needs (password hashes, the hashes of tokens,
any other column of ``users``) is granted to none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from psycopg import sql

from secops.database.layout import INTERNAL

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout

RoleKind = Literal["migrator", "operator", "reader"]

ROLES: Final[dict[RoleKind, str]] = {
    "migrator": "secops_migrator",
    "operator": "secops_operator",
    "reader": "secops_reader",
}

LOCKOUT_COLUMNS: Final = ("failed_login_attempts", "locked_until")
"""What the plan adds to ``users``, and all of it that an operator may change."""

TOKEN_COLUMNS: Final = (
    "id", "user_id", "device_info", "ip_address", "expires_at", "revoked", "created_at", "used",
    "used_at", "family_id", "parent_id", "family_expires_at", "revoked_at", "revoked_reason",
)  # fmt: skip
"""Every column of ``refresh_tokens`` but ``token_hash``, which only the app needs."""

_ROW_COLUMNS: Final = ("ctid", "xmin", "xmax")
"""Where a row lies and who wrote it last: what pruning goes by. A grant on columns leaves them out."""

_REVOKING: Final = ("revoked", "revoked_at", "revoked_reason")
_ENDING: Final = ("finished_at", "matched", "changed", "detail")
_ADVANCING: Final = (
    "state", "number", "holds", "epoch", "owner", "owner_since", "heartbeat_at", "updated_at", "over_at",
    "expires_at", "gates",
)  # fmt: skip
"""How far a rollout is; what it changes stands in the journal, which nobody changes."""

_SENDING: Final = ("due_at", "attempts", "claimed_at", "sent_at", "given_up_at", "error")
"""How far a notice is; whom it is for and what it says stays as it was written."""

_SWEPT: Final = ("login_attempts", "rate_limits", "outbox")
"""Tables of the backend that upkeep keeps small."""

_ROLLOUTS: Final = ("rollouts", "rollout_journal", "rollout_readings")


@dataclass(frozen=True, slots=True)
class Privilege:
    """One thing that a role must be allowed to do.

    Attributes:
        role: Which of the three roles needs it.
        kind: ``database``, ``schema``, ``table``, or ``owner``: be a member of the role that owns the
            table, for no privilege allows ALTER TABLE.
        name: The object, in parts: schema, or schema and table.
        privilege: ``SELECT``, ``USAGE`` ...; ``OWNER`` for ``owner``.
        columns: The columns that it is limited to; none means the whole table.
        owner: For ``owner``: the role that owns the table, where the database was asked.
    """

    role: RoleKind
    kind: Literal["database", "schema", "table", "owner"]
    name: tuple[str, ...]
    privilege: str
    columns: tuple[str, ...] = ()
    owner: str | None = None

    def grant(self, grantee: str) -> sql.Composed:
        """Return the statement that grants it."""
        to = sql.Identifier(grantee)
        on = sql.Identifier(*self.name)
        if self.kind == "owner":
            if self.owner is None:
                return sql.SQL("ALTER TABLE {} OWNER TO {}").format(on, to)
            return sql.SQL("GRANT {} TO {}").format(sql.Identifier(self.owner), to)
        columns = sql.Composed([])
        if self.columns:
            columns = sql.SQL(" ({})").format(_list(self.columns))
        words = sql.SQL("GRANT {}{} ON {} {} TO {}")
        return words.format(_WORDS[self.privilege], columns, _WORDS[self.kind], on, to)

    def __str__(self) -> str:
        if self.kind == "owner":
            return f"membership in the role that owns {'.'.join(self.name)}"
        columns = f" ({', '.join(self.columns)})" if self.columns else ""
        return f"{self.privilege}{columns} on {self.kind} {'.'.join(self.name)}"


_WORDS: Final[dict[str, sql.SQL]] = {
    "database": sql.SQL("DATABASE"),
    "schema": sql.SQL("SCHEMA"),
    "table": sql.SQL("TABLE"),
    "SELECT": sql.SQL("SELECT"),
    "INSERT": sql.SQL("INSERT"),
    "UPDATE": sql.SQL("UPDATE"),
    "DELETE": sql.SQL("DELETE"),
    "USAGE": sql.SQL("USAGE"),
    "CREATE": sql.SQL("CREATE"),
}


def privileges_needed(layout: Layout) -> list[Privilege]:
    """Return what each role needs on the detected database, in the order of the script."""
    users = (layout.users.schema, layout.users.name)
    tokens = (layout.schema, "refresh_tokens")
    events = (layout.schema, "security_events")
    accounts, operations, version = (
        (INTERNAL, name) for name in ("accounts", "operations", "alembic_version")
    )
    people = tuple(
        column
        for column in (
            layout.users.id,
            layout.users.email,
            layout.users.display_name,
            layout.users.active,
            *LOCKOUT_COLUMNS,
        )
        if column is not None
    )
    schemas = list(dict.fromkeys((layout.users.schema, layout.schema, INTERNAL)))

    needed = [Privilege("migrator", "schema", (schema,), "USAGE") for schema in schemas]
    needed += [
        Privilege("migrator", "schema", (schema,), "CREATE")
        for schema in dict.fromkeys((layout.users.schema, layout.schema, INTERNAL))
    ]
    needed += [Privilege("migrator", "owner", table, "OWNER") for table in (users, tokens, events)]
    for role in ("reader", "operator"):
        kind: RoleKind = "reader" if role == "reader" else "operator"
        needed += [Privilege(kind, "schema", (schema,), "USAGE") for schema in schemas]
        needed += [
            Privilege(kind, "table", users, "SELECT", people),
            Privilege(kind, "table", tokens, "SELECT", TOKEN_COLUMNS),
            Privilege(kind, "table", events, "SELECT"),
            Privilege(kind, "table", accounts, "SELECT"),
            Privilege(kind, "table", operations, "SELECT"),
            Privilege(kind, "table", version, "SELECT"),
            *(
                Privilege(kind, "table", (INTERNAL, name), "SELECT")
                for name in (*_ROLLOUTS, *_SWEPT)
            ),
        ]
    needed += [
        Privilege("operator", "table", users, "UPDATE", LOCKOUT_COLUMNS),
        Privilege("operator", "table", tokens, "UPDATE", _REVOKING),
        Privilege("operator", "table", tokens, "SELECT", _ROW_COLUMNS),
        Privilege("operator", "table", tokens, "DELETE"),
        # Events are evidence: they can be added, never changed nor removed.
        Privilege("operator", "table", events, "INSERT"),
        Privilege("operator", "table", accounts, "INSERT"),
        Privilege("operator", "table", accounts, "UPDATE"),
        Privilege("operator", "table", operations, "INSERT"),
        # Who acted, when, why and on what stays as it was written; only how it ended is added.
        Privilege("operator", "table", operations, "UPDATE", _ENDING),
        *(Privilege("operator", "table", (INTERNAL, name), "INSERT") for name in _ROLLOUTS),
        Privilege("operator", "table", (INTERNAL, "rollouts"), "UPDATE", _ADVANCING),
        Privilege("operator", "table", (INTERNAL, "outbox"), "UPDATE", _SENDING),
        *(Privilege("operator", "table", (INTERNAL, name), "DELETE") for name in _SWEPT),
    ]
    return needed


def missing(conn: Connection, layout: Layout, role: RoleKind) -> list[Privilege]:
    """Return what the connection's own role lacks to serve as ``role``.

    Objects and columns that are not there yet are left out: migrating brings them, and the script
    is run again then.
    """
    needed = [each for each in privileges_needed(layout) if each.role == role]
    checks = sql.SQL(", ").join(map(_held, needed))
    row = conn.execute(sql.SQL("SELECT {}").format(checks)).fetchone()
    assert row is not None
    lacking = [each for each, held in zip(needed, row, strict=True) if held is False]
    if role == "migrator":
        lacking += _to_make_schemas(conn, layout)
    return [
        replace(each, owner=_owner(conn, each)) if each.kind == "owner" else each
        for each in lacking
    ]


def _to_make_schemas(conn: Connection, layout: Layout) -> list[Privilege]:
    """Return what lacks to make a schema that is not there yet; nothing where all are."""
    row = conn.execute(
        """SELECT current_database()::text FROM (SELECT 1) AS always
           WHERE NOT has_database_privilege(current_database(), 'CREATE')
             AND EXISTS (SELECT FROM unnest(%s::text[]) AS wanted
                         WHERE wanted NOT IN (SELECT nspname FROM pg_namespace))""",
        ([layout.schema, INTERNAL],),
    ).fetchone()
    return [] if row is None else [Privilege("migrator", "database", (str(row[0]),), "CREATE")]


def _owner(conn: Connection, each: Privilege) -> str | None:
    """Return the role that owns a table, unless that is a superuser, whom nobody should join."""
    row = conn.execute(
        """SELECT r.rolname::text FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_roles r ON r.oid = c.relowner
           WHERE n.nspname = %s AND c.relname = %s AND NOT r.rolsuper""",
        each.name,
    ).fetchone()
    return None if row is None else str(row[0])


def _held(each: Privilege) -> sql.Composed:
    """Return an expression: whether current_user holds it, NULL where the object is missing."""
    if each.kind == "schema":
        words = "(SELECT has_schema_privilege(oid, {}) FROM pg_namespace WHERE nspname = {})"
        return sql.SQL(words).format(sql.Literal(each.privilege), sql.Literal(each.name[0]))
    schema, table = map(sql.Literal, each.name)
    source = sql.SQL(
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = {} AND c.relname = {}"
    ).format(schema, table)
    if each.kind == "owner":
        return sql.SQL("(SELECT pg_has_role(c.relowner, 'USAGE') {})").format(source)
    privilege = sql.Literal(each.privilege)
    if not each.columns:
        return sql.SQL("(SELECT has_table_privilege(c.oid, {}) {})").format(privilege, source)
    return sql.SQL(
        "(SELECT bool_and(has_column_privilege(a.attrelid, a.attnum, {})) FROM pg_attribute a"
        " WHERE a.attrelid = (SELECT c.oid {}) AND NOT a.attisdropped AND a.attname = ANY ({}))"
    ).format(privilege, source, sql.Literal(list(each.columns)))


_HEAD: Final = """\
-- Three roles for secops, with least privilege. Run it as a superuser before the first
-- `secops migrate`, and once more after it. Running it again is safe.
--
-- The roles cannot log in. Make people and machines members of one:
--   GRANT secops_operator TO alice;
--   CREATE ROLE reports LOGIN; GRANT secops_reader TO reports;  -- for report_database_url
--   CREATE ROLE deploy LOGIN; GRANT secops_migrator TO deploy;
--   ALTER ROLE deploy SET role = secops_migrator;  -- so that the role owns what deploy makes
--
-- A report of your own that reads more columns of the users table needs
--   GRANT SELECT (column) ON the table TO secops_reader;
-- and `secops report slow-queries` shows other roles' statements to members of pg_read_all_stats.

"""

_ROLE: Final = """\
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal}) THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
END"""

_OWNERS_WHY: Final = """
-- ALTER TABLE and CREATE INDEX are for a table's owner alone, so secops_migrator becomes a member
-- of the roles that own the tables; never of a superuser.
"""

_OWNERS: Final = """\
DECLARE
    owned record;
BEGIN
    FOR owned IN
        SELECT c.oid::regclass AS name, r.rolname, r.rolsuper
        FROM pg_class c
        JOIN pg_roles r ON r.oid = c.relowner
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE (n.nspname, c.relname) IN ({tables}) AND c.relkind IN ('r', 'p')
          AND r.rolname <> {literal}
    LOOP
        IF owned.rolsuper THEN
            RAISE WARNING '% belongs to the superuser %, so secops_migrator cannot change it.',
                owned.name, owned.rolname
                USING HINT = format('ALTER TABLE %s OWNER TO the app''s role, and run this again.',
                                    owned.name);
        ELSE
            EXECUTE format('GRANT %I TO {migrator}', owned.rolname);
        END IF;
    END LOOP;
    -- What is secops' own belongs to its role, whoever migrated first.
    FOR owned IN
        SELECT c.oid::regclass AS name
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {internal} AND c.relkind = 'r'
          AND pg_get_userbyid(c.relowner) <> {literal}
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO {migrator}', owned.name);
    END LOOP;
END"""

_DATABASE: Final = """\
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO {migrator}, {operator}, {reader}',
                   current_database());
    -- `secops import events` stages rows in a temporary table.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {operator}', current_database());
END"""

_TABLES: Final = """\
BEGIN
    IF to_regclass({last}) IS NULL THEN
        RAISE NOTICE 'The tables are not there yet: run `secops migrate`, then this again.';
        RETURN;
    END IF;
{grants}END"""


def grants(layout: Layout) -> str:
    """Return the script that makes the roles and grants what each needs; safe to run again."""
    names = {role: sql.Identifier(name) for role, name in ROLES.items()}
    internal = sql.Identifier(INTERNAL)
    needed = privileges_needed(layout)
    literal = sql.Literal(ROLES["migrator"])
    tables = sql.SQL(", ").join(
        sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, each.name)))
        for each in needed
        if each.kind == "owner"
    )

    def lines(kind: str, indent: str) -> str:
        return "".join(
            f"{indent}{each.grant(ROLES[each.role]).as_string()};\n"
            for each in needed
            if each.kind == kind
        )

    return "".join(
        (
            _HEAD,
            *(
                _do(sql.SQL(_ROLE).format(role=names[role], literal=sql.Literal(name)))
                for role, name in ROLES.items()
            ),
            sql.SQL("\nCREATE SCHEMA IF NOT EXISTS {};\n").format(internal).as_string(),
            sql.SQL("ALTER SCHEMA {} OWNER TO {};\n")
            .format(internal, names["migrator"])
            .as_string(),
            lines("schema", ""),
            _OWNERS_WHY,
            _do(
                sql.SQL(_OWNERS).format(
                    tables=tables,
                    literal=literal,
                    internal=sql.Literal(INTERNAL),
                    migrator=names["migrator"],
                )
            ),
            "\n",
            _do(sql.SQL(_DATABASE).format(**names)),
            "\n",
            _do(
                sql.SQL(_TABLES).format(
                    last=sql.Literal(f"{INTERNAL}.{_SWEPT[-1]}"),
                    grants=sql.SQL(lines("table", "    ")),
                )
            ),
        )
    )


def _do(body: sql.Composed) -> str:
    """Return a DO block whose quotes no name in it can close."""
    text = body.as_string()
    tag = "$do$"
    while tag in text:
        tag = tag[:-1] + "o$"
    return f"DO {tag}\n{text} {tag};\n"


def _list(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
