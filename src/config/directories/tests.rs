//! Which directories are read, and which are refused and where.

use super::*;
use crate::config::Config;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// Line 5 is the first of `more`.
fn load(more: &str) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    write("master", "0123456789abcdef");
    write("reader", "reader's password");
    let text = format!(
        "governance: governance\nidentity: identity.yaml\nsecret: {{file: master}}\n\
         connections: {{w: {{host: 127.0.0.1, database: demo, user: svc}}}}\n{more}\n"
    );
    Config::load(&write("c.yaml", &text)).map_err(|problems| {
        let base = format!("{}/", folder.path().display());
        problems.iter().map(|p| p.to_string().replace(&base, "")).collect()
    })
}

const SERVER: &str = "ldap: {corp: {url: \"ldap://127.0.0.1\", search: {base: \"dc=example\"}}}";

fn one(rest: &str) -> Result<Arc<Register>, Vec<String>> {
    load(&format!("{SERVER}\ndirectories: {{d: {rest}}}")).map(|config| config.directories[0].clone())
}

fn wrong(rest: &str, why: &str) {
    let problems = one(rest).expect_err(rest);
    assert!(problems.iter().any(|problem| problem.contains(why)), "{rest}: {problems:#?}");
    assert!(problems.iter().all(|problem| problem.starts_with("c.yaml:6:")), "{problems:#?}");
}

#[test]
fn both_kinds_and_their_defaults() {
    let register = one("{kind: ldap, server: corp, groups: {member_of: memberOf}}").unwrap();
    assert_eq!((&*register.name, &*register.iam, register.users), ("d", "d", Users::Declared));
    assert_eq!((register.refresh, register.grace), (Duration::from_secs(300), Duration::from_secs(3600)));
    assert_eq!((register.timeout, register.lookups), (Duration::from_secs(5), 4));
    let Kind::Ldap(directory) = &register.kind else { panic!("{register:?}") };
    assert_eq!(
        (directory.person.base.as_str(), directory.person.filter.as_deref()),
        ("dc=example", Some("(uid={user})"))
    );
    assert_eq!(directory.person.name, "uid");
    let groups = directory.groups.as_ref().unwrap();
    assert_eq!((groups.name.as_str(), groups.nested), ("cn", true));
    // By login names alone groups in groups cannot be found.
    let posix = one("{kind: ldap, server: corp, groups: {search: {base: b, filter: \"(memberUid={user})\"}}}").unwrap();
    assert!(matches!(&posix.kind, Kind::Ldap(directory) if !directory.groups.as_ref().unwrap().nested));

    let register = one(
        "{kind: sql, iam: corp, users: any, refresh: 1m, grace: 1d, connection: {host: /run/postgresql, database: hr, user: reader}, \
         user: \"SELECT login FROM hr.staff WHERE login = $1 -- note\", groups: \"SELECT 'x' WHERE $1 = $1\", attributes: \"VALUES ($1, 'v')\"}",
    )
    .unwrap();
    let Kind::Sql(directory) = &register.kind else { panic!("{register:?}") };
    assert_eq!(
        directory.user.as_ref().unwrap().sql,
        "SELECT pg_catalog.left(_sv.c0::pg_catalog.text, 1025) FROM (SELECT login FROM hr.staff WHERE login = $1 -- note\n) AS _sv (c0) LIMIT 10001"
    );
    // With a directory to use it, a server without a rule is no mistake.
    let config =
        load(&format!("{SERVER}\ndirectories: {{d: {{kind: ldap, server: corp, attributes: {{city: l}}}}}}")).unwrap();
    assert_eq!(config.warnings, []);
}

#[test]
fn what_cannot_be_meant_is_refused_at_its_line() {
    wrong("{kind: nis}", "unknown kind of directory");
    wrong("{kind: ldap, server: other, attributes: {a: l}}", "`other` is not declared");
    wrong("{kind: ldap, server: corp}", "says nothing of users");
    wrong("{kind: ldap, server: corp, groups: {}}", "`member_of` and `search`");
    wrong("{kind: ldap, server: corp, groups: {member_of: \"memberOf;x\"}}", "not the name of an LDAP attribute");
    wrong(
        "{kind: ldap, server: corp, groups: {search: {base: b, filter: \"(cn=Staff)\"}}}",
        "does not hold {dn} or {user}",
    );
    wrong("{kind: ldap, server: corp, groups: {search: {base: b, filter: \"(member={dn}\"}}}", "not an LDAP filter");
    wrong(
        "{kind: ldap, server: corp, user: {base: b, filter: \"(member={dn})\"}, attributes: {a: l}}",
        "no meaning here",
    );
    let posix = "search: {base: b, filter: \"(memberUid={user})\"}, nested: true";
    wrong(&format!("{{kind: ldap, server: corp, groups: {{{posix}}}}}"), "cannot be found by login names");
    wrong("{kind: ldap, server: corp, bind_dn: x, attributes: {a: l}}", "belong together");
    wrong("{kind: ldap, server: corp, attributes: {a: l}, refresh: 10m, grace: 10m}", "`grace` is below");
    wrong("{kind: ldap, server: corp, attributes: {a: l}, refresh: 100ms}", "asked about all the time");
    wrong("{kind: ldap, server: corp, attributes: {a: l}, users: some}", "declared or any");
    wrong("{kind: ldap, server: corp, attributes: {a: l}, iam: \"\"}", "an empty text");
    wrong("{kind: ldap, server: corp, attributes: {a: l}, connection: {}}", "unknown key `connection`");

    let sql = |queries: &str| {
        format!("{{kind: sql, connection: {{host: /run/postgresql, database: hr, user: reader}}, {queries}}}")
    };
    wrong(&sql("user: \"SELECT login FROM s WHERE login = $1\""), "says nothing of users");
    wrong(&sql("users: any, groups: \"SELECT $1\""), "needs to know who there is");
    for (query, why) in [
        ("SELECT team FROM m", "there is no $1"),
        ("SELECT team FROM m WHERE login = $2", "$1 is the only parameter"),
        ("SELECT team FROM m WHERE login = $1 AND x = $2", "$1 is the only parameter"),
        ("SELECT team FROM m WHERE login = $1;", "inside another"),
        ("SELECT $1; DROP TABLE m", "not one statement"),
        ("DELETE FROM m WHERE login = $1 RETURNING team", "not a SELECT"),
        ("SELECT team INTO x FROM m WHERE login = $1", "not a SELECT"),
        ("SELECT team FROM m WHERE login = $1 FOR UPDATE", "not a SELECT"),
        ("SELECT team FROM m WHERE login = '$1'", "there is no $1"),
        ("SELECT $1) AS x, (SELECT 1", "not SQL"),
        ("SELEC $1", "not SQL"),
    ] {
        wrong(&sql(&format!("groups: \"{query}\"")), why);
    }
    wrong(
        "{kind: sql, groups: \"SELECT $1\", connection: {host: h, database: d, user: u, pool: {}}}",
        "unknown key `pool`",
    );
}

#[test]
fn a_way_on_which_others_could_answer_is_warned_of() {
    let config = load(
        "directories: {d: {kind: sql, groups: \"SELECT $1\", connection: {host: db.example.com, database: d, user: u}}}",
    )
    .unwrap();
    assert!(config.warnings.iter().any(|w| w.message.contains("somebody on the way")), "{:?}", config.warnings);
}

/// What is put in is not looked at again, whatever it looks like.
#[test]
fn names_fill_a_template_once() {
    assert_eq!(fill("(a={user})(b={dn})({user})", "{dn}", "{user}"), "(a={dn})(b={user})({dn})");
    assert_eq!(fill("no mark", "u", "d"), "no mark");
}
