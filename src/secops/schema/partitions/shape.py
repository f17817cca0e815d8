"""Everything about a table that another must have too, to stand in its place or beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema.indexes import as_sql

if TYPE_CHECKING:
    from secops.database.connection import Connection


@dataclass(frozen=True, slots=True)
class Index:
    """An index.

    Attributes:
        name: Its name.
        unique: Whether it is.
        primary: Whether it is the primary key's.
        constraint: Whether it belongs to a constraint (of the same name).
        valid: Whether queries use it.
        body: What stands after ``ON table`` in its definition.
        columns: The names of its columns; an expression has none.
        comment: Its comment, if it has one.
    """

    name: str
    unique: bool
    primary: bool
    constraint: bool
    valid: bool
    body: str
    columns: tuple[str, ...]
    comment: str | None


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege: who (``None`` is PUBLIC) may do what, with a column alone or the whole table."""

    grantee: str | None
    privilege: str
    column: str | None
    grantable: bool


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK constraint."""

    name: str
    definition: str
    validated: bool
    inherited: bool


@dataclass(frozen=True, slots=True)
class ColumnTuning:
    """What ANALYZE was told about a column."""

    name: str
    target: int | None
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as it is.

    Attributes:
        schema: Its schema.
        name: Its name.
        oid: Its number in the catalogue.
        owner: The role that owns it.
        me: The role that looks.
        comment: Its comment.
        options: Its storage parameters, ``name=value``, those of its long values as ``toast.name``.
        tablespace: Where it is, if not where tables are by default.
        columns: Each column: name, and all that makes it what it is.
        written: The columns that an INSERT names: all but generated ones.
        grants: Who may do what with it.
        usual: What its owner may do with a table by default.
        strangers: Who may do something with any new table of mine, by ALTER DEFAULT PRIVILEGES.
        indexes: Its indexes.
        checks: Its CHECK constraints.
        tuning: What ANALYZE was told of its columns.
        sequences: Sequences that belong to a column: schema, name, column.
        nullable: Whether created_at may be NULL.
    """

    schema: str
    name: str
    oid: int
    owner: str
    me: str
    comment: str | None
    options: tuple[str, ...]
    tablespace: str | None
    columns: tuple[tuple[str, str], ...]
    written: tuple[str, ...]
    grants: frozenset[Grant]
    usual: frozenset[Grant]
    strangers: tuple[str | None, ...]
    indexes: tuple[Index, ...]
    checks: tuple[Check, ...]
    tuning: tuple[ColumnTuning, ...]
    sequences: tuple[tuple[str, str, str], ...]
    nullable: bool

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted, qualified name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def key(self) -> Index | None:
        """The primary key's index."""
        return next((each for each in self.indexes if each.primary), None)

    @property
    def others(self) -> tuple[Index, ...]:
        """Every index but the primary key's."""
        return tuple(each for each in self.indexes if not each.primary)


_TABLE: Final = """
    SELECT c.oid::bigint, pg_get_userbyid(c.relowner)::text, current_user::text,
           obj_description(c.oid, 'pg_class'),
           coalesce(c.reloptions, '{}')
           || coalesce((SELECT array_agg('toast.' || o) FROM unnest(t.reloptions) AS o), '{}'),
           ts.spcname::text
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
    LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
    WHERE n.nspname = %s AND c.relname = %s
"""

_COLUMNS: Final = """
    SELECT a.attname::text, a.attname = 'created_at' AND NOT a.attnotnull, a.attgenerated <> '',
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attcollation::text, a.attnotnull,
                     a.attstorage, a.attcompression, a.attgenerated, a.attidentity,
                     pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)),
           nullif(a.attstattarget, -1)::int, coalesce(a.attoptions, '{}')
    FROM pg_attribute a
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""

_GRANTS: Final = """
    SELECT r.rolname::text, e.privilege_type, e.attname::text, e.is_grantable, e.usual
    FROM (
        SELECT (x).grantee, (x).privilege_type, (x).is_grantable, NULL AS attname, false AS usual
        FROM pg_class c, LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS x
        WHERE c.oid = %(oid)s::oid
        UNION ALL
        SELECT (x).grantee, (x).privilege_type, (x).is_grantable, NULL, true
        FROM pg_class c, LATERAL aclexplode(acldefault('r', c.relowner)) AS x
        WHERE c.oid = %(oid)s::oid
        UNION ALL
        SELECT (x).grantee, (x).privilege_type, (x).is_grantable, a.attname, false
        FROM pg_attribute a, LATERAL aclexplode(a.attacl) AS x
        WHERE a.attrelid = %(oid)s::oid AND NOT a.attisdropped
    ) AS e
    LEFT JOIN pg_roles r ON r.oid = e.grantee
"""

_STRANGERS: Final = """
    SELECT DISTINCT r.rolname::text
    FROM pg_default_acl d
    CROSS JOIN LATERAL aclexplode(d.defaclacl) AS x
    LEFT JOIN pg_roles r ON r.oid = x.grantee
    WHERE d.defaclobjtype = 'r' AND pg_get_userbyid(d.defaclrole) = current_user
      AND x.grantee <> d.defaclrole
      AND d.defaclnamespace IN (0, (SELECT oid FROM pg_namespace WHERE nspname = %s))
    ORDER BY 1
"""

_INDEXES: Final = """
    SELECT c.relname::text, i.indisunique, i.indisprimary, k.oid IS NOT NULL,
           i.indisvalid AND i.indisready,
           substr(pg_get_indexdef(c.oid),
                  strpos(pg_get_indexdef(c.oid), format('%%I.%%I USING ', n.nspname, t.relname))
                  + length(format('%%I.%%I ', n.nspname, t.relname))),
           (SELECT coalesce(array_agg(a.attname::text), '{}') FROM pg_attribute a
            WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey)),
           coalesce(obj_description(k.oid, 'pg_constraint'), obj_description(c.oid, 'pg_class'))
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')
                             AND k.conrelid = t.oid
    WHERE t.oid = %s::oid
    ORDER BY c.relname
"""

_CHECKS: Final = """
    SELECT conname::text, pg_get_constraintdef(oid), convalidated, NOT connoinherit
    FROM pg_constraint WHERE conrelid = %s::oid AND contype = 'c' ORDER BY 1
"""

_SEQUENCES: Final = """
    SELECT n.nspname::text, c.relname::text, a.attname::text
    FROM pg_depend d
    JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = %s::oid AND d.deptype = 'a'
    ORDER BY 1, 2
"""


def read(conn: Connection, schema: str, name: str) -> Shape:
    """Read a table that is there, with ``search_path`` being ``pg_catalog`` alone."""
    row = conn.execute(_TABLE, (schema, name)).fetchone()
    assert row is not None
    oid, owner, me, comment, options, tablespace = row
    columns = conn.execute(_COLUMNS, (oid,)).fetchall()
    grants: dict[bool, set[Grant]] = {False: set(), True: set()}
    for grantee, privilege, column, grantable, usual in conn.execute(_GRANTS, {"oid": oid}):
        grants[bool(usual)].add(
            Grant(_text(grantee), str(privilege), _text(column), bool(grantable))
        )
    return Shape(
        schema=schema,
        name=name,
        oid=int(str(oid)),
        owner=str(owner),
        me=str(me),
        comment=_text(comment),
        options=_texts(options),
        tablespace=_text(tablespace),
        columns=tuple((str(each[0]), str(each[3])) for each in columns),
        written=tuple(str(each[0]) for each in columns if not each[2]),
        grants=frozenset(grants[False]),
        usual=frozenset(grants[True]),
        strangers=tuple(_text(each[0]) for each in conn.execute(_STRANGERS, (schema,))),
        indexes=tuple(
            Index(
                name=str(index),
                unique=bool(unique),
                primary=bool(primary),
                constraint=bool(constraint),
                valid=bool(valid),
                body=str(body),
                columns=_texts(names),
                comment=_text(said),
            )
            for index, unique, primary, constraint, valid, body, names, said in conn.execute(
                _INDEXES, (oid,)
            )
        ),
        checks=tuple(
            Check(str(check), str(definition), bool(validated), bool(inherited))
            for check, definition, validated, inherited in conn.execute(_CHECKS, (oid,))
        ),
        tuning=tuple(
            ColumnTuning(
                str(each[0]), None if each[4] is None else int(str(each[4])), _texts(each[5])
            )
            for each in columns
            if each[4] is not None or each[5]
        ),
        sequences=tuple((str(a), str(b), str(c)) for a, b, c in conn.execute(_SEQUENCES, (oid,))),
        nullable=any(each[1] for each in columns),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _texts(value: object) -> tuple[str, ...]:
    assert isinstance(value, (list, tuple))
    return tuple(map(str, value))


def dressing(shape: Shape, table: sql.Identifier) -> list[sql.Composed]:
    """Return what gives a table just made the owner, privileges, comment and tuning of another."""
    found = []
    if shape.strangers:
        words = sql.SQL("REVOKE ALL ON TABLE {} FROM {}")
        found.append(words.format(table, sql.SQL(", ").join(map(_role, shape.strangers))))
    if shape.owner != shape.me:
        words = sql.SQL("ALTER TABLE {} OWNER TO {}")
        found.append(words.format(table, sql.Identifier(shape.owner)))
    found += granting(table, was=shape.usual, wanted=shape.grants)
    if shape.comment is not None:
        found.append(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, sql.Literal(shape.comment)))
    for each in shape.tuning:
        column = sql.SQL("ALTER TABLE {} ALTER COLUMN {}").format(table, sql.Identifier(each.name))
        if each.target is not None:
            words = sql.SQL("{} SET STATISTICS {}")
            found.append(words.format(column, sql.Literal(each.target)))
        if each.options:
            found.append(sql.SQL("{} SET ({})").format(column, parameters(each.options)))
    return found


def granting(
    table: sql.Identifier, *, was: frozenset[Grant], wanted: frozenset[Grant]
) -> list[sql.Composed]:
    """Return what turns the privileges on a table into others."""
    found = []
    for each in sorted(was - wanted, key=repr):
        words = sql.SQL("REVOKE {} ON TABLE {} FROM {}")
        found.append(words.format(_privilege(each), table, _role(each.grantee)))
    for each in sorted(wanted - was, key=repr):
        words = sql.SQL("GRANT {} ON TABLE {} TO {}{}")
        option = sql.SQL(" WITH GRANT OPTION" if each.grantable else "")
        found.append(words.format(_privilege(each), table, _role(each.grantee), option))
    return found


def _privilege(grant: Grant) -> sql.Composable:
    privilege = as_sql(grant.privilege)
    if grant.column is None:
        return privilege
    return sql.SQL("{} ({})").format(privilege, sql.Identifier(grant.column))


def _role(name: str | None) -> sql.Composable:
    return sql.SQL("PUBLIC") if name is None else sql.Identifier(name)


def parameters(options: tuple[str, ...]) -> sql.Composed:
    """Return storage parameters (``name=value``) as they stand between parentheses."""
    pairs = []
    for each in options:
        name, _, value = each.partition("=")
        # toast.autovacuum_enabled has a name of two parts.
        pairs.append(
            sql.SQL("{} = {}").format(sql.Identifier(*name.split(".")), sql.Literal(value))
        )
    return sql.SQL(", ").join(pairs)
