-- ---
-- title: How much the indexes of the login tables are used
-- description: |
--   Each index, how often it was used since the server's statistics were last reset, and its size. An
--   index that is never used costs every INSERT; look at the replicas too before you drop one, for each
--   server counts its own use.
-- params:
--   table: {type: choice, default: all, choices: [all, security_events, refresh_tokens, users],
--           help: Of which table.}
-- columns:
--   indexrelname: the index
--   idx_scan: how often it was used
--   idx_tup_read: entries that were read from it
--   idx_tup_fetch: rows that were fetched through it
--   table_name: its table
--   index_size: its size, in words
--   kind: "what it is for: primary key, unique, partial; or invalid, where building it failed"
--   severity: low where it was never used and nothing but speed is its purpose; high where it is invalid
-- severity: severity
-- order: most used first
-- every: 7d
-- examples:
--   - secops report index-usage
--   - secops report index-usage --table security_events
-- ---
SELECT s.indexrelname::text AS indexrelname,
       s.idx_scan,
       s.idx_tup_read,
       s.idx_tup_fetch,
       s.schemaname || '.' || s.relname AS table_name,
       pg_size_pretty(pg_relation_size(s.indexrelid)) AS index_size,
       CASE WHEN NOT i.indisvalid THEN 'invalid'
            WHEN i.indisprimary THEN 'primary key'
            WHEN i.indisunique THEN 'unique'
            WHEN i.indpred IS NOT NULL THEN 'partial' END AS kind,
       CASE WHEN NOT i.indisvalid THEN 'high'
            WHEN s.idx_scan = 0 AND NOT i.indisunique THEN 'low' END AS severity
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
-- A partition counts as the table that it is part of.
CROSS JOIN LATERAL (SELECT coalesce(pg_partition_root(s.relid)::oid, s.relid) AS root) p
JOIN pg_class c ON c.oid = p.root
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname = :schema AND c.relname IN ('security_events', 'refresh_tokens')
       AND :table IN ('all', c.relname::text))
   OR (n.nspname = :users_schema AND c.relname = :users_table AND :table IN ('all', 'users'))
ORDER BY s.idx_scan DESC, s.schemaname, s.relname, s.indexrelname
LIMIT :limit;
