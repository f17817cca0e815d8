"""The ``secops.yaml`` that ``secops init`` writes: only what is needed, and never a password."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.database.url import holds_password, normalise
from secops.durations import format_duration
from secops.errors import Refused
from secops.settings import DECLARED, Origin, Secret
from secops.settings.declared import STRUCTURED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.settings import Settings, Value

_HEAD: Final = """\
# What secops needs to know about this application. `secops init` wrote it; edit it as you like.
# `secops doctor --settings` lists every setting, its value and where it came from.
"""
_HOW: Final = (
    "# Set SECOPS_DATABASE_URL; or write the URL without its password, which ~/.pgpass keeps."
)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_/][\w./:@?=&%+-]*(?<!:)", re.ASCII)
_NULLS: Final = frozenset({"null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Found:
    """What stands behind the connection.

    Attributes:
        database: The database's name.
        version: PostgreSQL's.
        role: Who we are.
        people: About how many rows the users table has; ``None`` where the server does not know yet.
    """

    database: str
    version: str
    role: str
    people: int | None


def look(conn: Connection, layout: Layout) -> Found:
    """Find out where we are; the users table is not counted, for that could take long."""
    row = conn.execute(
        """SELECT current_database()::text, current_setting('server_version'), current_user::text,
                  (SELECT nullif(c.reltuples, -1)::bigint
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = %s AND c.relname = %s)""",
        (layout.users.schema, layout.users.name),
    ).fetchone()
    assert row is not None
    return Found(*row)  # type: ignore[arg-type]  # the columns above


def with_users_table(settings: Settings, name: str) -> Settings:
    """Return the settings with another users table: ``people`` or ``auth.people``."""
    schema, _, table = name.rpartition(".")
    named: dict[str, Value | Secret | None] = {"users.table": table, "users.schema": schema or None}
    return replace(
        settings,
        values={**settings.values, **named},
        origins={**settings.origins, **dict.fromkeys(named, Origin("flag", "--users-table"))},
    )


def chosen(layout: Layout, settings: Settings, path: Path) -> dict[str, str]:
    """Return what the file will hold, by key, in its order.

    Args:
        layout: What was detected.
        settings: Where the database's URL comes from; what ``path`` holds already is kept.
        path: The file that will be written.
    """
    users = layout.users
    found: dict[str, str | None] = {
        "database_url": _url(settings, "database_url"),
        "schema": layout.schema if layout.schema != users.schema else None,
        "users.schema": users.schema,
        "users.table": users.name,
        "users.id": users.id,
        "users.email": users.email,
        "users.name": users.display_name,
        "users.active": users.active,
        "users.password": users.password,
    }
    if settings.config is not None and _same(settings.config, path):
        for key, value in settings.values.items():
            if key not in found and value is not None and settings.origins[key].kind == "file":
                found[key] = _url(settings, key) if isinstance(value, Secret) else _text(value)
    return {key: value for key, value in found.items() if value is not None}


def left_out(settings: Settings, kept: dict[str, str]) -> list[str]:
    """Return the keys of connection strings that were not written because of their passwords."""
    return [
        key
        for key, value in settings.values.items()
        if isinstance(value, Secret)
        and key not in kept
        and (key == "database_url" or settings.origins[key].kind == "file")
    ]


def _url(settings: Settings, key: str) -> str | None:
    given = settings.secret(key)
    if given is None or holds_password(given.reveal()):
        return None
    return normalise(given).reveal()


def _text(value: object) -> str:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def as_yaml(values: dict[str, str]) -> str:
    """Write settings as a file that :func:`secops.settings.load` reads back unchanged."""
    helps = {setting.key: setting.help for setting in DECLARED}
    lines = [_HEAD]
    if "database_url" in values:
        lines.append(f"database_url: {scalar(values['database_url'])}\n")
    else:
        lines.append(f"# database_url is not written here.\n{_HOW}\n")
    users = {key: value for key, value in values.items() if key.startswith("users.")}
    if users:
        lines.append("# The app's users table and its columns, as they were found.\nusers:")
        lines += [
            f"  {key.removeprefix('users.')}: {scalar(value)}" for key, value in users.items()
        ]
    for key, value in values.items():
        if key != "database_url" and key not in users:
            lines.append(f"\n# {helps[key]}\n{key}: {scalar(value)}")
    return "\n".join(lines) + "\n"


def sample() -> str:
    """Return a file with every setting in it, all commented out."""
    return "\n".join((_HEAD, *_sampled())) + "\n"


def _sampled() -> Iterator[str]:
    section = ""
    for setting in DECLARED:
        before, _, name = setting.key.rpartition(".")
        if before != section and before:
            yield f"# {before}:"
        section = before
        indent = "  " if before else ""
        yield f"# {indent}# {setting.help}"
        default = "" if setting.default is None else f" {_text(setting.default)}"
        yield f"# {indent}{name}:{default}"
    yield f"# # {STRUCTURED['targets']}"
    yield "# targets:\n#   local:\n#     kind: dotenv\n#     path: .env"


def scalar(text: str) -> str:
    """Write text as one YAML scalar that is read back as that text."""
    if _PLAIN.fullmatch(text) and text not in _NULLS:
        return text
    return '"' + "".join(map(_character, text)) + '"'


def _character(one: str) -> str:
    if one in '"\\':
        return "\\" + one
    if one.isprintable():
        return one
    # YAML escapes by code point, unlike JSON, which writes what lies beyond U+FFFF as two.
    return f"\\U{ord(one):08x}"


def write(path: Path, text: str, *, overwrite: bool) -> Path | None:
    """Write the file whole or not at all, for its owner alone.

    Args:
        path: Where to.
        text: What.
        overwrite: Whether one that is there is replaced; it is kept beside it, as ``NAME.old``.

    Returns:
        Where the one that was there is kept, if there was one.

    Raises:
        Refused: One is there and may not be overwritten.
    """
    made = _written_beside(path, text.encode())
    try:
        if not overwrite:
            _link(made, path)
            return None
        kept = None
        if path.exists():
            kept = path.with_name(f"{path.name}.old")
            _written_beside(kept, path.read_bytes()).replace(kept)
        made.replace(path)
        return kept
    finally:
        made.unlink(missing_ok=True)


def refusal(path: Path) -> Refused:
    """Return the error for a file that is there already."""
    return Refused(
        f"{path} is there already.",
        hint="Nothing was written. --print shows what would be; --force writes it and keeps the old "
        f"one as {path.name}.old.",
    )


def _written_beside(path: Path, content: bytes) -> Path:
    # mkstemp makes it for its owner alone (0600).
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    made = Path(name)
    try:
        with open(number, "wb") as file:  # noqa: PTH123  a descriptor
            file.write(content)
            file.flush()
            os.fsync(number)
    except OSError:
        made.unlink()
        raise
    return made


def _link(made: Path, path: Path) -> None:
    """Give the file its name, unless another has it: linking refuses, where renaming would replace."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise refusal(path) from None
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        # A file system without links.
        if path.exists():
            raise refusal(path) from None
        made.replace(path)
