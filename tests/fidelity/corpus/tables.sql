CREATE TYPE place AS (street text, zip varchar(5));
CREATE DOMAIN amount AS numeric(10,2) CHECK (VALUE >= 0);
CREATE TYPE color AS ENUM ('red', 'green', 'blue');
CREATE TABLE shape (id int PRIMARY KEY, title text NOT NULL, home place, body jsonb, during tstzrange, at timestamptz, words tsvector,
    doc xml, grid int[], price amount, color color, pos point);
INSERT INTO shape SELECT i, 'The quick ' || (ARRAY['brown fox', 'red hen', 'dog'])[1 + i % 3], ROW('Way ' || i, ('1' || i)::varchar)::place,
    jsonb_build_object('n', i, 'tags', jsonb_build_array('t' || i, 'u', i), 'address', jsonb_build_object('city', 'C' || i % 2, 'zip', NULL)),
    tstzrange('2020-01-01Z'::timestamptz + i * interval '1 day', CASE WHEN i < 5 THEN '2020-01-10Z'::timestamptz END),
    '2020-01-01 12:00Z'::timestamptz + i * interval '7 hours', NULL, ('<a><b>' || i || '</b><b>x</b></a>')::xml,
    ARRAY[[i, i + 1], [NULL, 3]], i * 1.5, (ARRAY['red', 'green', 'blue'])[1 + i % 3]::color, point(i, i) FROM generate_series(1, 6) i;
UPDATE shape SET words = to_tsvector('english', title);
INSERT INTO shape (id, title) VALUES (7, '');
CREATE TABLE yearly (day date NOT NULL, site int NOT NULL, value float8) PARTITION BY RANGE (day);
CREATE TABLE yearly_2023 PARTITION OF yearly FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE yearly_2024 PARTITION OF yearly FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE INDEX ON yearly (day);
INSERT INTO yearly SELECT DATE '2023-01-01' + i, i % 3, i / 7.0 FROM generate_series(0, 700) i;
CREATE VIEW staff AS SELECT * FROM emp WHERE id < 30;
CREATE VIEW per_dept AS SELECT d.name, count(e.id) AS n, max(e.hired) AS last FROM dept d LEFT JOIN emp e ON e.dept_id = d.id GROUP BY d.name;
CREATE MATERIALIZED VIEW totals AS SELECT dept_id, count(*) AS n FROM emp GROUP BY dept_id;
CREATE TABLE node (id int PRIMARY KEY, up int REFERENCES node, label text DEFAULT 'x', note varchar(30), UNIQUE (up, label));
INSERT INTO node SELECT i, NULLIF(i / 3, 0), 'n' || i FROM generate_series(1, 20) i;
COMMENT ON TABLE node IS 'a tree'; COMMENT ON COLUMN node.label IS 'its name';
ANALYZE;
