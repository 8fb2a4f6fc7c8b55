//! The data of the oracle: five small tables with duplicates, NULLs, multibyte text and keys that join.

use crate::support::server;

/// The tables of [`crate::grammar::TABLES`] in `public`, filled the same way every time.
pub const TABLES: &str = "
    CREATE TABLE dept (id int PRIMARY KEY, name text NOT NULL, city varchar(20), budget numeric(12,2));
    INSERT INTO dept SELECT i, 'Dept ' || chr(64 + i), (ARRAY['Bonn', 'Rome', 'Oslo', NULL])[1 + i % 4],
        CASE WHEN i = 7 THEN NULL ELSE i * 1234.56 - 2000 END FROM generate_series(1, 8) i;
    CREATE TABLE emp (id int PRIMARY KEY, name text, ssn varchar(11), salary numeric(10,2), dept_id int, hired date, active bool,
        grade int, note text);
    INSERT INTO emp SELECT i, (ARRAY['Ada', 'Bea', 'Zoë', 'Ümit', 'x''y', ''])[1 + i % 6],
        CASE WHEN i % 11 = 0 THEN NULL ELSE lpad((i * 7919 % 1000)::text, 3, '0') || '-' || lpad((i * 31 % 100)::text, 2, '0') END,
        CASE WHEN i % 9 = 0 THEN NULL ELSE (i * 37 % 500) * 10.25 - 100 END, NULLIF(i * 5 % 9, 0),
        DATE '2015-03-15' + i * 61 % 2900, CASE i % 4 WHEN 0 THEN NULL ELSE i % 3 = 0 END, NULLIF(i % 6, 5),
        CASE WHEN i % 5 = 0 THEN NULL ELSE 'note ' || i % 13 || ' of ' || i END FROM generate_series(1, 36) i;
    CREATE TABLE pay (emp_id int, month date, amount numeric(10,2), kind text, PRIMARY KEY (emp_id, month));
    INSERT INTO pay SELECT 1 + i * 13 % 40, DATE '2020-01-01' + (i / 20) * 31, CASE WHEN i % 8 = 0 THEN NULL ELSE i * 11.1 END,
        (ARRAY['base', 'bonus', NULL])[1 + i % 3] FROM generate_series(1, 60) i ON CONFLICT DO NOTHING;
    CREATE TABLE project (id int PRIMARY KEY, title text, dept_id int, started date, code varchar(8));
    INSERT INTO project SELECT i, 'Project ' || i % 5, NULLIF(i % 9, 8), current_date - i * 200, 'C' || i * 17 % 40
        FROM generate_series(1, 10) i;
    CREATE TABLE assign (emp_id int, project_id int, hours int, PRIMARY KEY (emp_id, project_id));
    INSERT INTO assign SELECT 1 + i * 7 % 38, 1 + i * 3 % 11, NULLIF(i % 17, 0) FROM generate_series(1, 50) i ON CONFLICT DO NOTHING;
    ANALYZE;
";

/// What makes a role of this name in the warehouse with a password of a stage's users.
pub fn role(name: &str) -> String {
    format!("CREATE ROLE {name} LOGIN NOSUPERUSER PASSWORD '{}'", crate::support::PASSWORD)
}

/// The port of the warehouse.
pub fn warehouse() -> u16 {
    server().port()
}
