-- ---
-- title: Failed logins by account and address
-- description: |
--   Pairs of an account and an address with many failed logins between them: somebody guesses one
--   account's password, or has forgotten their own.
--
--   An attack that comes from many addresses hides from this report, for each pair stays small:
--   attacked-accounts and suspicious-ips look for those.
-- params:
--   since: {type: duration, default: 24h, min: 1m, max: 7300d, help: How far back to look.}
--   min_attempts: {type: int, default: 5, min: 1, max: 1000000, help: List pairs with at least so many.}
-- columns:
--   email: the account, as it was typed
--   ip_address: where the attempts came from
--   attempts: how many failed
--   last_attempt: the latest of them
--   first_attempt: the earliest of them, since then
--   severity: low; medium from 10 attempts, high from 25, critical from 100
-- severity: severity
-- order: most attempts first
-- every: 15m
-- examples:
--   - secops report failed-logins
--   - secops report failed-logins --since 1h --min-attempts 20 --fail-on-rows
--   - secops report failed-logins --as-of 2026-11-01T00:00:00Z --format csv
-- ---
SELECT email,
       ip_address,
       count(*) AS attempts,
       max(created_at) AS last_attempt,
       min(created_at) AS first_attempt,
       CASE WHEN count(*) >= 100 THEN 'critical'
            WHEN count(*) >= 25 THEN 'high'
            WHEN count(*) >= 10 THEN 'medium'
            ELSE 'low' END AS severity
FROM security_events
-- The event type is a literal so that the partial index that holds only these events serves.
WHERE event_type = 'login_failed'
  AND created_at > :as_of - :since
  AND created_at <= :as_of
GROUP BY email, ip_address
HAVING count(*) >= :min_attempts
ORDER BY attempts DESC, last_attempt DESC, email, ip_address
LIMIT :limit;
