//! A proxy over one table, of which who is in Staff sees the rows of his cities; who is there, and two directories.

use crate::papers::Papers;
use crate::slapd::Slapd;
use crate::support::{PASSWORD, Running, Stage, server};
use sqlveil::cli::demo::warehouse;
use sqlveil::identity::scram::Verifier;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_postgres::Client;

/// What a user sees, in one line.
pub const CITIES: &str = "SELECT current_user || ': ' || coalesce(string_agg(city, ' ' ORDER BY city), '') FROM cities";

/// Nothing of the identity file's own lets anybody see anything: groups come from elsewhere.
pub async fn stage() -> Stage {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE cities (city text); INSERT INTO cities VALUES ('Bonn'), ('Rome'), ('Oslo');
             CREATE TABLE pay (amount int); INSERT INTO pay VALUES (1)",
        )
        .await
        .source("table: cities\nschema: public\ntags: {table: [Cities], columns: [{columnName: city, tags: [City]}]}")
        .source("table: pay\nschema: public\ntags: {table: [Pay]}")
        .tags(&["Cities", "City", "Pay"])
        .policy(&entitled("staff", "Cities", "groups: [Staff]"))
        .policy(&entitled("pay", "Pay", "groups: [{name: Payroll, iam: corp}]"))
        .policy(
            "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
             config: {matches: {type: attribute, attribute: city, tag: City}}\n\
             circumstances: [{type: columnTags, columnTag: City}]\n",
        )
        .connection("\n    connect_timeout: 30s")
        .raw_group("{name: Staff, iam: corp, attributes: {city: [Bonn]}}")
        .raw_group("{name: Payroll, iam: corp}")
}

fn entitled(key: &str, tag: &str, whom: &str) -> String {
    format!(
        "policyKey: {key}\nname: {key}\ntype: subscription\nactions: {{type: entitlements, entitlements: {{{whom}}}}}\n\
         circumstances: [{{type: tags, tag: {tag}}}]\n"
    )
}

/// An entry of the identity file: somebody who can log in and has nothing of his own.
pub fn person(name: &str, iam: &str) -> String {
    let verifier = Verifier::from_password(PASSWORD.as_bytes(), 1, b"salt");
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    format!("{{name: {}, iam: {iam}, verifier: {}}}", quoted(name), quoted(&verifier.to_string()))
}

/// Everybody of a list, with the provider `corp`.
pub async fn people(names: &[&str]) -> Stage {
    names.iter().fold(stage().await, |stage, name| stage.raw_user(&person(name, "corp")))
}

/// ana and bob are in Staff themselves; tom by a group in a group in a group; cyc by groups that are in each other. `kim` is in
/// nothing. memberOf says the same.
const ENTRIES: &str = "dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=reader,dc=example,dc=org
objectClass: person
cn: reader
sn: reader
userPassword: reader's password
";

fn entry_of(name: &str, city: &str, member_of: &[&str]) -> String {
    let groups: Vec<String> =
        member_of.iter().map(|group| format!("memberOf: cn={group},ou=groups,dc=example,dc=org\n")).collect();
    format!(
        "\ndn: uid={name},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\nl: {city}\n\
         userPassword: {name}'s password\n{}",
        groups.concat()
    )
}

fn group_of(name: &str, members: &[&str], member_of: &[&str]) -> String {
    let line = |key: &str, name: &str| format!("{key}: {name},dc=example,dc=org\n");
    let members: Vec<String> = members.iter().map(|member| line("member", member)).collect();
    let above: Vec<String> = member_of.iter().map(|group| line("memberOf", &format!("cn={group},ou=groups"))).collect();
    format!(
        "\ndn: cn={name},ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: {name}\n{}{}",
        members.concat(),
        above.concat()
    )
}

/// An LDAP server with these people, and further entries.
pub fn ldap(papers: &Papers, more: &str) -> Slapd {
    ldap_with(papers, more, "")
}

/// The same with settings of the server.
pub fn ldap_with(papers: &Papers, more: &str, settings: &str) -> Slapd {
    let people = [
        entry_of("ana", "Oslo", &["Staff"]),
        entry_of("bob", "Rome", &["Staff", "Payroll"]),
        entry_of("tom", "Rome", &["Team"]),
        entry_of("cyc", "Oslo", &["Loop1"]),
        entry_of("kim", "Oslo", &[]),
    ];
    let groups = [
        group_of("Staff", &["uid=ana,ou=people", "uid=bob,ou=people", "cn=Dept,ou=groups", "cn=Loop2,ou=groups"], &[]),
        group_of("Payroll", &["uid=bob,ou=people"], &[]),
        group_of("Team", &["uid=tom,ou=people"], &["Dept"]),
        group_of("Dept", &["cn=Team,ou=groups"], &["Staff"]),
        group_of("Loop1", &["uid=cyc,ou=people", "cn=Loop2,ou=groups"], &["Loop2"]),
        group_of("Loop2", &["cn=Loop1,ou=groups"], &["Loop1", "Staff"]),
    ];
    Slapd::with(papers, &format!("{ENTRIES}{}{}{more}", people.concat(), groups.concat()), settings)
}

/// The `ldap` section for it, by a port of this machine.
pub fn ldap_server(papers: &Papers, port: u16) -> String {
    let password = papers.write("reader", "reader's password").display().to_string();
    format!(
        "ldap:\n  corp:\n    url: \"ldap://127.0.0.1:{port}\"\n    timeout: 30s\n    search: {{base: \"ou=people,dc=example,dc=org\", \
         bind_dn: \"cn=reader,dc=example,dc=org\", password: {{file: {password}}}}}\n"
    )
}

/// Groups found by their members.
pub const BY_MEMBER: &str = "groups: {search: {base: \"ou=groups,dc=example,dc=org\"}}, attributes: {city: l}";
/// Groups found by memberOf.
pub const BY_MEMBER_OF: &str = "groups: {member_of: memberOf}, attributes: {city: l}";

/// A directory `corp` at the server `corp`.
pub fn ldap_directory(papers: &Papers, port: u16, rest: &str) -> String {
    let patience = if rest.contains("timeout") || rest.contains("grace") { "" } else { ", timeout: 30s" };
    format!("{}directories:\n  corp: {{kind: ldap, server: corp, {rest}{patience}}}\n", ldap_server(papers, port))
}

/// A database that is a directory: who is there (`staff`), who is in what (`membership`), who has what (`traits`).
pub struct Database {
    pub name: String,
    pub admin: Client,
}

impl Database {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With further words for CREATE DATABASE.
    pub async fn with(how: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("directory_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let root = warehouse::admin(server(), "postgres").await.unwrap();
        root.batch_execute(&format!("CREATE DATABASE {name} {how}")).await.unwrap();
        let admin = warehouse::admin(server(), &name).await.unwrap();
        admin
            .batch_execute(&format!(
                "CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}';
                 CREATE SCHEMA hr; GRANT USAGE ON SCHEMA hr TO {name};
                 CREATE TABLE hr.staff (login text PRIMARY KEY);
                 CREATE TABLE hr.membership (login text, team text);
                 CREATE TABLE hr.traits (login text, name text, value text);
                 GRANT SELECT ON ALL TABLES IN SCHEMA hr TO {name};
                 INSERT INTO hr.staff VALUES ('ana'), ('bob'), ('kim');
                 INSERT INTO hr.membership VALUES ('ana', 'Staff'), ('bob', 'Staff'), ('bob', 'Payroll');
                 INSERT INTO hr.traits VALUES ('ana', 'city', 'Oslo'), ('bob', 'city', 'Rome')"
            ))
            .await
            .unwrap();
        Self { name, admin }
    }

    pub async fn sql(&self, statements: &str) {
        self.admin.batch_execute(statements).await.unwrap();
    }

    /// A directory by a port of this machine, by default with these queries.
    pub fn directory(&self, papers: &Papers, name: &str, port: u16, rest: &str) -> String {
        let password = papers.write(&self.name, PASSWORD).display().to_string();
        let queries = "groups: SELECT team FROM hr.membership WHERE login = $1\n    \
                       attributes: SELECT name, value FROM hr.traits WHERE login = $1\n";
        format!(
            "  {name}:\n    kind: sql\n    connection: {{host: 127.0.0.1, port: {port}, database: {0}, user: {0}, \
             password: {{file: {password}}}, sslmode: disable, connect_timeout: 30s}}\n    {1}{rest}{2}",
            self.name,
            if rest.contains("SELECT") { "" } else { queries },
            // Patient, where the test is not about patience: the machine may be busy.
            if rest.contains("timeout") || rest.contains("grace") { "" } else { "    timeout: 30s\n" },
        )
    }
}

/// The port of the warehouse's server, where the databases that are directories are as well.
pub fn database_port() -> u16 {
    server().port()
}

/// What somebody sees.
pub async fn sees(client: &Client) -> Result<String, (String, String)> {
    match client.query_one(CITIES, &[]).await {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Err(code(&error)),
    }
}

/// SQLSTATE and message.
pub fn code(error: &tokio_postgres::Error) -> (String, String) {
    let server = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (server.code().code().to_owned(), server.message().to_owned())
}

/// The words of what one is not subscribed to.
pub fn nothing() -> Result<String, (String, String)> {
    Err(("42P01".to_owned(), "relation \"cities\" does not exist".to_owned()))
}

/// A login that fails.
pub async fn refused(running: &Running, user: &str) -> (String, String) {
    match running.try_client(user, PASSWORD, running.database()).await {
        Ok(_) => panic!("{user} logs in"),
        Err(error) => code(&error),
    }
}
