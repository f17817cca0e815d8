-- ---
-- title: Live sessions
-- description: |
--   Logins that can still get new access tokens: one line for each chain of refresh tokens whose latest
--   token is neither used, revoked nor expired. `secops revoke sessions` ends them.
-- params:
--   user: {type: text, default: null, min: 1, help: Only of this account (e-mail address in any case or key).}
--   ip: {type: inet, default: null, help: Only those last refreshed from this address or network.}
--   idle_for: {type: duration, default: null, min: 1s, max: 7300d, help: Only those not refreshed for so long.}
-- columns:
--   email: the account
--   device_info: what the app recorded about the device
--   ip_address: where the session was last refreshed from
--   started_at: when the login was
--   last_refresh: when its latest token was issued
--   expires_at: when that token expires
--   session: what `secops revoke sessions --session` takes
--   user_id: the account's key
-- order: latest used first
-- every: 1d
-- examples:
--   - secops report sessions
--   - secops report sessions --user alice@example.com
--   - secops report sessions --ip 203.0.113.0/24 --idle-for 7d --limit 0 --format csv
-- ---
WITH live AS (
    SELECT t.id, coalesce(t.family_id, t.id) AS family, t.user_id, t.device_info, t.ip_address,
           t.created_at, t.expires_at
    FROM refresh_tokens t
    WHERE t.revoked IS NOT TRUE
      AND t.used IS NOT TRUE
      AND t.expires_at > now()
      AND (:user IS NULL
           OR t.user_id = ANY (ARRAY(
               SELECT u.:"users_id"
               FROM :"users_schema".:"users_table" u
               WHERE lower(u.:"users_email") = lower(:user) OR u.:"users_id"::text = :user)))
      AND (:ip IS NULL OR secops.try_inet(t.ip_address) <<= :ip)
      AND (:idle_for IS NULL OR t.created_at <= now() - :idle_for)
    ORDER BY t.created_at DESC, t.id
    LIMIT :limit
)
SELECT u.:"users_email" AS email,
       l.device_info,
       l.ip_address,
       (SELECT min(f.created_at) FROM refresh_tokens f WHERE coalesce(f.family_id, f.id) = l.family)
           AS started_at,
       l.created_at AS last_refresh,
       l.expires_at,
       l.family AS session,
       l.user_id
FROM live l
LEFT JOIN :"users_schema".:"users_table" u ON u.:"users_id" = l.user_id
ORDER BY l.created_at DESC, l.id;
