//! pgbench's own TPC-B script through the proxy, in all three modes.

use crate::support::{PASSWORD, Stage, server};
use crate::world::rows;
use std::process::{Command, Stdio};

#[tokio::test(flavor = "multi_thread")]
async fn tpc_b_has_no_failed_transaction() {
    let stage = Stage::new().await.writable().await;
    let program = server().programs().join("pgbench");
    let made = Command::new(&program)
        .args([
            "-i",
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            &server().port().to_string(),
            "-U",
            server().superuser(),
            &stage.database,
        ])
        .env("PGPASSWORD", server().password())
        .output()
        .expect("pgbench");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tables = ["pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history"];
    let who = "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n";
    let mask = "policyKey: filler\nname: filler\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Filler}], maskingConfig: {type: Hash}}\n\
        circumstances: [{type: columnTags, columnTag: Filler}]\n";
    let rule = "policyKey: aids\nname: aids\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"bid = 1\"}\n\
        circumstances: [{type: columnTags, columnTag: Bid}]\n";
    let running = stage
        .sources(&[
            ("pgbench_accounts", "{filler: [Filler], bid: [Bid]}"),
            ("pgbench_branches", "{}"),
            ("pgbench_tellers", "{filler: [Filler]}"),
            ("pgbench_history", "{bid: [Bid]}"),
        ])
        .user("ana", &["Staff"], &[])
        .policy(who)
        .policy(mask)
        .policy(rule)
        .writes("ana", &tables)
        .start()
        .await;
    for mode in ["simple", "extended", "prepared"] {
        let run = Command::new(&program)
            .args([
                "-n",
                "-t",
                "100",
                "-c",
                "3",
                "-M",
                mode,
                "-h",
                "127.0.0.1",
                "-p",
                &running.port.to_string(),
                "-U",
                "ana",
            ])
            .arg(running.database())
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .expect("pgbench");
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(
            run.status.success() && said.contains("transactions actually processed: 300/300"),
            "{mode}: {said}{complaints}"
        );
        assert!(!complaints.contains("ERROR"), "{mode}: {complaints}");
    }
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches),
        (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history)";
    assert_eq!(rows(running.admin(), sums).await, ["t|t|900"]);
}
