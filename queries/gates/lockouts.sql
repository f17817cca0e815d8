-- ---
-- title: Lockouts
-- description: |
--   Accounts that were locked, among all attempts to log in. A limit of attempts that is set too low locks
--   people out who only mistyped.
-- params:
--   since: {type: timestamp, help: From when on; the first window begins here.}
--   until: {type: timestamp, help: Up to when.}
--   window: {type: duration, help: How long a window is.}
-- columns:
--   at: when the window begins
--   bad: accounts that were locked by a failed login
--   total: all logins, failed ones and lockouts among them
-- order: earliest first
-- ---
SELECT date_bin(:window, created_at, :since) AS at,
       count(*) FILTER (WHERE event_type = 'account_locked') AS bad,
       count(*) AS total
FROM (
    -- What an operator locks is no mishap.
    SELECT event_type, created_at FROM security_events
    WHERE event_type = 'account_locked' AND event_category <> 'operator'
      AND created_at >= :since AND created_at < :until
    UNION ALL
    SELECT event_type, created_at FROM security_events
    WHERE event_type = 'login_failed' AND created_at >= :since AND created_at < :until
    UNION ALL
    SELECT event_type, created_at FROM security_events
    WHERE event_type = 'login_success' AND created_at >= :since AND created_at < :until
) attempts
GROUP BY 1
ORDER BY 1;
