"""How long sessions waited for locks, as the server itself measured it and wrote into its log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.servers import Server

# An app of support.busy_app has the server write of each wait that is longer than a moment.
_GOT = re.compile(r"process (\d+) acquired (\w+) on (.+?)(?: of database \d+)? after ([\d.]+) ms")


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait: who, for what, how many milliseconds."""

    pid: int
    mode: str
    what: str
    milliseconds: float


@dataclass
class Waits:
    """The waits of some sessions, there when the block that is watched is over."""

    found: list[Wait] = field(default_factory=list)

    @property
    def longest(self) -> Wait:
        """The longest; of no length where nobody waited for more than a moment."""
        none = Wait(0, "", "nothing", 0.0)
        return max(self.found, key=lambda each: each.milliseconds, default=none)


@contextmanager
def watched(server: Server, pids: list[int]) -> Iterator[Waits]:
    """Read what the server's log says of sessions' waits in the length of a block."""
    begin = server.log.stat().st_size
    waits = Waits()
    yield waits
    with server.log.open("rb") as file:
        file.seek(begin)
        said = file.read().decode(errors="replace")
    waits.found += [
        Wait(int(pid), mode, what, float(took))
        for pid, mode, what, took in _GOT.findall(said)
        if int(pid) in pids
    ]
