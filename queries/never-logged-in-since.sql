-- ---
-- title: Accounts that nobody has logged in to for long
-- description: |
--   Accounts without a login since then, or without any that is on record. Attackers like them, for
--   nobody notices; disable what is not needed. Accounts that are disabled already are left out.
--
--   Only recorded logins count: where events are newer than the accounts, or older ones have been
--   pruned, "never" means "not on record". It asks of each account for its latest login: some seconds
--   where there are hundreds of thousands of accounts, however many events there are.
-- params:
--   since: {type: duration, default: 90d, min: 1h, max: 7300d, help: How long without a login.}
-- columns:
--   email: the account
--   name: the person, where the users table says
--   last_login: the last login on record
--   live_sessions: sessions that are live nevertheless, by tokens that are refreshed
--   user_id: the account's key
-- order: never first, then longest ago
-- every: 30d
-- examples:
--   - secops report never-logged-in-since
--   - secops report never-logged-in-since --since 365d --limit 0 --format csv
-- ---
-- OFFSET 0 has the database ask account by account, by the index on user and time: it would else read all
-- logins of the window, most of the table, to find the few accounts that have none.
WITH known AS (
    SELECT u.:"users_id" AS id, u.:"users_email"::text AS email, u.:"users_name"::text AS name,
           (SELECT e.created_at FROM security_events e
            WHERE e.user_id = u.:"users_id" AND e.event_type = 'login_success'
              AND e.created_at <= :as_of
            ORDER BY e.created_at DESC LIMIT 1) AS last_login
    FROM :"users_schema".:"users_table" u
    WHERE u.:"users_active" IS NOT FALSE
    OFFSET 0
), idle AS (
    SELECT k.id, k.email, k.name,
           -- Imported events may know the account by its e-mail address only.
           greatest(k.last_login,
                    (SELECT e.created_at FROM security_events e
                     WHERE e.user_id IS NULL AND lower(e.email) = lower(k.email)
                       AND e.event_type = 'login_success' AND e.created_at <= :as_of
                     ORDER BY e.created_at DESC LIMIT 1)) AS last_login
    FROM known k
    WHERE k.last_login IS NULL OR k.last_login <= :as_of - :since
    OFFSET 0
)
SELECT i.email,
       i.name,
       i.last_login,
       (SELECT count(*) FROM refresh_tokens t
        WHERE t.user_id = i.id AND t.revoked IS NOT TRUE AND t.used IS NOT TRUE
          AND t.expires_at > now()) AS live_sessions,
       i.id AS user_id
FROM idle i
WHERE i.last_login IS NULL OR i.last_login <= :as_of - :since
ORDER BY i.last_login NULLS FIRST, i.email
LIMIT :limit;
