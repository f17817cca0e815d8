-- ---
-- title: Accounts that were locked
-- description: |
--   Every lock of an account, automatic after too many failed logins or set by an operator.
--   Many in a short time mean an attack, or an attacker who locks people out on purpose.
--   locked-users shows who is locked now.
-- params:
--   since: {type: duration, default: 7d, min: 1m, max: 7300d, help: How far back to look.}
-- columns:
--   email: the account
--   ip_address: where the last failed login came from
--   message: what was recorded
--   created_at: when
--   locked_by: the operator, if one did it
--   severity: as recorded with the event
-- severity: severity
-- order: latest first
-- every: 1h
-- examples:
--   - secops report lockouts
--   - secops report lockouts --since 1d --format json
-- ---
SELECT email,
       ip_address,
       message,
       created_at,
       CASE event_category WHEN 'operator' THEN metadata ->> 'actor' END AS locked_by,
       severity
FROM security_events
WHERE event_type = 'account_locked'
  AND created_at > :as_of - :since
  AND created_at <= :as_of
ORDER BY created_at DESC, id
LIMIT :limit;
