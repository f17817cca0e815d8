"""Who holds a move while it is being made, and whether they are still there.

An owner writes its heartbeat before each call that may take long. Another takes over from one whose
heartbeat is old, or at once where the process is seen to be gone; it raises the epoch, and whatever the
one before still tries to record is refused.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

STALE: Final = timedelta(minutes=3)
"""After so long without a sign an owner counts as gone. No single call to a target takes as long."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that makes a move.

    Attributes:
        actor: Who runs it.
        host: On which machine.
        pid: Its number there.
        token: The machine's boot, the namespace of its process numbers, and when it started: a process
            number alone comes round again, and means nothing in another container.
    """

    actor: str
    host: str
    pid: int
    token: str

    def __str__(self) -> str:
        return f"{self.actor}@{self.host}, pid {self.pid}"

    def as_text(self) -> str:
        """Return it as the journal keeps it."""
        return json.dumps(
            {"actor": self.actor, "host": self.host, "pid": self.pid, "token": self.token}
        )

    @property
    def gone(self) -> bool:
        """Whether it is known to have ended: it ran here, and no longer does."""
        boot, _, rest = self.token.partition(" ")
        namespace, _, started = rest.partition(" ")
        if not started or (boot, namespace) != (_boot(), _namespace()):
            return False
        return _started(self.pid) != started


def this_process(actor: str, host: str) -> Owner:
    """Return the owner that this process is."""
    pid = os.getpid()
    return Owner(actor, host, pid, f"{_boot()} {_namespace()} {_started(pid)}")


def owner_of(text: str | None) -> Owner | None:
    """Read back what :meth:`Owner.as_text` gave."""
    if not text:
        return None
    found = json.loads(text)
    return Owner(found["actor"], found["host"], int(found["pid"]), found["token"])


@dataclass(frozen=True, slots=True)
class Hold:
    """A move's owner, as the database has it.

    Attributes:
        owner: Who; ``None`` where nobody is at it right now.
        since: Since when.
        heartbeat: Their last sign.
        now: The database's time.
        epoch: Theirs.
    """

    owner: Owner | None
    since: datetime | None
    heartbeat: datetime | None
    now: datetime
    epoch: int

    @property
    def alive(self) -> bool:
        """Whether somebody is at it."""
        if self.owner is None or self.heartbeat is None or self.owner.gone:
            return False
        return self.now - self.heartbeat < STALE


def _boot() -> str:
    return _first_line(Path("/proc/sys/kernel/random/boot_id"))


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # no Linux: only the heartbeat tells
        return ""


def _started(pid: int) -> str:
    # The name in parentheses may hold anything; what follows is numbers, and the 20th is the start.
    fields = _first_line(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] != "Z" else ""  # noqa: PLR2004  proc(5)


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
    except OSError:
        return ""
