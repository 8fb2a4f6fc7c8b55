//! node-postgres: queries, parameters, names, pools (`node.js`).

use crate::stage::both;
use std::path::Path;
use std::process::Command;

/// Node with node-postgres: from `NODE_PATH`, from where `.ci/setup` puts it, or the distribution's.
fn node() -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let usual = format!("{}:/usr/share/nodejs:/usr/lib/nodejs", here.join("target/clients/node_modules").display());
    let modules = std::env::var("NODE_PATH").unwrap_or(usual);
    let found = Command::new("node").env("NODE_PATH", &modules).args(["-e", "require('pg')"]).output();
    let found = found.is_ok_and(|output| output.status.success());
    assert!(found, "no node-postgres: .ci/setup --test installs it (Debian, Ubuntu: apt-get install nodejs node-pg)");
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).arg(here.join("tests/clients/node.js"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres() {
    both().await.same(node, &[], &[]);
}
