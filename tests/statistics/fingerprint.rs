//! Fingerprints: taken by the command, read by masks.

use crate::support::{ANYONE, Running, Stage};
use crate::{masking, simple};
use std::process::Command;

fn take(running: &Running, args: &[&str]) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_sqlveil"))
        .args(["fingerprint", "--config"])
        .arg(running.config_file())
        .args(args)
        .output()
        .expect("sqlveil fingerprint");
    (out.status.success(), String::from_utf8(out.stdout).expect("text"))
}

async fn stage() -> Running {
    let group = |columns: &str, config: &str| masking("ann", columns, config);
    Stage::new()
        .await
        .sql(
            "CREATE TABLE log (id int PRIMARY KEY, n int, num numeric(9,3), f float8, d date, ts timestamp, tz timestamptz, t time, word text, rare text, o int);
             INSERT INTO log SELECT i, i * 10, i / 4.0, i * 0.001, '2010-01-01'::date + i * 5, '2020-01-01'::timestamp + i * interval '1 hour',
                 '2020-01-01 00:00+00'::timestamptz + i * interval '1 minute', '08:00'::time + i * interval '30 seconds',
                 CASE i % 3 WHEN 0 THEN 'low' WHEN 1 THEN 'mid' ELSE 'high' END, CASE WHEN i = 5 THEN 'one of a kind' ELSE 'common' END, 7
             FROM generate_series(0, 999) i;
             INSERT INTO log (id, f, d, num, ts) VALUES (5000, 'NaN', 'infinity', 'NaN', '-infinity'), (5001, 'Infinity', '-infinity', NULL, NULL);
             CREATE TABLE empty (n int, d date)",
        )
        .await
        .source("{table: log, schema: public}")
        .source("{table: empty, schema: public}")
        .policy(ANYONE)
        .user("ann", &["ann"], &[])
        .user("raw", &[], &[])
        .policy(&group("n|num|f|d|ts|tz|t|o", "type: Grouping"))
        .policy(&group("word|rare", "type: Randomized Response, replacementRatePercent: 50"))
        .start()
        .await
}

const COUNTS: &str = "SELECT count(DISTINCT n), count(DISTINCT num), count(DISTINCT f), count(DISTINCT d), count(DISTINCT ts), count(DISTINCT tz), \
    count(DISTINCT t), count(DISTINCT o), count(DISTINCT word) FROM log WHERE id < 5000";

#[tokio::test]
async fn taken_and_in_force() {
    let running = stage().await;
    let client = running.client("ann").await;
    assert_eq!(simple(&client, COUNTS).await, ["0|0|0|0|0|0|0|0|0"], "NULL until there is a fingerprint");

    let (fine, said) = take(&running, &["--values", "5"]);
    assert!(fine, "{said}");
    assert!(said.contains("log: 1002 rows, 11 columns: "), "{said}");
    let text = std::fs::read_to_string(running.governance().join("fingerprints/log.yaml")).expect("written");
    for line in [
        "dataSource: \"log\"",
        "rows: 1002",
        "- name: \"n\"\n  min: \"0\"\n  max: \"9990\"\n",
        "- name: \"f\"\n  min: \"0\"\n  max: \"0.999\"\n",
        "- name: \"d\"\n  min: \"2010-01-01\"\n  max: \"2023-09-05\"\n",
        "  values:\n  - \"high\"\n  - \"low\"\n  - \"mid\"\n",
        "- name: \"rare\"\n  values:\n  - \"common\"\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("one of a kind"), "{text}");
    running
        .eventually("the fingerprint is in force", async |_| simple(&client, COUNTS).await[0] != "0|0|0|0|0|0|0|0|0")
        .await;
    let counts = simple(&client, COUNTS).await.remove(0);
    // n by 1000, num by 50 (0 to 249.75: 25 → 50), f by 0.1, d by year, ts (41 days) by day, tz (16 hours) by hour, t (8 hours) by minute.
    assert_eq!(counts, "10|5|10|14|42|17|500|1|3");
    let rows = simple(&client, "SELECT n, num, d, ts, t, o FROM log WHERE id = 7").await;
    assert_eq!(rows, ["0|0.000|2010-01-01|2020-01-01 00:00:00|08:03:00|6"]);
    // Nothing moves when rows are added: buckets are those of the fingerprint.
    running.admin().batch_execute("INSERT INTO log (id, n) VALUES (6000, 1000000)").await.expect("a row");
    assert_eq!(simple(&client, "SELECT n FROM log WHERE id IN (7, 6000) ORDER BY id").await, ["0", "1000000"]);

    // Without values nothing of texts is written.
    let (fine, said) = take(&running, &["--data-source", "log"]);
    assert!(fine && !said.contains("empty"), "{said}");
    let text = std::fs::read_to_string(running.governance().join("fingerprints/log.yaml")).expect("written");
    assert!(!text.contains("values") && !text.contains("word"), "{text}");
    let checked =
        Command::new(env!("CARGO_BIN_EXE_sqlveil")).args(["check", "--config"]).arg(running.config_file()).output();
    let checked = String::from_utf8(checked.expect("check").stdout).expect("text");
    assert!(
        checked.contains(
            "Randomized Response of column \"word\" of \"public.log\" needs a fingerprint that lists its values"
        ),
        "{checked}"
    );
}

#[tokio::test]
async fn what_is_asked_wrong_is_told() {
    let running = stage().await;
    let (fine, said) = take(&running, &["--data-source", "lgo"]);
    assert!(!fine && said.contains("there is no data source \"lgo\""), "{said}");
    let (fine, said) = take(&running, &["--connection", "nowhere"]);
    assert!(!fine && said.contains("there is no connection \"nowhere\""), "{said}");
    let other = running.folder().join("elsewhere");
    let (fine, said) = take(&running, &["--output", other.to_str().unwrap()]);
    assert!(fine, "{said}");
    assert!(other.join("log.yaml").exists() && !running.governance().join("fingerprints").exists());
    // An empty table has no range.
    let text = std::fs::read_to_string(other.join("empty.yaml")).expect("written");
    assert!(text.contains("rows: 0") && !text.contains("columns"), "{text}");

    // A fingerprint of what is not there keeps the last set in force.
    let client = running.client("ann").await;
    running.write(
        "fingerprints/bad.yaml",
        "dataSource: log\ninstant: 2026-01-01\nrows: 1\ncolumns: [{name: nn, min: 1, max: 2}]\n",
    );
    running.write("policies/999.yaml", "policyKey: null all\nname: x\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: allColumns}], maskingConfig: {type: 'Null'}}\n");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(simple(&client, "SELECT id FROM log WHERE id = 1").await, ["1"]);
    let checked =
        Command::new(env!("CARGO_BIN_EXE_sqlveil")).args(["check", "--config"]).arg(running.config_file()).output();
    let checked = checked.expect("check");
    let said = String::from_utf8(checked.stdout).expect("text");
    assert!(!checked.status.success() && said.contains("\"log\" has no column \"nn\""), "{said}");
    // It can be taken again nonetheless.
    let (_, said) = take(&running, &[]);
    assert!(
        said.contains("log: 1002 rows") && said.contains("bad.yaml holds an older fingerprint of \"log\": remove it"),
        "{said}"
    );
}
