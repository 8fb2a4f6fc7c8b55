//! An oracle: PostgreSQL's own row-level security on a twin of the table. Generated statements must affect the same rows, return the same
//! ones, fail with the same SQLSTATE and leave the same table.

use crate::support::{Stage, long};
use tokio_postgres::{Client, SimpleQueryMessage};

const SCHEMA: &str = "CREATE TABLE open_to (dept text, login text); INSERT INTO open_to VALUES ('blue', 'ana'), ('green', 'ana'), ('red', 'bob');
    CREATE TABLE t (id int PRIMARY KEY, dept text DEFAULT 'blue', n int CHECK (n > -1000), note text, CHECK (note <> 'never'));
    CREATE TABLE s (id int PRIMARY KEY, k int, note text);
    CREATE TABLE u (id int PRIMARY KEY, dept text, n int);
    INSERT INTO s SELECT i, i % 7, (i % 5)::text FROM generate_series(1, 30) i;";

const SEED: &str = "TRUNCATE t, u; INSERT INTO t SELECT i, (ARRAY['blue', 'red', 'green'])[1 + i % 3], i % 11, CASE WHEN i % 3 = 1 THEN 'x' ELSE (i % 9)::text END FROM generate_series(1, 60) i;
    INSERT INTO u SELECT i, (ARRAY['blue', 'red', NULL])[1 + i % 3], i FROM generate_series(1, 40) i";

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn id(&mut self) -> u64 {
        1 + self.below(70)
    }

    fn condition(&mut self, t: &str) -> String {
        let (a, b) = (self.id(), self.below(11));
        match self.below(12) {
            0 => format!("{t}.id = {a}"),
            1 => format!("{t}.id < {a} AND {t}.n > {b}"),
            2 => format!("{t}.note::int = {b}"),
            3 => format!("{t}.id > {a} AND 10 / ({t}.n - {b}) > 1"),
            4 => format!("({t}.n = {b} OR {t}.note = '3')"),
            5 => format!("{t}.id IN (SELECT s.id FROM s WHERE s.k = {})", b % 7),
            6 => format!("EXISTS (SELECT FROM s WHERE s.id = {t}.id AND s.note::int < {b})"),
            7 => format!("{t}.note LIKE '{b}%'"),
            8 => format!("NOT ({t}.id = {a}) AND {t}.note::int + {t}.n > {b}"),
            9 => format!("(SELECT count(*) FROM s WHERE s.k = {t}.n) > 1"),
            10 => format!("{t}.n BETWEEN {} AND {b}", b / 2),
            _ => format!("{t}.id % 2 = {} AND {t}.dept <> 'zzz'", b % 2),
        }
    }

    fn value(&mut self) -> String {
        let b = self.below(11);
        match self.below(6) {
            0 => "t.n + 1".into(),
            1 => format!("{b}"),
            2 => format!("100 / (t.n - {b})"),
            3 => format!("(SELECT max(s.k) FROM s WHERE s.id > t.id + {b})"),
            4 => "t.note::int".into(),
            _ => format!("CASE WHEN t.n > {b} THEN t.n ELSE -t.n END"),
        }
    }

    fn returning(&mut self) -> &'static str {
        match self.below(4) {
            0 => " RETURNING t.id, t.dept, t.n",
            1 => " RETURNING t.*",
            _ => "",
        }
    }

    fn statement(&mut self, table: &str) -> String {
        let (a, b) = (self.id(), self.below(11));
        let dept = self.one(&["'blue'", "'green'", "'red'", "NULL", "DEFAULT", "'blue'"]);
        let (condition, value, returning) = (self.condition("t"), self.value(), self.returning());
        let full = table == "t";
        let sql = match self.below(13) {
            0 => format!("INSERT INTO t (id, dept, n) VALUES ({}, {dept}, {b}){returning}", a + 40),
            1 => format!(
                "INSERT INTO t (id, dept, n) SELECT s.id + 200 + {a} * 100, {}, s.k FROM s WHERE s.k = {}{returning}",
                if dept == "DEFAULT" { "'blue'" } else { dept },
                b % 7
            ),
            2 => format!(
                "INSERT INTO t (id, dept, n) VALUES ({a}, 'blue', 1) ON CONFLICT (id) DO UPDATE SET n = {value}{returning}"
            ),
            3 => format!(
                "INSERT INTO t (id, dept, n) VALUES ({a}, 'blue', 1) ON CONFLICT (id) DO UPDATE SET n = excluded.n + t.n, dept = {dept} WHERE {condition}"
            ),
            4 => format!("INSERT INTO t (id, dept, n) VALUES ({a}, 'blue', {b}) ON CONFLICT DO NOTHING{returning}"),
            5 | 6 => format!("UPDATE t SET n = {value} WHERE {condition}{returning}"),
            7 => format!("UPDATE t SET dept = {dept} WHERE {condition}{returning}"),
            8 => format!(
                "UPDATE t SET n = s.k, dept = t.dept FROM s WHERE s.id = t.id AND s.k = {} AND {condition}{returning}",
                b % 7
            ),
            9 => format!("DELETE FROM t WHERE {condition}{returning}"),
            10 => format!("DELETE FROM t USING s WHERE s.id = t.id AND s.k = {} AND {condition}{returning}", b % 7),
            11 => format!(
                "WITH w AS (UPDATE t SET dept = {dept} WHERE {condition} RETURNING t.id, t.n) SELECT * FROM w ORDER BY 1"
            ),
            _ => format!(
                "MERGE INTO t USING s ON t.id = s.id AND {condition} WHEN MATCHED AND s.k > 3 THEN DELETE WHEN MATCHED THEN UPDATE SET n = s.k, dept = {} \
                 WHEN NOT MATCHED AND s.id = {a} THEN INSERT (id, dept, n) VALUES (s.id + 1000 + {b}, 'blue', s.k)",
                if dept == "DEFAULT" { "'red'" } else { dept }
            ),
        };
        if full {
            sql
        } else {
            sql.replace("t.note", "t.dept")
                .replace("INTO t ", "INTO u AS t ")
                .replace("UPDATE t ", "UPDATE u AS t ")
                .replace("FROM t ", "FROM u AS t ")
        }
    }
}

fn shown(answer: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>) -> (String, Vec<String>) {
    match answer {
        Err(error) => (error.as_db_error().expect("an answer").code().code().to_owned(), Vec::new()),
        Ok(messages) => {
            let (mut rows, mut tag) = (Vec::new(), String::new());
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => {
                        rows.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|"));
                    }
                    SimpleQueryMessage::CommandComplete(n) => tag = format!("{n}"),
                    _ => {}
                }
            }
            rows.sort();
            (tag, rows)
        }
    }
}

async fn dump(client: &Client) -> Vec<String> {
    shown(client.simple_query("SELECT 't', t::text FROM t UNION ALL SELECT 'u', u::text FROM u").await).1
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_do_as_under_row_level_security() {
    let twin = Stage::new().await.sql(SCHEMA).await;
    let role = format!("clerk_{}", twin.database);
    let twin = twin
        .sql(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role}; GRANT ALL ON t, u TO {role}; GRANT SELECT ON s, open_to TO {role};
             ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE u ENABLE ROW LEVEL SECURITY;
             CREATE POLICY p ON t USING (dept = 'blue' OR dept = 'green');
             CREATE POLICY p ON u USING (dept IN (SELECT o.dept FROM open_to o WHERE o.login = 'ana'))"
        ))
        .await;
    let rule = |key: &str, tag: &str, predicate: &str| {
        format!(
            "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {{predicate: \"{predicate}\"}}\n\
             circumstances: [{{type: columnTags, columnTag: {tag}}}]\n"
        )
    };
    let running = Stage::new()
        .await
        .writable()
        .await
        .sql(SCHEMA)
        .await
        .sources(&[("t", "{dept: [Plain]}"), ("s", "{}"), ("u", "{dept: [Looked]}")])
        .policy(crate::support::ANYONE)
        .policy(&rule("plain", "Plain", "dept = 'blue' OR dept = 'green'"))
        .policy(&rule("looked", "Looked", "dept IN (SELECT o.dept FROM public.open_to o WHERE o.login = @username)"))
        .user("ana", &[], &[])
        .writes("ana", &["t", "u"])
        .start()
        .await;
    let ana = running.client("ana").await;
    let clerk = sqlveil::cli::demo::warehouse::admin(crate::support::server(), &twin.database).await.unwrap();
    clerk.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
    let mut dice = Dice(20_261_122);
    let (mut fine, mut different) = (0, String::new());
    let rounds = if long() { 400 } else { 40 };
    for round in 0..rounds {
        for admin in [running.admin(), twin.admin()] {
            admin.batch_execute(SEED).await.unwrap();
        }
        let table = if round % 3 == 2 { "u" } else { "t" };
        for _ in 0..25 {
            let sql = dice.statement(table);
            let (here, there) = (shown(ana.simple_query(&sql).await), shown(clerk.simple_query(&sql).await));
            fine += usize::from(there.0.len() < 5);
            // Constraints are checked before the new row is; PostgreSQL has it the other way round. Which of several errors comes first
            // follows the plan.
            let both_fail = here.0.len() == 5 && there.0.len() == 5;
            // PostgreSQL asks the caller's condition about a hidden row in conflict, and says nothing where it does not hold; here the
            // condition never meets that row.
            let asked = sql.contains("DO UPDATE") && sql.contains(" WHERE ") && here.0 == "42501" && there.0 == "0";
            if here != there && !both_fail && !asked {
                different.push_str(&format!("{sql}\n  proxy {here:?}\n  native {there:?}\n"));
            }
        }
        let (here, there) = (dump(running.admin()).await, dump(twin.admin()).await);
        if here != there {
            different.push_str(&format!("round {round}: the tables differ\n"));
        }
        if different.len() > 6000 {
            break;
        }
    }
    assert!(different.is_empty(), "{different}");
    assert!(fine > rounds * 25 / 3, "only {fine} statements did something");
}
