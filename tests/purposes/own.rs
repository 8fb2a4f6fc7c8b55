//! `sqlveil.my_access` and its like: answered by the proxy, usable as any relation.

use crate::support::PASSWORD;
use crate::{code, error, rows, stage};
use tokio_postgres::types::Type;

const ACCESS: &str = "SELECT table_name, column_name, seen, mask, why, would_show_more FROM sqlveil.my_access \
    ORDER BY table_schema, table_name, column_name NULLS FIRST";

#[tokio::test(flavor = "multi_thread")]
async fn one_is_told_what_one_sees_and_why_and_what_would_show_more() {
    let running = stage().await.start().await;
    let ana = running.client("ana").await;
    assert_eq!(
        rows(&ana, ACCESS).await,
        [
            "cases|NULL|no rows|NULL|Cases are for fraud: Purpose Restriction|SET sqlveil.project = 'fraud'; purpose Fraud",
            "cases|id|clear|NULL|NULL|NULL",
            "cases|note|clear|NULL|NULL|NULL",
            "emp|NULL|some rows|NULL|One's own city: Row Restriction By User Entitlements|group Auditors",
            "emp|city|clear|NULL|NULL|NULL",
            "emp|id|clear|NULL|NULL|NULL",
            "emp|name|clear|NULL|NULL|NULL",
            "emp|ssn|masked|Hash|Numbers are hashed: Masking (Hash)|SET sqlveil.project = 'fraud'; any of group Auditors, purpose Fraud",
            "offers|NULL|refused|NULL|you are not subscribed|access needs the approval of an owner of the data source; ask an owner of the data source",
        ],
        "nothing of pay, nothing of values"
    );
    // Under the purpose the same relation tells the other side.
    ana.batch_execute("SET sqlveil.acknowledge = 'fraud'; SET sqlveil.project = 'fraud'").await.unwrap();
    let seen = "SELECT seen FROM sqlveil.my_access WHERE (table_name, COALESCE(column_name, '')) IN (('cases', ''), ('emp', 'ssn')) ORDER BY 1";
    assert_eq!(rows(&ana, seen).await, ["all rows", "clear"]);
    // Everybody gets his own.
    let aud = running.client("aud").await;
    assert_eq!(
        rows(&aud, "SELECT seen FROM sqlveil.my_access WHERE table_name = 'emp' GROUP BY 1 ORDER BY 1").await,
        ["all rows", "clear"]
    );
    let eve = running.client("eve").await;
    assert_eq!(rows(&eve, "SELECT DISTINCT table_name FROM sqlveil.my_access ORDER BY 1").await, ["cases", "offers"]);
    let payer = running.client("payer").await;
    assert_eq!(
        rows(&payer, "SELECT seen FROM sqlveil.my_access WHERE table_name = 'pay' AND column_name IS NULL").await,
        ["all rows"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_purposes_and_what_is_to_be_acknowledged() {
    let running = stage().await.start().await;
    let ana = running.client("ana").await;
    let projects = "SELECT project, name, description, purposes, acting, may_enter, equalized, masked_joins FROM sqlveil.my_projects ORDER BY 1";
    assert_eq!(
        rows(&ana, projects).await,
        ["fraud|Fraud desk|Finds fraud|{Fraud.Cards}|f|t|f|f", "free|Free|NULL|{Free}|f|t|f|f"]
    );
    let pending =
        ana.prepare("SELECT project, purpose, text, accept FROM sqlveil.pending_acknowledgements").await.unwrap();
    let told = ana.query(&pending, &[]).await.unwrap();
    let told: Vec<[String; 4]> = told.iter().map(|r| [0, 1, 2, 3].map(|i| r.get(i))).collect();
    assert_eq!(
        told,
        [["fraud", "Fraud.Cards", "I use this against fraud alone", "SET sqlveil.acknowledge = 'fraud'"]
            .map(str::to_owned)]
    );
    ana.batch_execute(&told[0][3]).await.unwrap();
    assert!(ana.query(&pending, &[]).await.unwrap().is_empty(), "prepared before, true now");
    ana.batch_execute("SET sqlveil.project = 'free'").await.unwrap();
    assert_eq!(
        rows(&ana, "SELECT purpose, project, acting FROM sqlveil.my_purposes ORDER BY 1").await,
        ["Fraud.Cards|fraud|f", "Free|free|t"]
    );
    // Of others' projects nothing is told.
    let bob = running.client("bob").await;
    assert_eq!(rows(&bob, "SELECT project FROM sqlveil.my_projects").await, ["fraud"]);
    let eve = running.client("eve").await;
    assert_eq!(
        rows(&eve, "SELECT count(*) FROM sqlveil.my_projects, sqlveil.my_purposes, sqlveil.pending_acknowledgements")
            .await,
        ["0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_relations_like_any_other() {
    let running = stage().await.start().await;
    let ana = running.client("ana").await;
    // Joins with the catalog and with data, aggregates, sub-selects, CTEs, windows, set operations.
    let columns = "SELECT c.column_name, c.data_type, a.seen FROM information_schema.columns c \
        JOIN sqlveil.my_access a USING (table_schema, table_name, column_name) WHERE table_name = 'emp' ORDER BY c.ordinal_position";
    assert_eq!(
        rows(&ana, columns).await,
        ["id|integer|clear", "name|text|clear", "ssn|text|masked", "city|text|clear"]
    );
    let mixed = "WITH m AS (SELECT table_name t, count(*) FILTER (WHERE seen = 'masked') n FROM sqlveil.my_access GROUP BY 1) \
        SELECT e.id, m.n, row_number() OVER (ORDER BY e.id) FROM emp e JOIN m ON m.t = 'emp' \
        WHERE EXISTS (SELECT FROM sqlveil.my_access x WHERE x.column_name = 'ssn') ORDER BY 1";
    assert_eq!(rows(&ana, mixed).await, ["1|1|1", "3|1|2"]);
    // Prepared, with parameters and types as described.
    let prepared = ana.prepare("SELECT seen, table_name FROM sqlveil.my_access WHERE column_name = $1").await.unwrap();
    assert_eq!(prepared.params(), [Type::TEXT]);
    assert!(prepared.columns().iter().all(|c| *c.type_() == Type::TEXT));
    assert_eq!(ana.query_one(&prepared, &[&"ssn"]).await.unwrap().get::<_, String>(0), "masked");
    let purposes = ana.prepare("SELECT purposes, acting FROM sqlveil.my_projects").await.unwrap();
    let types: Vec<&Type> = purposes.columns().iter().map(|c| c.type_()).collect();
    assert_eq!(types, [&Type::TEXT_ARRAY, &Type::BOOL]);
    assert_eq!(ana.query(&purposes, &[]).await.unwrap()[0].get::<_, Vec<String>>(0), ["Fraud.Cards"]);
    // Cursors, COPY, temporary tables, search path, names.
    let cursor = "BEGIN; DECLARE c CURSOR FOR SELECT project FROM sqlveil.my_projects ORDER BY 1; FETCH 1 FROM c; FETCH ALL FROM c; COMMIT";
    assert_eq!(rows(&ana, cursor).await, ["fraud", "free"]);
    ana.batch_execute("CREATE TEMP TABLE mine AS SELECT * FROM sqlveil.my_access").await.unwrap();
    assert_eq!(rows(&ana, "SELECT count(*) FROM mine").await, ["9"]);
    ana.batch_execute("SET search_path = sqlveil, public").await.unwrap();
    assert_eq!(rows(&ana, "SELECT project FROM my_projects ORDER BY 1 DESC LIMIT 1").await, ["free"]);
    assert_eq!(rows(&ana, "SELECT current_schemas(false)").await, ["{sqlveil,public}"]);
    assert_eq!(rows(&ana, "SELECT x.project FROM my_projects x WHERE x.* IS NOT NULL").await, ["fraud"]);
    assert_eq!(
        error(&ana, "SELECT * FROM sqlveil.my_acces").await,
        ("42P01".into(), "relation \"sqlveil.my_acces\" does not exist".into())
    );
    assert_eq!(code(&ana, "SELECT nothing FROM sqlveil.my_access").await, "42703");
    for sql in [
        "INSERT INTO sqlveil.my_projects (project) VALUES ('x')",
        "UPDATE sqlveil.my_access SET seen = 'clear'",
        "DELETE FROM sqlveil.pending_acknowledgements",
        "TRUNCATE sqlveil.my_access",
    ] {
        assert_eq!(code(&ana, sql).await, "42501", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_shows_them() {
    let running = stage().await.start().await;
    let said = |args: &[&str]| {
        let output = running.psql("ana", args);
        assert!(output.ok, "{args:?}: {}", output.err);
        output.out
    };
    let described = said(&["-c", "\\d sqlveil.my_access"]);
    assert!(
        described.contains("View \"sqlveil.my_access\"") && described.contains("would_show_more | text"),
        "{described}"
    );
    let described = said(&["-c", "\\d+ sqlveil.my_projects"]);
    assert!(described.contains("purposes     | text[]") && described.contains("may_enter    | boolean"), "{described}");
    let listed = said(&["-A", "-t", "-c", "\\dv+ sqlveil.*"]);
    for name in ["my_access", "my_projects", "my_purposes", "pending_acknowledgements"] {
        assert!(listed.contains(&format!("sqlveil|{name}|view|warehouse")), "{listed}");
    }
    assert!(listed.contains("what would show more"), "{listed}");
    assert!(said(&["-A", "-t", "-c", "\\dn sqlveil"]).contains("sqlveil|"));
    assert!(said(&["-A", "-t", "-c", "SET search_path = sqlveil, public", "-c", "\\dv"]).contains("sqlveil|my_access"));
    // Who does not ask for them has the catalog as the warehouse has it.
    assert!(!said(&["-A", "-t", "-c", "\\dn"]).contains("sqlveil"));
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'sqlveil' ORDER BY 1";
    assert_eq!(said(&["-A", "-t", "-c", tables]), "my_access\nmy_projects\nmy_purposes\npending_acknowledgements\n");
    let columns = "SELECT column_name, data_type, udt_name, is_nullable FROM information_schema.columns WHERE table_schema = 'sqlveil' \
        AND table_name = 'my_purposes' ORDER BY ordinal_position";
    assert_eq!(
        said(&["-A", "-t", "-c", columns]),
        "purpose|text|text|YES\nproject|text|text|YES\nacting|boolean|bool|YES\n"
    );
    assert_eq!(
        said(&[
            "-A",
            "-t",
            "-c",
            "SELECT 'sqlveil.my_access'::regclass::oid > 0, to_regclass('sqlveil.my_acces') IS NULL"
        ]),
        "t|t\n"
    );
    let shown = said(&["-c", "SELECT * FROM sqlveil.my_access WHERE seen = 'masked'"]);
    assert!(shown.contains("Numbers are hashed: Masking (Hash)") && shown.contains("(1 row)"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_much_is_told_is_for_the_configuration_to_say() {
    let running = stage().await.config("my_access: {policies: false, conditions: false}").start().await;
    let ana = running.client("ana").await;
    let told = "SELECT why, would_show_more FROM sqlveil.my_access WHERE table_name = 'emp' AND (column_name IS NULL OR seen = 'masked') ORDER BY 1";
    assert_eq!(
        rows(&ana, told).await,
        ["Masking (Hash)|SET sqlveil.project = 'fraud'", "Row Restriction By User Entitlements|NULL"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_told_at_once() {
    let running = stage().await.start().await;
    let ana = running.client("ana").await;
    let seen = ana.prepare("SELECT seen FROM sqlveil.my_access WHERE column_name = 'ssn'").await.unwrap();
    let now = async || ana.query_one(&seen, &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(now().await, "masked");
    running.write("policies/004.yaml", &crate::MASK.replace("type: data", "type: data\nstaged: true"));
    running.proxy().reload_and_wait().await;
    assert_eq!(now().await, "clear");
    running.write("policies/000.yaml", &crate::subscription("staff", "Staff", "type: manual"));
    running.proxy().reload_and_wait().await;
    assert!(ana.query(&seen, &[]).await.unwrap().is_empty());
    // A login with a project shows what holds there.
    let free = running.try_client("ana+free", PASSWORD, running.database()).await.unwrap();
    assert_eq!(rows(&free, "SELECT project FROM sqlveil.my_purposes WHERE acting").await, ["free"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_warehouse_can_be_called_so() {
    let taken = stage()
        .await
        .sql("CREATE TABLE more (id int)")
        .await
        .source("table: more\nschema: public\nnaming: {datasource: own, schema: sqlveil, table: my_access}");
    let mut said = Vec::new();
    assert!(!sqlveil::cli::check::run(&taken.write(), &mut said, false).await.unwrap());
    let text = String::from_utf8(said).unwrap();
    assert!(text.contains("\"sqlveil\" holds what sqlveil answers itself"), "{text}");
}
