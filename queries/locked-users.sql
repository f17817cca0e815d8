-- ---
-- title: Accounts that are locked now
-- description: |
--   Who cannot log in at this moment because of a lock: an automatic one after too many failed logins,
--   or an operator's. `secops unlock user` lets them in again.
-- columns:
--   email: the account
--   name: the person, where the users table says
--   locked_until: when the lock ends by itself
--   locked_by: the operator, or "failed logins"
--   reason: why the operator locked it
--   ticket: the operator's ticket
--   locked_at: when the operator locked it
--   failed_login_attempts: failed logins in a row
--   user_id: the account's key
-- order: the lock that ends first, first
-- every: 1h
-- examples:
--   - secops report locked-users
--   - secops report locked-users --format csv
-- ---
WITH locked AS (
    SELECT u.:"users_id" AS id
    FROM :"users_schema".:"users_table" u
    WHERE u.locked_until > now()
    UNION
    SELECT a.user_id
    FROM secops.accounts a
    WHERE a.locked_at IS NOT NULL AND (a.lock_expires_at IS NULL OR a.lock_expires_at > now())
)
SELECT u.:"users_email" AS email,
       u.:"users_name" AS name,
       greatest(u.locked_until, a.ends_at) AS locked_until,
       CASE WHEN a.user_id IS NULL THEN 'failed logins' ELSE coalesce(a.locked_by, 'an operator') END
           AS locked_by,
       a.lock_reason AS reason,
       a.lock_ticket AS ticket,
       a.locked_at,
       u.failed_login_attempts,
       u.:"users_id" AS user_id
FROM locked l
JOIN :"users_schema".:"users_table" u ON u.:"users_id" = l.id
LEFT JOIN LATERAL (
    SELECT o.user_id, o.locked_by, o.lock_reason, o.lock_ticket, o.locked_at,
           -- The same "forever" as secops writes into users.locked_until.
           coalesce(o.lock_expires_at, '9999-12-31 00:00:00+00'::timestamptz) AS ends_at
    FROM secops.accounts o
    WHERE o.user_id = l.id
      AND o.locked_at IS NOT NULL
      AND (o.lock_expires_at IS NULL OR o.lock_expires_at > now())
) a ON true
ORDER BY 3, 1
LIMIT :limit;
