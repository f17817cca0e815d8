"""What can go wrong between secops and a platform, the same for every fake.

A fake sorts each request into one of :data:`KINDS`. A fault waits for the ``nth`` request of its kind that is
still to come, happens once (or ``times`` times), and is then gone::

    fake.faults.add("write", reply=Reply.LOST)                   # applied, the reply never came
    fake.faults.add("write", reply=Reply.HALF)                   # half applied, then the connection dropped
    fake.faults.add("write", before=lambda: fake.edit(set={"A": "foreign"}))  # between re-read and write
    fake.faults.add("read", nth=2, status=503)
    fake.faults.add("status", status=429, headers={"Retry-After": "1"}, times=2)
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KINDS: Final = ("read", "write", "deploy", "status", "history", "rights")
"""What a request is for: variables, changing them, starting a deployment, looking at one, who changed what,
and what only ``doctor`` asks."""


class Reply(enum.Enum):
    """What becomes of a request and of its reply."""

    NORMAL = "normal"
    LOST = "lost"
    """Applied; the connection is closed without a reply."""
    LATE = "late"
    """Applied; the reply comes after the client has given up."""
    NEVER = "never"
    """Not applied; the connection is closed without a reply."""
    STUCK = "stuck"
    """Not applied; no reply until the client has given up."""
    HALF = "half"
    """Half of a write is applied, then the connection is closed without a reply."""
    GARBAGE = "garbage"
    """Applied; the reply is no JSON."""

    @property
    def applied(self) -> bool:
        """Whether the request is carried out."""
        return self not in {Reply.NEVER, Reply.STUCK}


@dataclass
class Fault:
    """One thing that goes wrong.

    Attributes:
        on: The kind of request.
        nth: Which of them, counted from when the fault was added.
        times: How often.
        reply: What becomes of the request and its reply.
        status: Answer with this HTTP status instead of carrying it out; 0 for none.
        headers: Of that answer.
        message: What that answer says.
        before: Called before the request is carried out.
        after: Called after it was carried out, before the reply.
    """

    on: str
    nth: int = 1
    times: int = 1
    reply: Reply = Reply.NORMAL
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "fault"
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None
    happened: int = 0


class Faults:
    """The faults that are still to come, and those that happened."""

    def __init__(self) -> None:
        self._coming: list[Fault] = []
        self._lock = threading.Lock()
        self.happened: list[Fault] = []

    def add(self, on: str, **what: Any) -> Fault:
        """Let something go wrong; see :class:`Fault` for what."""
        assert on in KINDS, on
        fault = Fault(on, **what)
        with self._lock:
            self._coming.append(fault)
        return fault

    def clear(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self._coming.clear()

    def take(self, kind: str) -> Fault | None:
        """Return the fault for this request, if one is due."""
        with self._lock:
            due: Fault | None = None
            for fault in list(self._coming):
                if fault.on != kind:
                    continue
                if fault.nth > 1:
                    fault.nth -= 1
                elif due is None:
                    due = fault
                    fault.happened += 1
                    if fault.happened >= fault.times:
                        self._coming.remove(fault)
            if due is not None:
                self.happened.append(due)
            return due
