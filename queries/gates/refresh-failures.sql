-- ---
-- title: Failed refreshes
-- description: |
--   Token refreshes that failed, among all refreshes. The app writes token_refresh_failed where it refuses
--   one (or token_refresh with success = false); a replay that was taken for theft counts as a failure too,
--   for a person was logged out.
-- params:
--   since: {type: timestamp, help: From when on; the first window begins here.}
--   until: {type: timestamp, help: Up to when.}
--   window: {type: duration, help: How long a window is.}
-- columns:
--   at: when the window begins
--   bad: failed refreshes
--   total: all refreshes
-- order: earliest first
-- ---
SELECT date_bin(:window, created_at, :since) AS at,
       count(*) FILTER (WHERE NOT fine) AS bad,
       count(*) AS total
FROM (
    SELECT created_at, success AS fine FROM security_events
    WHERE event_type = 'token_refresh' AND created_at >= :since AND created_at < :until
    UNION ALL
    SELECT created_at, false FROM security_events
    WHERE event_type = 'refresh_token_theft_detected' AND created_at >= :since AND created_at < :until
    UNION ALL
    SELECT created_at, false FROM security_events
    WHERE event_type = 'token_refresh_failed' AND created_at >= :since AND created_at < :until
) refreshes
GROUP BY 1
ORDER BY 1;
