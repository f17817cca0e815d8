-- ---
-- title: Users whose tokens are refreshed too often
-- description: |
--   A browser refreshes its token about as often as access tokens expire: four times an hour at 15
--   minutes. A user far above that has many devices, or a script uses their refresh token.
--   Windows shorter than an hour are measured as if they were one.
-- params:
--   since: {type: duration, default: 1h, min: 1m, max: 7300d, help: How far back to look.}
--   per_hour: {type: int, default: 10, min: 0, max: 1000000, help: List users with more refreshes an hour.}
-- columns:
--   user_id: the user
--   email: their e-mail address
--   refresh_count: refreshes since then
--   ip_addresses: where they came from
--   last_refresh: the latest of them
--   severity: low; medium from 3 times the allowed number, high from 10 times
-- severity: severity
-- order: most refreshes first
-- every: 1h
-- examples:
--   - secops report token-refreshes
--   - secops report token-refreshes --since 24h --per-hour 20
-- ---
WITH by_address AS (
    SELECT user_id, ip_address, count(*) AS refreshes, max(created_at) AS last_refresh
    FROM security_events
    WHERE event_type = 'token_refresh'
      AND created_at > :as_of - :since
      AND created_at <= :as_of
    GROUP BY user_id, ip_address
), by_user AS (
    SELECT user_id,
           sum(refreshes)::bigint AS refresh_count,
           array_agg(ip_address ORDER BY ip_address) AS ip_addresses,
           max(last_refresh) AS last_refresh,
           sum(refreshes) / greatest(extract(epoch FROM :since) / 3600, 1) AS an_hour
    FROM by_address
    GROUP BY user_id
)
SELECT b.user_id,
       u.:"users_email" AS email,
       b.refresh_count,
       b.ip_addresses,
       b.last_refresh,
       CASE WHEN b.an_hour >= 10 * greatest(:per_hour, 1) THEN 'high'
            WHEN b.an_hour >= 3 * greatest(:per_hour, 1) THEN 'medium'
            ELSE 'low' END AS severity
FROM by_user b
LEFT JOIN :"users_schema".:"users_table" u ON u.:"users_id" = b.user_id
WHERE b.an_hour > :per_hour
ORDER BY b.refresh_count DESC, b.last_refresh DESC, b.user_id
LIMIT :limit;
