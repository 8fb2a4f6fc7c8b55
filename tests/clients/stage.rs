//! The warehouse that clients look at, and what they said of it on both ways.

use crate::support::{ANYONE, PASSWORD, PrivatePostgres, Running, Stage};
use sqlveil::identity::scram::Verifier;
use std::process::{Command, Stdio};

/// The relations that are registered, all of them.
const SOURCES: [&str; 9] =
    ["region", "customer", "sale", "sale_2024", "sale_2025", "sale_rest", "rich", "totals", "hidden"];

/// A warehouse and a proxy before it.
pub struct Both {
    /// The proxy.
    pub proxy: Running,
    /// The warehouse.
    pub server: &'static PrivatePostgres,
}

/// Starts both; nothing is hidden from the role.
pub async fn both() -> Both {
    with(|stage, user| {
        let sources: Vec<(&str, &str)> = SOURCES.iter().map(|table| (*table, "{}")).collect();
        stage.sources(&sources).source("table: Odd Name\nschema: more").policy(ANYONE).raw_user(&format!("{{{user}}}"))
    })
    .await
}

/// Starts both with the documents that `register` adds; it is given the role's name and verifier as part of a flow mapping.
pub async fn with(register: impl FnOnce(Stage, &str) -> Stage) -> Both {
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
    let proxy = register(stage, &format!("name: {role}, verifier: '{verifier}'")).start().await;
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

    /// The role that asks, of the same name on both ways.
    pub fn role(&self) -> String {
        format!("looks_{}", self.proxy.database())
    }

    /// What psql says differently on the two ways, if anything. Owners have one name through the proxy, and the width of columns follows.
    pub fn same_psql(&self, args: &[&str]) -> Option<String> {
        let role = self.role();
        let (direct, proxied) = (self.proxy.direct_psql(&role, args), self.proxy.psql(&role, args));
        let lines = |out: &str, err: &str| {
            let words = |line: &str| line.split([' ', '-']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
            format!("{out}{err}").lines().map(|line| words(line).replace("admin", "warehouse")).collect::<Vec<_>>()
        };
        let both = [lines(&direct.out, &direct.err), lines(&proxied.out, &proxied.err)];
        let wrong = differences(&both, &[]);
        (!wrong.is_empty()).then(|| format!("{args:?}\n{}", wrong.join("\n")))
    }

    /// The lines that a client says on the bare warehouse, and those that it says through the proxy.
    pub fn asked(&self, command: impl Fn() -> Command, settings: &[(&str, &str)]) -> [Vec<String>; 2] {
        [self.server.port(), self.proxy.port].map(|port| self.asked_at(port, &command, settings))
    }

    /// The lines that a client says on one of the two.
    pub fn asked_at(&self, port: u16, command: impl Fn() -> Command, settings: &[(&str, &str)]) -> Vec<String> {
        let mut command = command();
        self.settings(&mut command, port);
        command.envs(settings.iter().copied());
        let output = command.stdin(Stdio::null()).output().expect("the client runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let whole = output.status.success() && said.trim_end().ends_with("done");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(whole, "{settings:?} on port {port}: {}\n{said}\n{errors}", output.status);
        said.lines().map(str::to_owned).collect()
    }

    /// Tells a client where to ask.
    pub fn settings(&self, command: &mut Command, port: u16) {
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        let database = self.proxy.database();
        let jdbc = format!(
            "jdbc:postgresql://127.0.0.1:{port}/{database}?user=looks_{database}&password={}",
            PASSWORD.replace(' ', "%20")
        );
        command.env("URL", self.url(port)).env("JDBC_URL", jdbc).env("LC_ALL", "C.UTF-8");
    }

    /// Holds that a client says the same on both ways but for the lines that `differs` knows of.
    pub fn same(&self, command: impl Fn() -> Command, settings: &[(&str, &str)], differs: &[&str]) {
        let asked = self.asked(command, settings);
        let wrong = differences(&asked, differs);
        assert!(wrong.is_empty(), "{settings:?}\n{}", wrong.join("\n"));
    }
}

/// The lines that only one of the two has (`-` the bare warehouse, `+` the proxy), or that come in another order, but for those with a
/// word of `differs` in them.
pub fn differences(both: &[Vec<String>; 2], differs: &[&str]) -> Vec<String> {
    let known = |line: &&String| differs.iter().any(|what| line.contains(what));
    let [direct, proxied] = both.each_ref().map(|lines| lines.iter().filter(|line| !known(line)).collect::<Vec<_>>());
    if direct == proxied {
        return Vec::new();
    }
    let only = |sign: char, these: &[&String], those: &[&String]| {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let mut wrong = only('-', &direct, &proxied);
    wrong.extend(only('+', &proxied, &direct));
    if wrong.is_empty() {
        wrong.push(format!("the same lines in another order or number:\n{direct:#?}\n{proxied:#?}"));
    }
    wrong
}
