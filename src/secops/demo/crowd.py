"""The people who use the demo's running app: they log in, mistype, try again, and refresh their tokens."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from secops.demo.app import PASSWORD

RATE: Final = 200
"""Visits a second, all together, as far as the machine can."""

_THREADS: Final = 3
# Every so manyth visit begins with a wrong password: not chance, so that a tour of seconds is never unlucky.
_MISTYPED: Final = 12
_TRIES: Final = 5
# Every so manyth stays until the access token has run out.
_STAYS: Final = 7
_OK: Final = 200


@dataclass
class Crowd:
    """Everybody at once, in threads of this process.

    Attributes:
        port: The app's, on this machine.
        emails: Who they are; each comes again after all others.
        rate: Visits a second.
        visits: How many there were.
        failed: How many logins failed.
    """

    port: int
    emails: Sequence[str]
    rate: float = RATE
    visits: int = 0
    failed: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for _ in range(_THREADS):
            thread = threading.Thread(target=self._visit_on, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(5)

    def wait_for(self, visits: int, seconds: float) -> None:
        """Wait until there were so many visits, but not for ever."""
        deadline = time.monotonic() + seconds
        while self.visits < visits and time.monotonic() < deadline:
            time.sleep(0.05)

    def _visit_on(self) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        pause = _THREADS / self.rate
        due = time.monotonic()
        while not self._over.is_set():
            with self._lock:
                number = self.visits
                self.visits += 1
            try:
                self._visit(link, number)
            except (OSError, http.client.HTTPException):
                link.close()  # the app restarts, or is gone; the next visit finds out
            due = max(due + pause, time.monotonic() - 0.1)
            self._over.wait(max(0.0, due - time.monotonic()))
        link.close()

    def _visit(self, link: http.client.HTTPConnection, number: int) -> None:
        """Log in, and perhaps refresh; whom the app keeps out tries a few more times, as people do."""
        place = number % len(self.emails)
        email, ip = self.emails[place], f"2001:db8:{0xD000 + place:x}::1"
        turn = number + number // len(self.emails)  # each round through all, it is others
        mistypes = turn % _MISTYPED == 0
        for attempt in range(_TRIES):
            password = "correct hrose" if mistypes and attempt == 0 else PASSWORD
            status, page = _ask(link, "/auth/login", ip, email=email, password=password)
            if status == _OK:
                if turn % _STAYS == 0:
                    _ask(link, "/auth/refresh", ip, refresh_token=page["refresh_token"])
                return
            with self._lock:
                self.failed += 1


def _ask(
    link: http.client.HTTPConnection, path: str, ip: str, **given: str
) -> tuple[int, dict[str, str]]:
    headers = {"Content-Type": "application/json", "X-Forwarded-For": ip}
    link.request("POST", path, json.dumps(given), headers)
    reply = link.getresponse()
    return reply.status, json.loads(reply.read() or b"{}")
