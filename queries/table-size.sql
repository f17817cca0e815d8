-- ---
-- title: Size of the login tables
-- description: |
--   How large the tables are with their indexes, and about how many rows they hold. The rows are
--   estimated from the table's size and its statistics, for counting them reads the whole table; the
--   estimate is as good as the last ANALYZE.
-- columns:
--   table_name: the table, with all its partitions
--   total_size: with indexes and long values, in words
--   row_count: about so many rows; empty if the table was never analyzed
--   table_size: without indexes, in words
--   index_size: its indexes alone, in words
--   dead_rows: about so many rows that VACUUM will clear
--   last_analyzed: when the statistics were made
--   total_bytes: the total size as a number
-- order: largest first
-- every: 7d
-- examples:
--   - secops report table-size
--   - secops report table-size --format json
-- ---
WITH tables AS (
    SELECT c.oid, n.nspname, c.relname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname = :schema AND c.relname IN ('security_events', 'refresh_tokens'))
       OR (n.nspname = :users_schema AND c.relname = :users_table)
), parts AS (
    -- A table without partitions has no row in its partition tree.
    SELECT t.oid AS root, coalesce(p.relid, t.oid) AS oid
    FROM tables t
    LEFT JOIN LATERAL pg_partition_tree(t.oid) p ON p.isleaf
), sizes AS (
    SELECT p.root,
           sum(pg_total_relation_size(p.oid)) AS total,
           sum(pg_table_size(p.oid)) AS own,
           sum(pg_indexes_size(p.oid)) AS indexes,
           -- As the planner estimates: rows per page when last analyzed, times the pages of now.
           sum(CASE WHEN c.relpages > 0 AND c.reltuples >= 0
                    THEN c.reltuples::numeric / c.relpages
                         * (pg_relation_size(p.oid) / current_setting('block_size')::numeric)
                    ELSE s.n_live_tup END) AS live,
           sum(s.n_dead_tup) AS dead,
           max(greatest(s.last_analyze, s.last_autoanalyze)) AS analyzed
    FROM parts p
    JOIN pg_class c ON c.oid = p.oid
    LEFT JOIN pg_stat_all_tables s ON s.relid = p.oid
    GROUP BY p.root
)
SELECT t.nspname || '.' || t.relname AS table_name,
       pg_size_pretty(s.total) AS total_size,
       round(s.live)::bigint AS row_count,
       pg_size_pretty(s.own) AS table_size,
       pg_size_pretty(s.indexes) AS index_size,
       s.dead::bigint AS dead_rows,
       s.analyzed AS last_analyzed,
       s.total::bigint AS total_bytes
FROM tables t
JOIN sizes s ON s.root = t.oid
ORDER BY s.total DESC, table_name
LIMIT :limit;
