"""Sending what was written down to be sent: at least once, and under the same message id.

A mail is claimed in a transaction of its own before it is handed over, and crossed out in another one
after. Who dies in between leaves a claim that holds for :data:`CLAIM`; then it is tried once more, for it
cannot be known whether the server had it. Mail programs show two mails with one message id as one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

from secops.accounts.operations import storable
from secops.database.connection import transaction
from secops.upkeep.letters import Notice, Sender, Undeliverable, compose, recipient
from secops.upkeep.smtp import Failed

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from secops.database.connection import Connection
    from secops.upkeep.smtp import Link, MailServer

CLAIM: Final = timedelta(minutes=10)
"""How long a sender has for a mail: longer than the server may take for all its answers."""
TRIES: Final = 8
"""How often a mail is tried; with the pauses between, for about four hours."""
STALE: Final = timedelta(days=1)
"""A notice that is older is not sent any more: what it tells is over."""
_FIRST: Final = timedelta(minutes=2)
_LONGEST: Final = timedelta(hours=1)

_OPEN: Final = "sent_at IS NULL AND given_up_at IS NULL AND due_at <= clock_timestamp()"


class Fate(enum.StrEnum):
    """What became of a mail in this run."""

    SENT = "sent"
    PUT_OFF = "put off"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Handled:
    """One mail.

    Attributes:
        id: Its number.
        kind: Which mail.
        address: Where it goes.
        fate: What became of it.
        why: Why it was not sent.
    """

    id: UUID
    kind: str
    address: str
    fate: Fate
    why: str = ""

    def as_item(self) -> dict[str, object]:
        """Return it for ``--json``."""
        return {
            "id": self.id,
            "kind": self.kind,
            "address": self.address,
            "fate": self.fate.value,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class _Claimed:
    notice: Notice
    claimed_at: datetime
    tries: int
    stale: bool


@dataclass
class Delivery:
    """One run. Made once, run once.

    Attributes:
        conn: In autocommit mode.
        server: Where mails go.
        sender: Whom they come from.
        folder: Templates of one's own.
        alive: Raises if the run must stop.
        claim: See :data:`CLAIM`.
    """

    conn: Connection
    server: MailServer
    sender: Sender
    folder: Path | None = None
    alive: Callable[[], None] = lambda: None
    claim: timedelta = CLAIM
    handled: list[Handled] = field(default_factory=list, init=False)

    def run(self) -> list[Handled]:
        """Send what is due, one after another, until nothing is.

        Raises:
            Unreachable: The mail server is away. What was claimed is put off; the rest was not touched.
            ConfigurationError: A template is broken; its mail is due at once again.
        """
        if not due(self.conn, 1):
            return self.handled
        link = self.server.open()
        try:
            while (claimed := self._claim()) is not None:
                self.alive()
                if self._handle(link, claimed):
                    link.close()
                    if not due(self.conn, 1):
                        break
                    link = self.server.open()
        finally:
            link.close()
        return self.handled

    def _claim(self) -> _Claimed | None:
        with transaction(self.conn):
            row = self.conn.execute(
                f"""UPDATE secops.outbox o
                    SET claimed_at = clock_timestamp(), attempts = attempts + 1,
                        due_at = clock_timestamp() + %(claim)s
                    WHERE id = (SELECT id FROM secops.outbox WHERE {_OPEN}
                                ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
                    RETURNING id, kind, address, facts, created_at, claimed_at, attempts,
                              created_at < clock_timestamp() - %(stale)s""",  # noqa: S608  ours
                {"claim": self.claim, "stale": STALE},
            ).fetchone()
        if row is None:
            return None
        notice = Notice(*row[:5])  # type: ignore[arg-type]  # the columns above
        return _Claimed(notice, cast("datetime", row[5]), cast("int", row[6]), bool(row[7]))

    def _handle(self, link: Link, claimed: _Claimed) -> bool:
        """Send one mail and write down what became of it; returns whether the connection is gone."""
        notice = claimed.notice
        failed: Failed | None
        if claimed.stale:
            failed = Failed("it came too late to be of use", for_good=True)
        elif claimed.tries > TRIES:
            failed = Failed("whoever sent it died each time", for_good=True)
        else:
            failed = self._send(link, claimed)
        if failed is None:
            fate, why = Fate.SENT, ""
        elif failed.for_good or claimed.tries >= TRIES:
            fate, why = Fate.GIVEN_UP, failed.why
        else:
            fate, why = Fate.PUT_OFF, failed.why
        self._settle(claimed, fate, why)
        self.handled.append(Handled(notice.id, notice.kind, notice.address, fate, why))
        return failed is not None and failed.link_lost

    def _send(self, link: Link, claimed: _Claimed) -> Failed | None:
        try:
            message = compose(claimed.notice, self.sender, self.folder)
            return link.send(
                message, self.sender.address, recipient(claimed.notice.address).addr_spec
            )
        except Undeliverable as no:
            return Failed(str(no), for_good=True)
        except Exception:
            self._release(claimed)
            raise

    def _settle(self, claimed: _Claimed, fate: Fate, why: str) -> None:
        """Write down what became of a mail, unless somebody else has claimed it since."""
        pause = min(_FIRST * 2 ** (claimed.tries - 1), _LONGEST)
        with transaction(self.conn):
            self.conn.execute(
                """UPDATE secops.outbox
                   SET sent_at = CASE WHEN %(fate)s = 'sent' THEN clock_timestamp() END,
                       given_up_at = CASE WHEN %(fate)s = 'given up' THEN clock_timestamp() END,
                       due_at = CASE WHEN %(fate)s = 'put off' THEN clock_timestamp() + %(pause)s
                                     ELSE due_at END,
                       claimed_at = NULL, error = nullif(%(why)s, '')
                   WHERE id = %(id)s AND claimed_at = %(claimed)s""",
                {
                    "fate": fate.value,
                    "pause": pause,
                    "why": storable(why),
                    "id": claimed.notice.id,
                    "claimed": claimed.claimed_at,
                },
            )

    def _release(self, claimed: _Claimed) -> None:
        """Give a claim back: the mail was not tried."""
        with transaction(self.conn):
            self.conn.execute(
                """UPDATE secops.outbox SET claimed_at = NULL, attempts = attempts - 1,
                                            due_at = clock_timestamp()
                   WHERE id = %s AND claimed_at = %s""",
                (claimed.notice.id, claimed.claimed_at),
            )


def due(conn: Connection, most: int = 1000) -> list[Handled]:
    """Return mails that a run would try, oldest first.

    Args:
        conn: Any.
        most: So many at most.
    """
    with transaction(conn, read_only=True):
        rows = conn.execute(
            f"""SELECT id, kind, address FROM secops.outbox WHERE {_OPEN}
                ORDER BY due_at, id LIMIT %s""",  # noqa: S608  ours
            (most,),
        ).fetchall()
    return [Handled(cast("UUID", row[0]), str(row[1]), str(row[2]), Fate.PUT_OFF) for row in rows]
