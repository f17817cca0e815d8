-- ---
-- title: Addresses that try many accounts or try hard
-- description: |
--   Addresses that failed to log in to many accounts (spraying one password over many accounts, or
--   trying stolen pairs of name and password), or very often to few. IPv6 addresses count by their /64
--   network, for whoever has one address has them all.
--
--   An office behind one address looks similar on a bad day, but more of its people succeed than fail:
--   such a row is low.
-- params:
--   since: {type: duration, default: 24h, min: 1m, max: 7300d, help: How far back to look.}
--   min_accounts: {type: int, default: 5, min: 1, max: 1000000, help: List addresses that failed on so many accounts.}
--   min_attempts: {type: int, default: 25, min: 1, max: 1000000000, help: List those with so many failed logins too.}
-- columns:
--   ip_address: the address, or the /64 network of an IPv6 address
--   attempts: failed logins
--   accounts: different accounts among them
--   succeeded: different accounts that logged in from there
--   pattern: "credential stuffing: about one try an account; password spraying: more; brute force: few accounts"
--   first_attempt: the earliest failed login since then
--   last_attempt: the latest
--   severity: critical where accounts were entered; low where more accounts succeeded than failed; high
--     from 4 times the accounts or attempts asked for; otherwise medium
-- severity: severity
-- order: most accounts, then most attempts first
-- limit: 20
-- every: 15m
-- examples:
--   - secops report suspicious-ips
--   - secops report suspicious-ips --since 1h --min-accounts 10 --fail-on-rows
-- ---
WITH tries AS (
    SELECT ip_address, email, count(*) AS attempts, min(created_at) AS first_attempt,
           max(created_at) AS last_attempt
    FROM security_events
    WHERE event_type = 'login_failed'
      AND created_at > :as_of - :since
      AND created_at <= :as_of
      AND ip_address IS NOT NULL
    GROUP BY ip_address, email
), addresses AS (
    SELECT ip_address,
           CASE WHEN family(address) = 6 THEN text(network(set_masklen(address, 64)))
                ELSE ip_address END AS source
    FROM (
        SELECT ip_address,
               -- Only what holds a colon can be IPv6, and the function is not for free.
               CASE WHEN ip_address LIKE '%:%' THEN secops.try_inet(ip_address) END AS address
        FROM (SELECT DISTINCT ip_address FROM tries) each_once
    ) parsed
), sources AS (
    SELECT a.source, sum(t.attempts)::bigint AS attempts, count(DISTINCT t.email) AS accounts,
           min(t.first_attempt) AS first_attempt, max(t.last_attempt) AS last_attempt
    FROM tries t
    JOIN addresses a ON a.ip_address = t.ip_address
    GROUP BY a.source
    HAVING count(DISTINCT t.email) >= :min_accounts OR sum(t.attempts) >= :min_attempts
), entered AS (
    SELECT a.source, count(DISTINCT coalesce(e.user_id::text, e.email)) AS accounts
    FROM sources s
    JOIN addresses a ON a.source = s.source
    JOIN security_events e ON e.ip_address = a.ip_address
    WHERE e.event_type = 'login_success'
      AND e.created_at > :as_of - :since
      AND e.created_at <= :as_of
    GROUP BY a.source
)
SELECT s.source AS ip_address,
       s.attempts,
       s.accounts,
       coalesce(e.accounts, 0) AS succeeded,
       CASE WHEN s.accounts < :min_accounts THEN 'brute force'
            WHEN s.attempts <= 1.5 * s.accounts THEN 'credential stuffing'
            ELSE 'password spraying' END AS pattern,
       s.first_attempt,
       s.last_attempt,
       CASE WHEN e.accounts > s.accounts THEN 'low'
            WHEN e.accounts > 0 THEN 'critical'
            WHEN s.accounts >= 4 * :min_accounts OR s.attempts >= 4 * :min_attempts THEN 'high'
            ELSE 'medium' END AS severity
FROM sources s
LEFT JOIN entered e ON e.source = s.source
ORDER BY s.accounts DESC, s.attempts DESC, s.source
LIMIT :limit;
