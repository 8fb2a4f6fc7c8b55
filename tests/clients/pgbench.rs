//! pgbench: every mode, pipelines too, with several clients; the answers are those of the warehouse or pgbench says so.

use crate::stage::both;
use crate::support::PASSWORD;
use std::process::Command;

/// Values go through the script's own variables, so that a wrong answer is a failed division.
const ONE_BY_ONE: &str = "\\set id random(1, 2)
SELECT id, 1 / (id = :id)::int AS right FROM region WHERE id = :id \\gset
SELECT count(*) AS n FROM sale WHERE customer_id = :id \\gset
BEGIN;
SELECT 1 / (:n > 200)::int;
END;
";

const PIPELINE: &str = "\\set id random(1, 2)
\\startpipeline
SELECT 1 / (id = :id)::int FROM region WHERE id = :id;
SELECT 1 / (count(*) = 700)::int FROM sale;
BEGIN;
SELECT name FROM customer WHERE id = :id;
COMMIT;
SELECT * FROM sale WHERE id < 50 ORDER BY id;
\\endpipeline
";

#[tokio::test(flavor = "multi_thread")]
async fn modes_and_pipelines() {
    let both = both().await;
    let folder = tempfile::tempdir().unwrap();
    for (name, script, modes) in
        [("one", ONE_BY_ONE, &["simple", "extended", "prepared"][..]), ("pipe", PIPELINE, &["extended", "prepared"])]
    {
        let file = folder.path().join(name);
        std::fs::write(&file, script).unwrap();
        for mode in modes {
            let output = Command::new(both.server.programs().join("pgbench"))
                .args(["-n", "-h", "127.0.0.1", "-p", &both.proxy.port.to_string(), "-U", &both.role()])
                .args(["-M", mode, "-c", "4", "-j", "2", "-t", "25", "-f"])
                .arg(&file)
                .arg(both.proxy.database())
                .env("PGPASSWORD", PASSWORD)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.contains("actually processed: 100/100"),
                "{mode} {name}: {said}{errors}"
            );
        }
    }
}
