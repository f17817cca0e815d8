-- ---
-- title: Accounts that are attacked from many addresses
-- description: |
--   Accounts on which logins failed from many different addresses: a distributed attack on one account,
--   which failed-logins cannot see. Letter case is ignored. Where a login succeeded after the first of
--   them, look at once: `secops show user` tells what happened since.
-- params:
--   since: {type: duration, default: 24h, min: 1m, max: 7300d, help: How far back to look.}
--   min_addresses: {type: int, default: 5, min: 1, max: 1000000, help: List accounts attacked from so many addresses.}
--   min_attempts: {type: int, default: 10, min: 1, max: 1000000000, help: And with at least so many failed logins.}
-- columns:
--   email: the account, in small letters
--   attempts: failed logins
--   addresses: different addresses that they came from
--   first_attempt: the earliest failed login since then
--   last_attempt: the latest
--   succeeded_at: the latest login that succeeded after the first failed one
--   severity: critical where a login succeeded, high from 4 times the addresses asked for, otherwise medium
-- severity: severity
-- order: most addresses first
-- every: 15m
-- examples:
--   - secops report attacked-accounts
--   - secops report attacked-accounts --since 1h --min-addresses 10
-- ---
WITH tries AS (
    SELECT lower(email) AS email, ip_address, count(*) AS attempts,
           min(created_at) AS first_attempt, max(created_at) AS last_attempt
    FROM security_events
    WHERE event_type = 'login_failed'
      AND created_at > :as_of - :since
      AND created_at <= :as_of
      AND email IS NOT NULL
    GROUP BY 1, 2
), accounts AS (
    SELECT email, sum(attempts)::bigint AS attempts, count(ip_address) AS addresses,
           min(first_attempt) AS first_attempt, max(last_attempt) AS last_attempt
    FROM tries
    GROUP BY email
    HAVING count(ip_address) >= :min_addresses AND sum(attempts) >= :min_attempts
), entered AS (
    SELECT a.email, max(e.created_at) AS succeeded_at
    FROM accounts a
    JOIN security_events e ON lower(e.email) = a.email AND e.created_at > a.first_attempt
    WHERE e.event_type = 'login_success'
      AND e.created_at > :as_of - :since
      AND e.created_at <= :as_of
    GROUP BY a.email
)
SELECT a.email,
       a.attempts,
       a.addresses,
       a.first_attempt,
       a.last_attempt,
       e.succeeded_at,
       CASE WHEN e.succeeded_at IS NOT NULL THEN 'critical'
            WHEN a.addresses >= 4 * :min_addresses THEN 'high'
            ELSE 'medium' END AS severity
FROM accounts a
LEFT JOIN entered e ON e.email = a.email
ORDER BY a.addresses DESC, a.attempts DESC, a.email
LIMIT :limit;
