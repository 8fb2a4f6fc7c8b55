//! pg_dump: what the caller may see, as INSERTs.

use crate::stage::{both, differences};
use std::process::{Command, Stdio};

#[tokio::test(flavor = "multi_thread")]
async fn of_the_data() {
    let both = both().await;
    let dumped = |way: usize| {
        let program = both.server.programs().join("pg_dump");
        let mut command = Command::new(program);
        command.args(["--data-only", "--inserts", "--enable-row-security", &both.urls()[way]]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // A key of pg_dump's own, made anew each time, and owners in comments.
        let kept = |line: &&str| {
            !line.is_empty()
                && !line.starts_with("\\restrict")
                && !line.starts_with("\\unrestrict")
                && !line.starts_with("--")
        };
        text.lines().filter(kept).map(str::to_owned).collect::<Vec<_>>()
    };
    let (direct, proxied) = (dumped(0), dumped(1));
    assert!(direct.iter().filter(|line| line.starts_with("INSERT")).count() > 700);
    // Sequences count rows: they are not shown.
    let wrong = differences(&[direct, proxied], &["pg_catalog.setval"]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
