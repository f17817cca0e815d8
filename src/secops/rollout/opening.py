"""Opening a target with its journals: what every command about rollouts begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from secops.errors import ConfigurationError, Refused, SecopsError, Unreachable
from secops.rollout.books import Books
from secops.rollout.desk import Desk
from secops.rollout.journal import Journal
from secops.rollout.local_journal import LocalJournal
from secops.rollout.owners import this_process
from secops.targets.open import chosen, open_target, places

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.settings import Settings
    from secops.targets.target import Place


def state_folder(settings: Settings) -> Path:
    """Return where this machine keeps its copy of the journal."""
    named = settings.folder("state_dir")
    if named is not None:
        return named / "rollouts"
    home = settings.environ.get("XDG_STATE_HOME") or ""
    base = Path(home) if home.startswith("/") else _home(settings.environ) / ".local" / "state"
    return base / "secops" / "rollouts"


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def named_places(settings: Settings, target: str | None) -> list[Place]:
    """Return the target that is meant, or all of them where none is named."""
    if target is not None:
        return [chosen(settings, target)]
    found = places(settings)
    return found or [chosen(settings, None)]


@contextmanager
def opened(
    settings: Settings,
    place: Place,
    *,
    command: str,
    actor: str,
    host: str,
    offline: bool = False,
    told: Callable[[str], None] | None = None,
) -> Iterator[Desk]:
    """Open a target and its journals for the length of a block; brings the two journals together.

    Args:
        settings: Of this run.
        place: The target.
        command: What runs, for ``pg_stat_activity``.
        actor: Who acts.
        host: On which machine.
        offline: Whether it goes on where the database cannot be reached.
        told: Is told what happens.

    Raises:
        ConfigurationError: No database is configured, or the target cannot be opened.
        Unreachable: There is no database, and the command needs it.
        Refused: The target cannot be read back.
    """
    target = open_target(place, settings.environ)
    if not target.traits.readable:
        raise Refused(
            f"The target {target.name} ({target.kind}) cannot be read back, so nothing could be put back.",
            hint="`secops profile show` prints what to set there.",
        )
    owner = this_process(actor, host)
    local = LocalJournal(state_folder(settings), place.name, target.fingerprint)
    conn, why = _connection(settings, command, offline=offline)
    books: Books | None = None
    try:
        journal, why = _journal(settings, conn, target.fingerprint, why, offline=offline)
        books = Books(local, owner, journal, why, offline=offline)
        desk = Desk(target, books, settings)
        probe = place.options.get("probe")
        desk.probe = probe if isinstance(probe, str) else ""
        if told is not None:
            desk.told = told
        for sentence in desk.books.reconcile():
            desk.told(sentence)
        yield desk
    finally:
        if books is not None:
            books.close()
        if conn is not None:
            conn.close()


def _connection(
    settings: Settings, command: str, *, offline: bool
) -> tuple[Connection | None, str]:
    from secops.database.connection import connect  # noqa: PLC0415  a listing of stages needs none

    try:
        return connect(settings, command), ""
    except (Unreachable, ConfigurationError) as error:
        if not offline:
            raise
        return None, error.message


def _journal(
    settings: Settings, conn: Connection | None, fingerprint: str, why: str, *, offline: bool
) -> tuple[Journal | None, str]:
    import psycopg  # noqa: PLC0415

    from secops.database.connection import translate  # noqa: PLC0415
    from secops.schema.detect import detect  # noqa: PLC0415

    if conn is None:
        return None, why
    try:
        journal = Journal(conn, detect(conn, settings), fingerprint, settings.span("lock_timeout"))
        journal.entries()
    except psycopg.Error as error:
        if not offline:
            raise
        return None, translate(error).message
    except SecopsError as error:
        if not offline:
            raise
        return None, error.message
    return journal, ""
