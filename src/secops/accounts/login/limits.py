"""How often one client may try: counted in PostgreSQL, by one statement, so that all workers count together.

The generic cell rate algorithm keeps one moment a client: when all that it has used will have been given
back. So many attempts may come at once, and each comes back after its share of the window; unlike a count that
starts anew at each window's beginning, it never lets twice the limit through around that beginning.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from secops.database.connection import Connection


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes:
        name: What is limited; counts of different names do not meet.
        most: Attempts within the window.
        window: The window.
    """

    name: str
    most: int
    window: timedelta

    def take(self, conn: Connection, client: str) -> timedelta | None:
        """Count an attempt.

        Args:
            conn: In autocommit mode.
            client: Who tries.

        Returns:
            ``None`` where it may go on, else how long until the next attempt may.
        """
        row = conn.execute(
            """WITH taken AS (
                   INSERT INTO secops.rate_limits AS r (client, until)
                   VALUES (%(client)s, clock_timestamp() + %(share)s)
                   ON CONFLICT (client) DO UPDATE
                   SET until = greatest(r.until, clock_timestamp()) + %(share)s
                   WHERE greatest(r.until, clock_timestamp()) + %(share)s
                         <= clock_timestamp() + %(window)s
                   RETURNING until)
               SELECT NULL::interval FROM taken
               UNION ALL
               SELECT greatest(until + %(share)s - %(window)s - clock_timestamp(), interval '1 second')
               FROM secops.rate_limits
               WHERE client = %(client)s AND NOT EXISTS (SELECT FROM taken)""",
            {
                "client": f"{self.name} {client}",
                "share": self.window / self.most,
                "window": self.window,
            },
        ).fetchone()
        # Two that count a new client at once: the second one's statement does not see the first one's row.
        return cast("timedelta | None", row[0]) if row is not None else self.window / self.most


def client_of(ip: str | None) -> str:
    """Return whom an address counts for: an IPv4 address itself, of IPv6 the /64 that one customer gets."""
    if ip is None:
        return "unknown"
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
