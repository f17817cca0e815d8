"""Many security events, as an app of 200,000 people leaves them in ninety days."""

from __future__ import annotations

from bench.measure import tell
from support.servers import Connection

CHUNK = 1_000_000

# Appended in the order of time, as an app does. The last day holds an attack: one address in forty.
FILL = """
INSERT INTO security_events
    (event_type, event_category, severity, user_id, email, ip_address, user_agent, request_path,
     request_method, success, message, metadata, created_at)
SELECT kind,
       CASE WHEN kind LIKE 'token%%' THEN 'session' ELSE 'authentication' END,
       CASE kind WHEN 'login_failed' THEN 'warning' WHEN 'account_locked' THEN 'error' ELSE 'info' END,
       CASE WHEN kind = 'login_failed' AND person %% 3 = 0 THEN NULL
            ELSE md5('user' || person)::uuid END,
       'person' || person || '@example.com',
       CASE WHEN kind = 'login_failed' AND recent AND n %% 40 = 0 THEN '203.0.113.' || n %% 7
            ELSE '100.' || 64 + person %% 64 || '.' || person / 64 %% 256 || '.' || person %% 250 END,
       'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/' || 100 + person %% 30,
       '/v1/auth/login', 'POST', kind NOT IN ('login_failed', 'account_locked'),
       NULL, '{"family": "f"}', happened
FROM (
    SELECT n,
           now() - interval '90 days' * (1 - n / %(total)s::float8) AS happened,
           n > %(total)s * 89 / 90.0 AS recent,
           (hashint8(n) & 2147483647) %% 200000 AS person,
           (ARRAY['token_refresh', 'login_success', 'login_failed', 'logout', 'token_refresh',
                  'token_refresh', 'login_success', 'token_refresh', 'logout'])
               [1 + (hashint8(n + 7) & 2147483647) %% 9] AS usual,
           (hashint8(n + 13) & 2147483647) %% 1000 AS dice
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
) AS drawn
CROSS JOIN LATERAL (
    SELECT CASE dice WHEN 0 THEN 'account_locked' WHEN 1 THEN 'password_changed'
                     WHEN 2 THEN CASE n %% 50 WHEN 0 THEN 'refresh_token_theft_detected'
                                              ELSE 'logout' END
                     ELSE usual END AS kind
) AS chosen
"""


PEOPLE = """
INSERT INTO users (id, email, password_hash)
SELECT md5('user' || n)::uuid, 'person' || n || '@example.com', '' FROM generate_series(0, 199999) AS n
"""


def people(conn: Connection) -> None:
    """Write the accounts that the events are about."""
    conn.execute(PEOPLE)
    conn.execute("VACUUM (ANALYZE) users")


def fill(conn: Connection, total: int) -> None:
    """Write ``total`` events, then let the server look at them as it would in time."""
    for first in range(1, total + 1, CHUNK):
        last = min(first + CHUNK - 1, total)
        conn.execute(FILL, {"first": first, "last": last, "total": total})
        tell(f"  {last:,} of {total:,} events")
    conn.execute("VACUUM (ANALYZE) security_events")
