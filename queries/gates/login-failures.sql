-- ---
-- title: Failed logins
-- description: |
--   Logins that failed, among all logins. Failures because an account is locked count as well: a lockout
--   that is set too tight shows here.
-- params:
--   since: {type: timestamp, help: From when on; the first window begins here.}
--   until: {type: timestamp, help: Up to when.}
--   window: {type: duration, help: How long a window is.}
-- columns:
--   at: when the window begins
--   bad: failed logins
--   total: all logins
-- order: earliest first
-- ---
SELECT date_bin(:window, created_at, :since) AS at,
       count(*) FILTER (WHERE event_type = 'login_failed') AS bad,
       count(*) AS total
FROM (
    SELECT event_type, created_at FROM security_events
    WHERE event_type = 'login_failed' AND created_at >= :since AND created_at < :until
    UNION ALL
    SELECT event_type, created_at FROM security_events
    WHERE event_type = 'login_success' AND created_at >= :since AND created_at < :until
) logins
GROUP BY 1
ORDER BY 1;
