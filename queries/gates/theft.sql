-- ---
-- title: Refreshes taken for theft
-- description: |
--   Refresh tokens that came back although they were used, among all refreshes. Rotation that is switched on
--   while clients still send two refreshes at once looks like theft and logs people out.
-- params:
--   since: {type: timestamp, help: From when on; the first window begins here.}
--   until: {type: timestamp, help: Up to when.}
--   window: {type: duration, help: How long a window is.}
-- columns:
--   at: when the window begins
--   bad: refreshes taken for theft
--   total: all refreshes, these among them
-- order: earliest first
-- ---
SELECT date_bin(:window, created_at, :since) AS at,
       count(*) FILTER (WHERE event_type = 'refresh_token_theft_detected') AS bad,
       count(*) AS total
FROM (
    SELECT event_type, created_at FROM security_events
    WHERE event_type = 'refresh_token_theft_detected' AND created_at >= :since AND created_at < :until
    UNION ALL
    SELECT event_type, created_at FROM security_events
    WHERE event_type = 'token_refresh' AND created_at >= :since AND created_at < :until
) refreshes
GROUP BY 1
ORDER BY 1;
