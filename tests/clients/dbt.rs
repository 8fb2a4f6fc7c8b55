//! dbt: connection, tests of sources and of a model, a model's rows, and the documentation's catalog (`dbt/`). Models that it would
//! create are the warehouse's business.

use crate::stage::{Both, both, differences};
use crate::support::PASSWORD;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// dbt: the one in the path, or the one that `.ci/setup` puts beside the build.
fn dbt() -> String {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/dbt/bin/dbt");
    let found = [own.display().to_string(), "dbt".to_owned()]
        .into_iter()
        .find(|dbt| Command::new(dbt).arg("--version").output().is_ok_and(|output| output.status.success()));
    found.expect("no dbt: .ci/setup --test installs it (pip install dbt-core dbt-postgres)")
}

/// What one way says to a command: its lines without times, and the folder that it wrote into.
fn said(both: &Both, dbt: &str, port: u16, args: &[&str]) -> (Vec<String>, Value) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/dbt");
    let target = tempfile::tempdir().unwrap();
    let output = Command::new(dbt)
        .args(["--no-use-colors", "--log-format", "json", "--log-level-file", "none"])
        .args(args)
        .arg("--project-dir")
        .arg(&project)
        .arg("--profiles-dir")
        .arg(&project)
        .env("DBT_TARGET_PATH", target.path())
        .env("DBT_LOG_PATH", target.path())
        .envs([("LOGIN", both.role()), ("PASSWORD", PASSWORD.to_owned()), ("PORT", port.to_string())])
        .env("DATABASE", both.proxy.database())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?} on port {port}\n{out}\n{}", String::from_utf8_lossy(&output.stderr));
    let results = std::fs::read_to_string(target.path().join("run_results.json")).unwrap_or_default();
    let results: Value = serde_json::from_str(&results).unwrap_or_default();
    let status = |r: &Value| format!("{} {} {} {}", r["unique_id"], r["status"], r["failures"], r["message"]);
    let mut lines: Vec<String> = results["results"].as_array().into_iter().flatten().map(status).collect();
    let shown = out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.extend(shown.filter_map(|line| line["data"]["preview"].as_str().map(str::to_owned)));
    lines.sort();
    let catalog = std::fs::read_to_string(target.path().join("catalog.json")).unwrap_or_default();
    (lines, serde_json::from_str(&catalog).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn docs_tests_and_models() {
    let both = both().await;
    let dbt = dbt();
    for (args, least) in [
        (&["debug"] as &[&str], 0),
        (&["test"], 5),
        (&["show", "--select", "by_region", "--output", "json"], 1),
        (&["docs", "generate"], 1),
    ] {
        let [direct, proxied] = [both.server.port(), both.proxy.port].map(|port| said(&both, &dbt, port, args));
        assert!(direct.0.len() >= least, "{args:?}: {:?}", direct.0);
        let wrong = differences(&[direct.0, proxied.0], &[]);
        assert!(wrong.is_empty(), "{args:?}\n{}", wrong.join("\n"));
        let tables = |catalog: &Value| {
            let mut sources = catalog["sources"].clone();
            for source in sources.as_object_mut().into_iter().flat_map(|s| s.values_mut()) {
                source["metadata"]["owner"] = Value::Null;
            }
            sources
        };
        assert_eq!(tables(&direct.1), tables(&proxied.1), "{args:?}");
        if args == ["docs", "generate"] {
            assert_eq!(proxied.1["sources"].as_object().map(|s| s.len()), Some(5), "{}", proxied.1);
        }
    }
}
