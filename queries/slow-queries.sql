-- ---
-- title: Slow queries on the login tables
-- description: |
--   Statements that take long on average, from pg_stat_statements. One that is not slow but runs all
--   the time shows in total_exec_time. Times are in milliseconds.
-- params:
--   scope: {type: choice, default: login, choices: [login, all],
--           help: "Statements that name the users, token or event table, or all in this database."}
--   min_calls: {type: int, default: 1, min: 1, max: 1000000000, help: Leave out what ran fewer times.}
-- columns:
--   query: the statement, its values left out
--   mean_exec_time: milliseconds on average
--   calls: how often it ran
--   max_exec_time: milliseconds at worst
--   total_exec_time: milliseconds in all
--   rows: rows that it returned or changed, in all
-- order: slowest on average first
-- every: 7d
-- requires:
--   extension: pg_stat_statements
--   hint: |
--     Enable it: put pg_stat_statements into shared_preload_libraries, restart the server, then run
--     CREATE EXTENSION pg_stat_statements; as a superuser (managed services have a switch for it).
-- examples:
--   - secops report slow-queries
--   - secops report slow-queries --scope all --min-calls 100 --limit 10
-- ---
SELECT query,
       round(mean_exec_time::numeric, 3) AS mean_exec_time,
       calls,
       round(max_exec_time::numeric, 3) AS max_exec_time,
       round(total_exec_time::numeric, 3) AS total_exec_time,
       rows
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND calls >= :min_calls
  AND (:scope = 'all'
       OR query ILIKE '%security\_events%'
       OR query ILIKE '%refresh\_tokens%'
       OR position(lower(:users_table) IN lower(query)) > 0)
ORDER BY pg_stat_statements.mean_exec_time DESC, query
LIMIT :limit;
