"""The guided tour: what a person would type, one command after another, and why."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from secops.demo.attacks import STUFFERS
from secops.demo.people import LOCKED_OUT, ROBBED
from secops.errors import Findings


@dataclass(frozen=True, slots=True)
class Stop:
    """One command of the tour.

    Attributes:
        why: What somebody wants who types it.
        words: What they type after ``secops``.
        code: The exit code that it is to end with.
    """

    why: str
    words: tuple[str, ...]
    code: int = 0

    def __str__(self) -> str:
        return shlex.join(("secops", *self.words))


MIGRATE: Final = Stop(
    "The tables, columns and indexes that the plan needs, without making the app wait.",
    ("migrate", "--yes"),
)

TOUR: Final = (
    Stop(
        "Who fails to log in, and from where?",
        ("report", "failed-logins", "--since", "24h"),
    ),
    Stop(
        "Which accounts did that lock?",
        ("report", "lockouts", "--since", "7d", "--limit", "12"),
    ),
    Stop(
        f"{LOCKED_OUT.name} is on the phone: why can't she log in?",
        ("show", "user", LOCKED_OUT.email),
    ),
    Stop(
        "She is who she says she is. Let her in, and leave a record of why.",
        (
            "unlock",
            "user",
            LOCKED_OUT.email,
            "--reason",
            "Identified by phone",
            "--ticket",
            "DEMO-1",
        ),
    ),
    Stop(
        "Leaked passwords were tried from one network. What would ending its sessions touch?",
        ("revoke", "sessions", "--ip", STUFFERS, "--dry-run", "--reason", "Leaked passwords"),
    ),
    Stop(
        "End them.",
        ("revoke", "sessions", "--ip", STUFFERS, "--yes", "--reason", "Leaked passwords"),
    ),
    Stop(
        "Old refresh tokens go; the used ones by which theft is noticed stay.",
        ("prune", "tokens", "--older-than", "7d", "--yes", "--reason", "Upkeep"),
    ),
)

ROLLOUT: Final = (
    Stop(
        "Lock after 5 failed logins instead of 10: one write, one restart, and watched on the app's own "
        "events.",
        ("rollout", "--stage", "five", "--yes", "--wait", "--every", "250ms", "--reason", "Demo"),
    ),
    Stop(
        "And after a single one? That locks out whoever mistypes, and is put back by itself.",
        ("rollout", "--stage", "one", "--yes", "--wait", "--every", "250ms", "--reason", "Demo"),
        code=Findings.exit_code,
    ),
)
"""While a small app runs on the demo's database, and people use it."""

AGAIN: Final = Stop("Too few people came by to tell; look again.", ("rollout", "tick"))
"""On a machine that has much else to do."""


def drawn(operation: str) -> Stop:
    """Return the command that draws what an operation's gates saw."""
    words = ("rollout", "history", operation, "--plot")
    return Stop("What was seen that second time?", words)


NEXT: Final = (
    ("every report there is", "secops report"),
    ("who tries few passwords on many accounts", "secops report suspicious-ips"),
    ("whom hundreds of addresses guess at", "secops report attacked-accounts"),
    ("a stolen refresh token", "secops report theft"),
    ("whose token it was", f"secops show user {ROBBED.email}"),
    ("the same for a program", "secops report lockouts --json"),
    ("what was rolled out and back", "secops rollout history"),
    ("what works and what does not", "secops doctor"),
)
