//! What hostile review found of writes, kept as it was found: each test failed before its fix.

use crate::support::{ANYONE, PASSWORD, Running, Stage};
use crate::wire::{Login, Wire};
use crate::world::{count, error, refused, rows};

fn masking(key: &str, tag: &str, config: &str) -> String {
    format!(
        "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {{fields: [{{type: columnTags, columnTag: {tag}}}], {config}}}\n\
         circumstances: [{{type: columnTags, columnTag: {tag}}}]\n"
    )
}

/// `emp`: a hash, a row rule. `log`: a mask with a condition on another column. `poll`: noise by the key, and a column that is counted.
async fn running() -> Running {
    let stage = Stage::new()
        .await
        .writable()
        .await
        .sql(
            "CREATE TABLE emp (id int PRIMARY KEY, name text, dept text, note text, ssn text UNIQUE, card text, doc jsonb);
             INSERT INTO emp SELECT i, 'name', CASE WHEN i < 10 THEN 'blue' ELSE 'red' END, 'note' || i, 'ssn' || i, 'SECRET' || i, '{}' FROM generate_series(1, 20) i;
             CREATE TABLE log (id int PRIMARY KEY, kind text, code int); INSERT INTO log VALUES (1, 'closed', 4711), (2, 'open', 5);
             CREATE TABLE poll (id int PRIMARY KEY, n int, town text); INSERT INTO poll VALUES (1, 100, 'rare'), (2, 5, 'rare too')",
        )
        .await
        .sources(&[
            ("emp", "{dept: [Dept], ssn: [Hide], card: [Hash]}"),
            ("log", "{code: [Closed]}"),
            ("poll", "{n: [Noise], town: [Count]}"),
        ])
        .policy(ANYONE)
        .policy(&masking("hide", "Hide", "maskingConfig: {type: 'Null'}"))
        .policy(&masking("hash", "Hash", "maskingConfig: {type: Hash}"))
        .policy(&masking("closed", "Closed", "conditionalPredicate: \"kind = 'closed'\", maskingConfig: {type: 'Null'}"))
        .policy(&masking("noise", "Noise", "maskingConfig: {type: Randomized Response, stddev: 50}"))
        .policy(&masking("count", "Count", "maskingConfig: {type: K-Anonymization, kLevel: 3}"))
        .policy("policyKey: dept\nname: dept\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"dept = 'blue'\"}\ncircumstances: [{type: columnTags, columnTag: Dept}]\n")
        .user("wim", &[], &[])
        .writes("wim", &["emp", "log", "poll"]);
    stage.start().await
}

/// EXPLAIN looked at the relations that are read, not at those that are written, and showed the plan with the salt in it.
#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_no_plan_of_a_write() {
    let running = running().await;
    let wim = running.client("wim").await;
    for write in [
        "UPDATE emp SET name = 'q' WHERE id = 1 RETURNING id, card",
        "DELETE FROM emp RETURNING id, card",
        "DELETE FROM log RETURNING id, code",
    ] {
        let query = format!("WITH x AS ({write}) SELECT * FROM x");
        for options in ["", "VERBOSE", "(FORMAT JSON)", "(COSTS OFF)", "(VERBOSE, FORMAT YAML)"] {
            for statement in [query.clone(), format!("CREATE TEMP TABLE t AS {query}")] {
                let sql = format!("EXPLAIN {options} {statement}");
                let Ok(shown) = wim.simple_query(&sql).await else { continue };
                let shown = format!("{shown:?}");
                for told in ["_sv", "sha256", "sqlveil", "blue", "rows=", "Plan Rows", "closed"] {
                    assert!(!shown.contains(told), "{sql}: {told} in {shown}");
                }
            }
        }
        assert!(refused(&wim, &format!("EXPLAIN ANALYZE {query}")).await.starts_with("42501"), "{write}");
    }
    let shown = rows(&wim, "EXPLAIN WITH x AS (DELETE FROM emp RETURNING id) SELECT * FROM x").await;
    assert!(shown.iter().any(|line| line.contains("emp")), "{shown:?}");
}

/// Writing what a mask's condition or key looks at chose how a value that stays is masked.
#[tokio::test(flavor = "multi_thread")]
async fn masks_cannot_be_lifted_by_writing_beside_them() {
    let running = running().await;
    let wim = running.client("wim").await;
    for sql in [
        "UPDATE log SET kind = 'open' WHERE id = 1",
        "UPDATE log SET kind = 'open' WHERE id = 1 RETURNING *",
        "UPDATE log SET (id, kind) = (SELECT 7, 'open') WHERE id = 1",
        "UPDATE log SET kind = DEFAULT WHERE id = 1",
        "INSERT INTO log VALUES (1, 'open', 1) ON CONFLICT (id) DO UPDATE SET kind = 'open' RETURNING *",
        "INSERT INTO log VALUES (1, 'open', 1) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind",
        "MERGE INTO log USING (VALUES (1)) v(id) ON v.id = log.id WHEN MATCHED THEN UPDATE SET kind = 'open'",
        "WITH x AS (UPDATE log SET kind = 'open' RETURNING *) SELECT * FROM x",
        // The noise of a row follows its key.
        "UPDATE poll SET id = id + 1000 RETURNING n",
        // Three of a kind are not rare.
        "INSERT INTO poll (id, town) VALUES (10, 'rare'), (11, 'rare')",
        "COPY poll (id, town) FROM STDIN",
        "UPDATE poll SET town = 'rare' WHERE id = 2",
        "MERGE INTO poll USING (VALUES (12)) v(id) ON v.id = poll.id WHEN NOT MATCHED THEN INSERT (id, town) VALUES (v.id, 'rare')",
    ] {
        let found = refused(&wim, sql).await;
        assert!(found.starts_with("42501") || found.starts_with("0A000"), "{sql}: {found}");
    }
    // With a new value for what is masked nothing is lifted.
    assert_eq!(rows(&wim, "UPDATE log SET kind = 'open', code = 9 WHERE id = 1 RETURNING *").await, ["1|open|9"]);
    assert_eq!(count(&wim, "UPDATE log SET id = 3 WHERE id = 2").await, 1);
    assert_eq!(count(&wim, "INSERT INTO poll (id, n) VALUES (10, 4)").await, 1);
}

/// A value that the check of a MERGE's row computes must be the one that is stored.
#[tokio::test(flavor = "multi_thread")]
async fn what_merge_checks_is_what_it_stores() {
    let running = running().await;
    let wim = running.client("wim").await;
    for value in [
        "coalesce((SELECT dept FROM emp TABLESAMPLE bernoulli(50) WHERE id = 1), 'red')",
        "(SELECT dept FROM emp LIMIT 1)",
        "CASE WHEN random() < 0.5 THEN 'blue' ELSE 'red' END",
    ] {
        let merge = format!(
            "MERGE INTO emp t USING (VALUES (1)) s(i) ON t.id = s.i WHEN MATCHED THEN UPDATE SET dept = {value}"
        );
        assert!(refused(&wim, &merge).await.starts_with("0A000"), "{value}");
        let merge = format!(
            "MERGE INTO emp t USING (VALUES (100)) s(i) ON t.id = s.i WHEN NOT MATCHED THEN INSERT (id, dept) VALUES (s.i, {value})"
        );
        assert!(refused(&wim, &merge).await.starts_with("0A000"), "{value}");
    }
}

/// Which row a guessed value conflicts with told whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn on_conflict_looks_for_no_masked_value() {
    let running = running().await;
    let wim = running.client("wim").await;
    for arbiter in ["(ssn)", "ON CONSTRAINT emp_ssn_key"] {
        let sql = format!(
            "INSERT INTO emp (id, dept, ssn) SELECT 1000 + i, 'blue', 'ssn' || i FROM generate_series(1, 9) i ON CONFLICT {arbiter} DO UPDATE SET note = 'x' RETURNING id"
        );
        assert!(refused(&wim, &sql).await.starts_with("42501 ON CONFLICT cannot look"), "{arbiter}");
    }
    let sql = "INSERT INTO emp (id, dept) VALUES (1, 'blue') ON CONFLICT (id) DO UPDATE SET note = 'x' RETURNING id";
    assert_eq!(rows(&wim, sql).await, ["1"]);
}

/// A masked value in a row that is taken whole is masked too.
#[tokio::test(flavor = "multi_thread")]
async fn masks_are_not_written_in_whole_rows() {
    let running = running().await;
    let wim = running.client("wim").await;
    for value in [
        "(SELECT x::text FROM (SELECT card) x)",
        "(SELECT to_jsonb(x) ->> 'card' FROM (SELECT card) x)",
        "(SELECT (x).card FROM (SELECT card) x)",
    ] {
        let found = refused(&wim, &format!("UPDATE emp SET note = {value} WHERE id = 1")).await;
        assert!(found.starts_with("42501 cannot write a masked value"), "{value}: {found}");
    }
    for value in ["(excluded).note", "excluded::text", "to_jsonb(excluded) ->> 'note'"] {
        let sql = format!(
            "INSERT INTO emp (id, dept, note) SELECT id, dept, card FROM emp ON CONFLICT (id) DO UPDATE SET note = {value}"
        );
        assert!(refused(&wim, &sql).await.starts_with(['4', '0']), "{value}");
    }
    assert_eq!(rows(running.admin(), "SELECT note FROM emp WHERE id = 1").await, ["note1"]);
}

/// Contexts that PostgreSQL itself gives are no trigger's: the caller's own mistake is told as it is.
#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_values_are_told() {
    let running = running().await;
    let wim = running.client("wim").await;
    let told = error(&wim, "UPDATE emp SET doc = '{' WHERE id = 1").await;
    assert_eq!((told.code().code(), told.message()), ("22P02", "invalid input syntax for type json"));
    let statement = wim.prepare_typed("UPDATE log SET code = $1::text::int WHERE id = 2", &[]).await.unwrap();
    let told = wim.execute(&statement, &[&"abc"]).await.unwrap_err();
    assert_eq!(told.as_db_error().unwrap().message(), "invalid input syntax for type integer: \"abc\"");
}

/// Tables whose masks and row rules look at what only follows the columns that are written.
async fn followed() -> Running {
    let mask = |key: &str, tag: &str, predicate: &str| {
        masking(key, tag, &format!("conditionalPredicate: \"{predicate}\", maskingConfig: {{type: 'Null'}}"))
    };
    let rows = "policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
        config: {predicate: \"up < 5\"}\ncircumstances: [{type: columnTags, columnTag: Up}]\n";
    let names = ["gen", "zips", "fired", "top", "below", "rowed", "plain", "told"];
    Stage::new()
        .await
        .sql(
            "CREATE TABLE gen (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, card text, note text);
             INSERT INTO gen (id, a, card) VALUES (1, 9, 'SECRET'), (2, 1, 'shown');
             CREATE TABLE zips (id int PRIMARY KEY, addr text, zip text GENERATED ALWAYS AS (left(addr, 5)) STORED, note text);
             INSERT INTO zips (id, addr) VALUES (1, '10000 a'), (2, '10000 b'), (3, '99999 c');
             CREATE TABLE fired (id int PRIMARY KEY, b int, v text, card text);
             INSERT INTO fired VALUES (1, 9, 'x', 'SECRET');
             CREATE FUNCTION flip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 'flip' THEN NEW.b := 1; END IF; RETURN NEW; END $$;
             CREATE TRIGGER flip BEFORE UPDATE ON fired FOR EACH ROW EXECUTE FUNCTION flip();
             CREATE TABLE top (id int PRIMARY KEY, note text); INSERT INTO top VALUES (1), (2), (3), (8), (9), (20), (30);
             CREATE TABLE below (id int PRIMARY KEY, b int DEFAULT 3 REFERENCES top ON UPDATE CASCADE ON DELETE SET DEFAULT, card text);
             INSERT INTO below VALUES (1, 9, 'SECRET one'), (2, 8, 'SECRET two');
             CREATE TABLE upper (id int PRIMARY KEY, note text); INSERT INTO upper VALUES (1), (20);
             CREATE TABLE rowed (id int PRIMARY KEY, up int REFERENCES upper ON UPDATE CASCADE, card text); INSERT INTO rowed VALUES (1, 20, 'SECRET row');
             CREATE TABLE plain (id int PRIMARY KEY, note text); INSERT INTO plain VALUES (1), (2), (3);
             CREATE TABLE unseen (id int PRIMARY KEY, to_plain int REFERENCES plain ON UPDATE CASCADE ON DELETE CASCADE, cell text);
             INSERT INTO unseen VALUES (1, 1, 'SECRET cell'), (2, 2, 'SECRET other');
             CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'no: %', OLD.cell USING DETAIL = OLD::text, HINT = OLD.cell, TABLE = 'unseen', ERRCODE = 'P0042'; END IF;
                 RAISE NOTICE 'SECRET %', NEW; RETURN NEW; END $$;
             CREATE TRIGGER tell BEFORE UPDATE OR DELETE ON unseen FOR EACH ROW EXECUTE FUNCTION tell();
             CREATE TABLE told (id int PRIMARY KEY, note text); INSERT INTO told VALUES (1), (2);
             CREATE FUNCTION count_all() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.note = 'raise' THEN RAISE EXCEPTION 'SECRET %', (SELECT min(cell) FROM public.unseen) USING DETAIL = 'SECRET'; END IF;
                 RAISE NOTICE 'SECRET %', (SELECT min(cell) FROM public.unseen); RETURN NULL; END $$;
             CREATE TRIGGER count_all AFTER UPDATE ON told FOR EACH ROW EXECUTE FUNCTION count_all()",
        )
        .await
        .writable()
        .await
        .sources(&[
            ("gen", "{card: [Gen]}"),
            ("zips", "{addr: [Hide], zip: [Count]}"),
            ("fired", "{card: [Fired]}"),
            ("top", "{}"),
            ("below", "{card: [Below]}"),
            ("upper", "{}"),
            ("rowed", "{up: [Up]}"),
            ("plain", "{}"),
            ("told", "{}"),
        ])
        .policy(ANYONE)
        .policy(&masking("hide", "Hide", "maskingConfig: {type: 'Null'}"))
        .policy(&masking("count", "Count", "maskingConfig: {type: K-Anonymization, kLevel: 2}"))
        .policy(&mask("gen", "Gen", "twice > 10"))
        .policy(&mask("fired", "Fired", "b > 5"))
        .policy(&mask("below", "Below", "b > 5"))
        .policy(rows)
        .user("wim", &[], &[])
        .writes("wim", &[&names[..], &["upper"]].concat())
        .start()
        .await
}

/// Generated columns, triggers and actions of foreign keys changed what a mask or a row rule looks at.
#[tokio::test(flavor = "multi_thread")]
async fn masks_cannot_be_lifted_by_what_follows_a_write() {
    let running = followed().await;
    let wim = running.client("wim").await;
    for sql in [
        "UPDATE gen SET a = 1 WHERE id = 1 RETURNING *",
        "INSERT INTO gen (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1 RETURNING *",
        "MERGE INTO gen USING (VALUES (1)) v(id) ON v.id = gen.id WHEN MATCHED THEN UPDATE SET a = 1",
        "INSERT INTO zips (id, addr) VALUES (10, '99999 guess')",
        "COPY zips (id, addr) FROM STDIN",
        "UPDATE zips SET addr = '99999 guess' WHERE id = 1",
        "UPDATE fired SET v = 'flip' WHERE id = 1 RETURNING *",
        "INSERT INTO fired (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 'flip'",
        "MERGE INTO fired USING (VALUES (1)) v(id) ON v.id = fired.id WHEN MATCHED THEN UPDATE SET v = 'flip'",
        "UPDATE top SET id = 2 WHERE id = 9",
        "DELETE FROM top WHERE id = 8",
        "WITH x AS (DELETE FROM top WHERE id = 8 RETURNING id) SELECT * FROM x",
        "MERGE INTO top USING (VALUES (8)) v(id) ON v.id = top.id WHEN MATCHED THEN DELETE",
        "UPDATE upper SET id = 1 + id - 17 WHERE id = 20",
    ] {
        let found = refused(&wim, sql).await;
        assert!(found.starts_with("42501"), "{sql}: {found}");
    }
    for sql in ["SELECT * FROM gen", "SELECT * FROM fired", "SELECT * FROM below", "SELECT * FROM rowed"] {
        let shown = rows(&wim, sql).await;
        assert!(!format!("{shown:?}").contains("SECRET"), "{sql}: {shown:?}");
    }
    assert!(!rows(&wim, "SELECT zip FROM zips").await.contains(&"99999".to_owned()));
    // What changes nothing that is looked at is written as ever.
    assert_eq!(count(&wim, "UPDATE gen SET note = 'n' WHERE id = 1").await, 1);
    assert_eq!(rows(&wim, "UPDATE gen SET a = 4, card = 'mine' WHERE id = 1 RETURNING *").await, ["1|4|8|mine|n"]);
    assert_eq!(count(&wim, "UPDATE zips SET note = 'n'").await, 3);
    assert_eq!(count(&wim, "UPDATE top SET note = 'n'").await, 7);
    assert_eq!(count(&wim, "DELETE FROM below WHERE id = 1").await, 1);
    assert_eq!(count(&wim, "INSERT INTO fired VALUES (2, 1, 'y', 'mine')").await, 1);
    assert_eq!(count(&wim, "DELETE FROM upper WHERE id = 1").await, 1);
}

/// Triggers of a table that is not registered spoke through one that refers to it, and those of a whole table of others.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_do_not_speak_of_other_tables() {
    let running = followed().await;
    let login = Login { port: running.port, user: "wim", password: PASSWORD, database: running.database() };
    let mut wim = Wire::login(login, &[]).unwrap_or_else(|error| panic!("{:?}", error.fields()));
    for sql in [
        "UPDATE plain SET id = 10 WHERE id = 1",
        "DELETE FROM plain WHERE id = 2",
        "MERGE INTO plain USING (VALUES (2)) v(id) ON v.id = plain.id WHEN MATCHED THEN DELETE",
        "WITH x AS (UPDATE plain SET id = 11 WHERE id = 2 RETURNING id) SELECT * FROM x",
        "UPDATE told SET note = 'x'",
        "UPDATE told SET note = 'raise'",
        "INSERT INTO told VALUES (1, 'y') ON CONFLICT (id) DO UPDATE SET note = 'z'",
    ] {
        let answer = wim.simple(sql);
        let said = format!("{:?}", answer.lines());
        assert!(!said.contains("SECRET") && !said.contains("unseen"), "{sql}: {said}");
        let extended = wim.extended(sql, &[], 0);
        let said = format!("{:?}", extended.lines());
        assert!(!said.contains("SECRET") && !said.contains("unseen"), "{sql}: {said}");
    }
    assert_eq!(wim.simple("DELETE FROM plain WHERE id = 11").code(), "P0042");
    assert_eq!(wim.simple("DELETE FROM plain WHERE id = 3").tags(), ["DELETE 1"]);
}

/// What a trigger raised under a code of its own choice was taken for the server's own words, and what was deferred spoke at COMMIT.
#[tokio::test(flavor = "multi_thread")]
async fn no_code_and_no_delay_makes_a_trigger_speak() {
    let running = Stage::new()
        .await
        .sql(
            "CREATE TABLE vault (cell text); INSERT INTO vault VALUES ('SECRET cell');
             CREATE TABLE coded (id int PRIMARY KEY, code text); INSERT INTO coded VALUES (1, ''), (2, '');
             CREATE FUNCTION speak() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION '%', (SELECT cell FROM public.vault)
                     USING ERRCODE = NEW.code, DETAIL = 'SECRET detail', HINT = 'SECRET hint', SCHEMA = 'public', TABLE = 'coded', CONSTRAINT = 'coded_pkey';
             END $$;
             CREATE TRIGGER speak BEFORE UPDATE ON coded FOR EACH ROW EXECUTE FUNCTION speak();
             CREATE TABLE late (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED, code text); INSERT INTO late VALUES (1, 1), (2, 2);
             CREATE TABLE unseen (n int REFERENCES late DEFERRABLE INITIALLY DEFERRED); INSERT INTO unseen VALUES (2);
             CREATE FUNCTION told(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
                 RAISE NOTICE '%', (SELECT cell FROM public.vault);
                 RAISE EXCEPTION '%', (SELECT cell FROM public.vault) USING ERRCODE = '42P01';
             END $$;
             CREATE VIEW spoken AS SELECT * FROM coded WHERE told(id);
             CREATE CONSTRAINT TRIGGER speak AFTER UPDATE ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.code IS NOT NULL) EXECUTE FUNCTION speak()",
        )
        .await
        .writable()
        .await
        .sources(&[("coded", "{}"), ("late", "{}"), ("spoken", "{}")])
        .policy(ANYONE)
        .user("wim", &[], &[])
        .writes("wim", &["coded", "late"])
        .start()
        .await;
    let login = Login { port: running.port, user: "wim", password: PASSWORD, database: running.database() };
    let mut wim = Wire::login(login, &[]).unwrap_or_else(|error| panic!("{:?}", error.fields()));
    for code in ["42501", "42P01", "0A000", "28000", "3D000", "55000", "22023", "23505", "23514", "P0001", "ZZ001"] {
        for sql in [
            format!("UPDATE coded SET code = '{code}' WHERE id = 1"),
            format!("BEGIN; UPDATE late SET code = '{code}' WHERE id = 1; COMMIT"),
        ] {
            let answer = wim.simple(&sql);
            let said = format!("{:?}", answer.lines());
            assert!(!said.contains("SECRET") && !said.contains("vault"), "{sql}: {said}");
            assert_eq!(answer.code(), code, "{sql}");
            wim.simple("ROLLBACK");
        }
        wim.simple("BEGIN");
        wim.simple(&format!("UPDATE late SET code = '{code}' WHERE id = 1"));
        let answer = wim.simple("COMMIT");
        let said = format!("{:?}", answer.lines());
        assert!(!said.contains("SECRET") && !said.contains("vault"), "{code}: {said}");
        assert_eq!(answer.code(), code);
    }
    // Functions of a view that is only read.
    let answer = wim.simple("SELECT * FROM spoken");
    let said = format!("{:?}", answer.lines());
    assert!(!said.contains("SECRET") && answer.code() == "42P01", "{said}");
    // A string of statements ends with the transaction that it is: its last statement has nothing to do with it.
    for last in ["SELECT 1", "SELECT id FROM late", "CREATE TEMP TABLE fresh (a int)"] {
        let answer = wim.simple(&format!("UPDATE late SET n = 2 WHERE id = 1; {last}"));
        let said = format!("{:?}", answer.lines());
        assert!(!said.contains("Key (") && answer.code() == "23505", "{last}: {said}");
    }
    // Deferred constraints name nothing that is not seen, and keep their code.
    for (sql, code) in [("UPDATE late SET n = 2 WHERE id = 1", "23505"), ("DELETE FROM late WHERE id = 2", "23503")] {
        wim.simple("BEGIN");
        assert_eq!(wim.simple(sql).code(), "", "{sql}");
        let answer = wim.simple("COMMIT");
        let said = format!("{:?}", answer.lines());
        assert!(!said.contains("unseen") && !said.contains("Key ("), "{sql}: {said}");
        assert_eq!(answer.code(), code, "{sql}");
    }
}

/// A column that the caller does not see was named when others could not be changed because of it.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_no_hidden_generated_column() {
    let mask = masking("card", "Card", "conditionalPredicate: \"risk > 10\", maskingConfig: {type: 'Null'}");
    let running = Stage::new()
        .await
        .sql(
            "CREATE TABLE gen (id int PRIMARY KEY, a int, risk int GENERATED ALWAYS AS (a * 2) STORED, card text);
             INSERT INTO gen (id, a, card) VALUES (1, 9, 'SECRET')",
        )
        .await
        .writable()
        .await
        .sources(&[("gen", "{card: [Card]}")])
        .policy(ANYONE)
        .policy(&mask)
        .user("wim", &[], &[])
        .writes("wim", &["gen"])
        .start()
        .await;
    let wim = running.client("wim").await;
    let found = refused(&wim, "UPDATE gen SET a = 1").await;
    assert!(found.starts_with("42501") && !found.contains("risk"), "{found}");
}
