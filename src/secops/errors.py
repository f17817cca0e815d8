"""Everything that secops says no with, and the exit code of each.

The tree, with the exit code that each class carries::

    SecopsError                 1  failed
    ├── ConfigurationError      2  secops.yaml, the environment or a flag cannot be understood
    ├── UsageError              2  the call's words are off
    ├── Findings                3  the command worked and found something
    ├── NothingMatched          4  no such user, session, report, stage
    ├── Conflict                5  the live state is not what was recorded or expected
    ├── Busy                    6  another run, or another session's lock, holds it
    ├── OutcomeUnknown          7  unknown or partial: resume
    ├── Refused                 8  a guard or a policy says no
    ├── NotYet                  9  come back later
    ├── Unreachable            10  no connection to the database or target
    └── Interrupted           130  Ctrl-C or SIGTERM

The numbers are one table for the whole tool, :data:`EXIT_CODES`; ``secops help exit-codes`` and the
documentation print it.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_CODES: Final[dict[int, str]] = {
    0: "done, or nothing to do",
    1: "failed; the message says what and what to do",
    2: "usage: the command line or the configuration cannot be understood",
    3: "findings: rows with --fail-on-rows, drift, pending migrations on check, a failed gate",
    4: "nothing matched: no such user, session, report, stage",
    5: "conflict: the live state is not what was recorded; nothing was touched",
    6: "another run holds it; the message names the holder, since when and why",
    7: "outcome unknown or partial: run it again to resume",
    8: "refused by policy or a guard (--expect differs, data would be lost, no --yes)",
    9: "not yet: too early, or inconclusive",
    10: "cannot reach the database or target",
    130: "interrupted; what was done stands, the rest can be resumed",
}


class SecopsError(Exception):
    """Something that secops expected could go wrong, told to a person.

    Args:
        message: One clear sentence: what went wrong. Never holds a secret.
        hint: What to do about it, or an empty string.
        details: Machine-readable facts for ``--json`` (JSON-serialisable).
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"

    def __init__(
        self, message: str, *, hint: str = "", details: dict[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = details or {}

    def as_dict(self) -> dict[str, object]:
        """Return the object that ``--json`` prints under ``error``."""
        found: dict[str, object] = {
            "code": self.code,
            "exit": self.exit_code,
            "message": self.message,
            "hint": self.hint,
        }
        if self.details:
            found["details"] = self.details
        return found


class ConfigurationError(SecopsError):
    """``secops.yaml``, the environment or a flag cannot be understood."""

    exit_code = 2
    code = "configuration"


class UsageError(SecopsError):
    """The call's words are off."""

    exit_code = 2
    code = "usage"


class Findings(SecopsError):  # noqa: N818  a finding is no fault of the tool
    """The command worked and found something that its caller asked to be told of."""

    exit_code = 3
    code = "findings"


class NothingMatched(SecopsError):  # noqa: N818
    """No such user, session, report or stage."""

    exit_code = 4
    code = "nothing-matched"


class Conflict(SecopsError):  # noqa: N818
    """The live state is not what was recorded or expected; nothing was touched."""

    exit_code = 5
    code = "conflict"


class Busy(SecopsError):  # noqa: N818
    """Another run or another session holds what is needed."""

    exit_code = 6
    code = "busy"


class OutcomeUnknown(SecopsError):  # noqa: N818
    """Part was done, or it cannot be known whether it was; running it again finishes it."""

    exit_code = 7
    code = "outcome-unknown"


class Refused(SecopsError):  # noqa: N818
    """A guard or a policy says no; nothing was touched."""

    exit_code = 8
    code = "refused"


class NotYet(SecopsError):  # noqa: N818
    """Too early, or inconclusive."""

    exit_code = 9
    code = "not-yet"


class Unreachable(SecopsError):  # noqa: N818
    """No connection to the database or target could be made, or it was lost."""

    exit_code = 10
    code = "unreachable"


class Interrupted(SecopsError):  # noqa: N818
    """Ctrl-C or SIGTERM; what was done stands."""

    exit_code = 130
    code = "interrupted"
