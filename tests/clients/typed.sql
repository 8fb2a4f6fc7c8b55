-- Who and where.
SELECT current_user, session_user, user, current_role, current_database(), current_catalog, current_schema, current_schemas(true)
SELECT version(), pg_backend_pid() > 0, pg_is_in_recovery(), pg_postmaster_start_time() < now()
SET search_path = more; SELECT * FROM "Odd Name"
SELECT current_setting('server_version_num'), current_setting('search_path'), current_setting('nothing.here', true)
SELECT pg_encoding_to_char(encoding), datcollate, datctype, datistemplate, datallowconn FROM pg_database WHERE datname = current_database()
SELECT has_database_privilege(current_database(), 'CONNECT'), has_schema_privilege('public', 'USAGE'), has_table_privilege('customer', 'SELECT'), has_table_privilege('customer', 'INSERT'), has_column_privilege('customer', 'name', 'SELECT')
-- Settings.
SHOW search_path
SHOW TimeZone
SHOW transaction_isolation
SHOW standard_conforming_strings
SHOW server_encoding
SHOW max_identifier_length
SHOW lc_collate
SHOW statement_timeout
SHOW default_transaction_isolation
SHOW work_mem
SET statement_timeout = '5s'; SHOW statement_timeout
SET statement_timeout TO 'soon'
SET TIME ZONE 'Asia/Tokyo'; SELECT timestamptz '2020-01-01 00:00Z'
SET DateStyle = 'German, DMY'; SELECT date '2020-02-01'
SET IntervalStyle = iso_8601; SELECT interval '1 day 2 hours'
SET bytea_output = 'escape'; SELECT photo FROM customer WHERE id = 1
SET extra_float_digits = 0; SELECT 0.1::float8 + 0.2
SET search_path TO DEFAULT; SHOW search_path
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SHOW transaction_read_only
SET NAMES 'UTF8'; SHOW client_encoding
SET lock_timeout = 10; SET idle_in_transaction_session_timeout = 10000; SET idle_session_timeout = 100000; SHOW lock_timeout
SET jit = off; SET enable_seqscan = off; SHOW enable_seqscan
SET role none
RESET ROLE
RESET ALL
SET SESSION AUTHORIZATION DEFAULT
DISCARD ALL
DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP
BEGIN; SET LOCAL statement_timeout = 77; SHOW statement_timeout; ROLLBACK; SHOW statement_timeout
-- Transactions.
BEGIN; SELECT 1/0; SELECT 1; COMMIT
BEGIN; SAVEPOINT a; SELECT 1/0; ROLLBACK TO a; SELECT 2; RELEASE a; COMMIT
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SHOW transaction_isolation; COMMIT AND CHAIN; SHOW transaction_isolation; ROLLBACK
COMMIT
ROLLBACK
BEGIN; BEGIN; COMMIT
SAVEPOINT a
RELEASE SAVEPOINT a
-- Cursors and prepared statements.
BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM customer ORDER BY id; FETCH 2 FROM c; FETCH PRIOR FROM c; MOVE ABSOLUTE 0 FROM c; FETCH ALL FROM c; CLOSE c; COMMIT
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM customer ORDER BY id; FETCH 1 FROM c; FETCH FORWARD 1 FROM c; CLOSE ALL
DECLARE c CURSOR FOR SELECT 1
BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT id FROM customer ORDER BY id; FETCH 2 FROM c; FETCH BACKWARD 1 FROM c; COMMIT
FETCH 1 FROM nowhere
PREPARE p AS SELECT $1::text; PREPARE p AS SELECT 1
EXECUTE nothing
-- Queries of every kind.
TABLE region
VALUES (1, 'a'), (2, NULL)
SELECT
SELECT 1; SELECT 2
SELECT 1 AS "Odd one", 2 AS two
SELECT * FROM customer c ORDER BY id
SELECT c.* FROM customer c WHERE c = ROW(1)
SELECT customer FROM customer WHERE id = 1
SELECT (home).street, (c.home).number FROM customer c ORDER BY id
SELECT c.name, r.name FROM customer c LEFT JOIN region r ON c.region_id = r.id ORDER BY 1
SELECT * FROM customer NATURAL JOIN region
SELECT * FROM customer JOIN sale USING (id) ORDER BY id LIMIT 2
SELECT r.name, t.* FROM region r CROSS JOIN LATERAL (SELECT count(*) FROM customer c WHERE c.region_id = r.id) t ORDER BY 1
SELECT name, rank() OVER (PARTITION BY region_id ORDER BY balance DESC NULLS LAST), sum(balance) OVER w FROM customer WINDOW w AS (ORDER BY id) ORDER BY id
SELECT region_id, count(*), array_agg(name ORDER BY name), string_agg(name, ',' ORDER BY id) FILTER (WHERE id > 1) FROM customer GROUP BY region_id ORDER BY 1
SELECT region_id, feels, count(*) FROM customer GROUP BY CUBE (region_id, feels) ORDER BY 1, 2, 3
SELECT extract(month FROM sold) m, sum(amount) FROM sale GROUP BY 1 HAVING sum(amount) > 30000 ORDER BY m DESC OFFSET 1 ROW FETCH FIRST 3 ROWS ONLY
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount), mode() WITHIN GROUP (ORDER BY customer_id) FROM sale
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t
WITH a AS MATERIALIZED (SELECT * FROM region), b AS (SELECT * FROM a) SELECT * FROM b ORDER BY id
SELECT DISTINCT ON (customer_id) customer_id, sold FROM sale ORDER BY customer_id, sold DESC
SELECT id FROM region UNION SELECT id FROM customer EXCEPT SELECT 3 INTERSECT SELECT 3 ORDER BY 1
SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS g(a, b)
SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) AS u(n, t)
SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(5, 7)) AS r(a, b)
SELECT * FROM json_to_recordset('[{"a":1,"b":"x"}]') AS x(a int, b text)
SELECT doc -> 'a' -> 0, doc #>> '{a,1}', jsonb_path_query_array(doc, '$.a[*]') FROM customer WHERE doc ? 'a'
SELECT jsonb_build_object('n', name, 't', tags), to_jsonb(home), row_to_json(r) FROM customer, region r WHERE r.id = 1 ORDER BY customer.id
SELECT name ~ '^A', name ILIKE '%B', name SIMILAR TO '(A|B)%', regexp_replace(name, '(.)', '<\1>') FROM customer ORDER BY id
SELECT to_tsvector('english', name) @@ to_tsquery('ann') FROM customer ORDER BY id
SELECT date_trunc('month', sold), to_char(sold, 'YYYY-MM'), age(sold, date '2020-01-01') FROM sale ORDER BY id LIMIT 2
SELECT COALESCE(balance, 0)::int, NULLIF(name, 'Bob'), GREATEST(id, 2), CASE id WHEN 1 THEN 'x' ELSE name END FROM customer ORDER BY id
SELECT id IN (SELECT customer_id FROM sale), EXISTS (SELECT FROM region WHERE id = c.region_id), id = ANY (ARRAY[1, 2]) FROM customer c ORDER BY id
SELECT * FROM customer TABLESAMPLE SYSTEM (100) ORDER BY id LIMIT 1
SELECT * FROM sale_2024 ORDER BY id LIMIT 1
SELECT * FROM ONLY sale
SELECT name FROM customer FOR SHARE
SELECT name COLLATE "C" FROM customer ORDER BY name COLLATE "C"
SELECT span && '[3,9)', lower(span), upper_inf(span), int4multirange(span) FROM customer ORDER BY id
SELECT 'sad'::mood < 'ok', enum_range(NULL::mood), pg_typeof(feels), pg_typeof(balance) FROM customer WHERE id = 1
SELECT md5(name), encode(photo, 'hex'), sha256(photo), length(name), octet_length(name) FROM customer WHERE id = 1
SELECT format('%I.%L', 'a b', 'it''s'), quote_ident('A'), quote_nullable(NULL)
SELECT width_bucket(balance, 0, 2000, 4), round(balance, 1), trunc(balance), sqrt(balance) FROM customer ORDER BY id
SELECT E'\\x41'::bytea, U&'\0041', B'101', X'1F', $$dollar$$, 1e3, 0.1::real, '1 year'::interval, 'infinity'::date
SELECT xmlelement(name a, 'b'), xpath('/a/text()', '<a>t</a>'::xml)
SELECT random() < 1, clock_timestamp() >= now(), gen_random_uuid() IS NOT NULL
-- Errors.
SELEC 1
SELECT * FROM customer WHERE
SELECT nothing FROM customer
SELECT customer.nothing FROM customer
SELECT x.id FROM customer
SELECT * FROM customr
SELECT * FROM nowhere.customer
SELECT nofunction(1)
SELECT lower(1, 2)
SELECT 1 + 'a'
SELECT 'a'::int
SELECT name + 1 FROM customer
SELECT 1/0
SELECT id, count(*) FROM customer
SELECT * FROM customer ORDER BY 99
SELECT (SELECT id FROM customer)
SELECT 'x'::nothing
SELECT ARRAY[1, 'a']
SELECT id FROM customer, sale
SELECT * FROM customer GROUP BY id LIMIT -1
SELECT 1 WHERE 'maybe'::bool
SELECT "customer"."Id" FROM customer
-- Plans and copies.
EXPLAIN (COSTS off) SELECT * FROM region WHERE id = 1
EXPLAIN (COSTS off, ANALYZE, TIMING off, SUMMARY off) SELECT count(*) FROM region
EXPLAIN (COSTS off, FORMAT json) SELECT * FROM region
EXPLAIN (COSTS off, VERBOSE) SELECT name FROM customer WHERE id = 1
COPY region TO STDOUT
COPY region (name) TO STDOUT WITH (FORMAT csv, HEADER, QUOTE '*', FORCE_QUOTE (name))
COPY (SELECT * FROM customer ORDER BY id) TO STDOUT (DELIMITER '|', NULL '-')
COPY nowhere TO STDOUT
-- Temporary tables.
CREATE TEMP TABLE t AS SELECT * FROM region; SELECT * FROM t ORDER BY id; INSERT INTO t VALUES (3, 'x'); SELECT count(*) FROM t JOIN customer c ON c.region_id = t.id; DROP TABLE t
CREATE TEMPORARY TABLE t (a int PRIMARY KEY, b text DEFAULT 'x'); INSERT INTO t (a) SELECT id FROM customer RETURNING *; UPDATE t SET b = 'y' WHERE a = 1; DELETE FROM t WHERE a = 2; TABLE t; TRUNCATE t; SELECT count(*) FROM t
SELECT * INTO TEMP t FROM region; SELECT count(*) FROM t
CREATE TEMP TABLE t (a int); CREATE INDEX ON t (a); ANALYZE t; \d t
CREATE TEMP TABLE a (x int) ON COMMIT DROP; SELECT * FROM a
-- The catalog.
SELECT 'customer'::regclass, 'customer'::regclass::oid = c.oid, to_regclass('nowhere') FROM pg_class c WHERE relname = 'customer'
SELECT obj_description('customer'::regclass), col_description('customer'::regclass, 4), format_type(1700, 786438)
SELECT relname, relkind, relnatts, relhasindex FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'S' ORDER BY 1
SELECT attname, atttypid::regtype, attnotnull, attidentity FROM pg_attribute WHERE attrelid = 'customer'::regclass AND attnum > 0 ORDER BY attnum
SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'customer'::regclass ORDER BY 1
SELECT indexrelid::regclass, pg_get_indexdef(indexrelid), indisunique, indkey FROM pg_index WHERE indrelid = 'customer'::regclass ORDER BY 2
SELECT enumlabel FROM pg_enum WHERE enumtypid = 'mood'::regtype ORDER BY enumsortorder
SELECT schemaname, tablename, hasindexes FROM pg_tables WHERE schemaname = 'public' ORDER BY 2
SELECT count(*) FROM pg_proc WHERE proname = 'lower'
SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position
SELECT pg_size_pretty(pg_relation_size('customer')), pg_size_pretty(pg_total_relation_size('region'))
SELECT unnest(proargtypes::regtype[]), prorettype::regtype FROM pg_proc WHERE oid = 'abs(int)'::regprocedure
