//! The warehouse that clients look at, and what they said of it on both ways.

use crate::support::{ANYONE, PASSWORD, PrivatePostgres, Running, Stage};
use sqlveil::identity::scram::Verifier;
use std::process::{Command, Stdio};

/// The relations that are registered, all of them.
const SOURCES: [&str; 8] = ["region", "customer", "sale", "sale_2024", "sale_2025", "rich", "totals", "hidden"];

/// A warehouse and a proxy before it.
pub struct Both {
    /// The proxy.
    pub proxy: Running,
    /// The warehouse.
    pub server: &'static PrivatePostgres,
}

/// Starts both.
pub async fn both() -> Both {
    let stage = Stage::new().await.sql(include_str!("schema.sql")).await;
    let role = format!("looks_{}", stage.database);
    // Roles are the whole server's, and the name is the same on both ways.
    let created = format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'");
    let granted = format!(
        "GRANT CONNECT, TEMPORARY ON DATABASE {0} TO {role}; GRANT USAGE ON SCHEMA more, public TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA more TO {role};
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}, {1};
         GRANT USAGE ON SCHEMA more TO {1}; GRANT SELECT ON ALL TABLES IN SCHEMA more TO {1}",
        stage.database,
        stage.service().0
    );
    let stage = stage.sql(&created).await.sql(&granted).await;
    let server = stage.server();
    // pgjdbc takes no fewer rounds.
    let verifier = Verifier::from_password(PASSWORD.as_bytes(), 4096, b"salt of clients");
    let sources: Vec<(&str, &str)> = SOURCES.iter().map(|table| (*table, "{}")).collect();
    let stage = stage.sources(&sources).source("table: Odd Name\nschema: more");
    let proxy = stage.policy(ANYONE).raw_user(&format!("{{name: {role}, verifier: '{verifier}'}}")).start().await;
    Both { proxy, server }
}

impl Both {
    /// The bare warehouse, and the proxy.
    pub fn urls(&self) -> [String; 2] {
        [self.server.port(), self.proxy.port].map(|port| self.url(port))
    }

    fn url(&self, port: u16) -> String {
        let database = self.proxy.database();
        format!("postgresql://looks_{database}:{}@127.0.0.1:{port}/{database}", PASSWORD.replace(' ', "%20"))
    }

    /// The lines that a client says on the bare warehouse, and those that it says through the proxy.
    pub fn asked(&self, command: impl Fn() -> Command, settings: &[(&str, &str)]) -> [Vec<String>; 2] {
        [self.server.port(), self.proxy.port].map(|port| {
            let mut command = command();
            for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
                command.env_remove(name);
            }
            let database = self.proxy.database();
            let jdbc = format!(
                "jdbc:postgresql://127.0.0.1:{port}/{database}?user=looks_{database}&password={}",
                PASSWORD.replace(' ', "%20")
            );
            command
                .env("URL", self.url(port))
                .env("JDBC_URL", jdbc)
                .envs(settings.iter().copied())
                .env("LC_ALL", "C.UTF-8");
            let output = command.stdin(Stdio::null()).output().expect("the client runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let whole = output.status.success() && said.trim_end().ends_with("done");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(whole, "{settings:?} on port {port}: {}\n{said}\n{errors}", output.status);
            said.lines().map(str::to_owned).collect()
        })
    }

    /// Holds that a client says the same on both ways but for what `differs` knows of, by the beginning of the line.
    pub fn same(&self, command: impl Fn() -> Command, settings: &[(&str, &str)], differs: &[&str]) {
        let [direct, proxied] = self.asked(command, settings);
        let mut wrong = Vec::new();
        assert_eq!(direct.len(), proxied.len(), "{direct:#?}\n{proxied:#?}");
        for (direct, proxied) in direct.iter().zip(&proxied) {
            let known = differs.iter().any(|what| direct.starts_with(what) && proxied.starts_with(what));
            if direct != proxied && !known {
                wrong.push(format!("direct:  {direct}\nproxied: {proxied}"));
            }
        }
        assert!(wrong.is_empty(), "{settings:?}\n{}", wrong.join("\n"));
    }
}
