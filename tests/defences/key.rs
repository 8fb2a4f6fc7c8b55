//! The key of kept plans: the same words of two callers are two statements.

use crate::support::{ANYONE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_kept_for_its_caller() {
    let running = Stage::new()
        .await
        .sql("CREATE TABLE t (id int PRIMARY KEY, city text); INSERT INTO t VALUES (1, 'Bonn'), (2, 'Ulm')")
        .await
        .source("table: t\nschema: public")
        .policy(ANYONE)
        .policy(
            "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
             config: {matches: [{type: attribute, attribute: city, column: city}]}\n",
        )
        .user("ana", &[], &[("city", &["Bonn"])])
        .user("bob", &[], &[("city", &["Ulm"])])
        .start()
        .await;
    for (user, id) in [("ana", 1), ("bob", 2), ("ana", 1)] {
        let rows = running.client(user).await.query("SELECT id FROM t", &[]).await.expect("rows");
        let ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(ids, [id], "{user}");
    }
}
