-- ---
-- title: Logins hour by hour
-- description: |
--   How many logins succeeded and failed in each hour, quiet hours included. The first hour is a whole
--   one, the last is still running. What an ordinary day looks like is worth knowing before a bad one.
-- params:
--   since: {type: duration, default: 24h, min: 1h, max: 7300d, help: How far back to look.}
-- columns:
--   hour: the beginning of the hour, in UTC
--   succeeded: logins that succeeded
--   failed: logins that failed
--   failed_percent: failed ones among all
--   failing_addresses: different addresses that failed logins came from
--   lockouts: accounts that were locked
-- order: earliest first
-- every: 1h
-- sparkline: [succeeded, failed]
-- examples:
--   - secops report login-activity
--   - secops report login-activity --since 7d --format csv
-- ---
WITH hours AS (
    SELECT generate_series(date_trunc('hour', :as_of - :since, 'UTC'), :as_of, '1 hour') AS hour
), succeeded AS (
    SELECT date_trunc('hour', created_at, 'UTC') AS hour, count(*) AS logins
    FROM security_events
    WHERE event_type = 'login_success'
      AND created_at >= date_trunc('hour', :as_of - :since, 'UTC')
      AND created_at <= :as_of
    GROUP BY 1
), failed AS (
    -- By address first: count(DISTINCT) would sort every attempt.
    SELECT by_address.hour, sum(attempts)::bigint AS attempts, count(ip_address) AS addresses
    FROM (
        SELECT date_trunc('hour', created_at, 'UTC') AS hour, ip_address, count(*) AS attempts
        FROM security_events
        WHERE event_type = 'login_failed'
          AND created_at >= date_trunc('hour', :as_of - :since, 'UTC')
          AND created_at <= :as_of
        GROUP BY 1, 2
    ) by_address
    GROUP BY 1
), locked AS (
    SELECT date_trunc('hour', created_at, 'UTC') AS hour, count(*) AS lockouts
    FROM security_events
    WHERE event_type = 'account_locked'
      AND created_at >= date_trunc('hour', :as_of - :since, 'UTC')
      AND created_at <= :as_of
    GROUP BY 1
)
SELECT h.hour,
       coalesce(s.logins, 0) AS succeeded,
       coalesce(f.attempts, 0) AS failed,
       round(100.0 * coalesce(f.attempts, 0)
             / nullif(coalesce(s.logins, 0) + coalesce(f.attempts, 0), 0), 1) AS failed_percent,
       coalesce(f.addresses, 0) AS failing_addresses,
       coalesce(l.lockouts, 0) AS lockouts
FROM hours h
LEFT JOIN succeeded s ON s.hour = h.hour
LEFT JOIN failed f ON f.hour = h.hour
LEFT JOIN locked l ON l.hour = h.hour
ORDER BY h.hour
LIMIT :limit;
