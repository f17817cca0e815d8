-- ---
-- title: Stolen refresh tokens
-- description: |
--   Refresh tokens that were used a second time after they had been exchanged for a new one. Either
--   the thief or the owner came second; all sessions of that login have been ended, and both must log
--   in again. Ask the owner, and look at the address: `secops show user` has the whole story.
-- params:
--   since: {type: duration, default: 30d, min: 1m, max: 7300d, help: How far back to look.}
-- columns:
--   email: whose token it was
--   ip_address: where the second use came from
--   metadata: what the app recorded with it
--   created_at: when
--   severity: as recorded with the event
-- severity: severity
-- order: latest first
-- every: 15m
-- examples:
--   - secops report theft
--   - secops report theft --since 1h --fail-on-rows
-- ---
SELECT coalesce(e.email, u.:"users_email"::text) AS email,
       e.ip_address,
       e.metadata,
       e.created_at,
       e.severity
FROM security_events e
LEFT JOIN :"users_schema".:"users_table" u ON u.:"users_id" = e.user_id
WHERE e.event_type = 'refresh_token_theft_detected'
  AND e.created_at > :as_of - :since
  AND e.created_at <= :as_of
ORDER BY e.created_at DESC, e.id
LIMIT :limit;
