//! Passwords that an LDAP server knows: psql and an OpenLDAP server of our own.

use crate::papers::Papers;
use crate::slapd::Slapd;
use crate::stage::{answer, error, stage};
use crate::support::{Output, Running};
use std::time::Instant;

fn ask(running: &Running, user: &str, password: &str) -> Output {
    running.psql_as(user, password, running.database(), &["-At", "-c", "SELECT current_user"])
}

fn failed(user: &str) -> String {
    format!("LDAP authentication failed for user \"{user}\"")
}

fn config(papers: &Papers, server: &str) -> String {
    let ca = papers.folder().join("ca.crt").display().to_string();
    format!(
        "ldap:\n  corp: {{ca: {ca}, {server}}}\nauthentication:\n- {{method: ldap, server: corp}}\nlimits: {{failed_logins: 0}}\n"
    )
}

const NAME: &str = "bind_dn: \"uid={user},ou=people,dc=example,dc=org\"";

fn search(papers: &Papers) -> String {
    let password = papers.write("reader", "reader's password").display().to_string();
    format!(
        "search: {{base: \"ou=people,dc=example,dc=org\", filter: \"(&(uid={{user}})(employeeType=analyst))\", \
         bind_dn: \"cn=reader,dc=example,dc=org\", password: {{file: {password}}}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn by_name_over_tls_and_by_search_over_start_tls() {
    let papers = Papers::new();
    let slapd = Slapd::start(&papers);
    let by_name = format!("url: \"ldaps://localhost:{}\", {NAME}", slapd.tls_port);
    let by_search = format!("url: \"ldap://localhost:{}\", start_tls: true, {}", slapd.port, search(&papers));
    for server in [by_name, by_search] {
        let running = stage(&config(&papers, &server)).await;
        assert_eq!(answer(&ask(&running, "ana", "ana's password")), "ana");
        assert_eq!(answer(&ask(&running, "tom", "tom's password")), "tom");
        for (user, password) in [
            ("ana", "tom's password"),
            // Without a password a bind is anonymous, and succeeds (psql sends none that is empty: see below).
            ("ana", " "),
            // Right, and disabled here; right, and not known here; known to nobody.
            ("bob", "bob's password"),
            ("ida", "ida's password"),
            ("nobody", "x"),
            // LDAP does not mind the case and blanks of names; we do.
            ("ANA", "ana's password"),
            ("ana ", "ana's password"),
            ("twin", "twin's password"),
            // Names that would be more than a value in a filter or an entry's name.
            ("*", "ana's password"),
            ("an*", "ana's password"),
            ("ana)(uid=*", "ana's password"),
            ("x)(|(uid=ana", "ana's password"),
            ("ana,ou=people", "ana's password"),
            // The part behind the plus is a project and no part of the name that is bound.
            ("ana+cn=ana", "x"),
            ("\\61na", "ana's password"),
            ("{user}", "x"),
        ] {
            let shown = user.split_once('+').map_or(user, |(name, _)| name);
            assert_eq!(error(&ask(&running, user, password)), failed(shown), "{user}");
        }
    }
}

/// RFC 4513, 5.1.2: a bind without a password is an anonymous one, and succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_is_never_right() {
    use crate::raw::{Raw, frame, startup};
    let papers = Papers::new();
    let slapd = Slapd::start(&papers);
    for server in [NAME.to_owned(), search(&papers)] {
        let running = stage(&config(&papers, &format!("url: \"ldap://127.0.0.1:{}\", {server}", slapd.port))).await;
        for (password, expected) in
            [(&b"\0"[..], "E 28000"), (b"ana's password\0", "R"), (b"", "E 08P01"), (b"a\0b\0", "E 08P01")]
        {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", running.port)).await.unwrap();
            let mut raw = Raw { stream, parameters: Vec::new(), key: (0, Vec::new()), negotiated: None };
            raw.send(&startup(0, &[("user", "ana"), ("database", running.database())])).await;
            assert_eq!(raw.next().await.unwrap().body, [0, 0, 0, 3]);
            raw.send(&frame(b'p', password)).await;
            assert_eq!(raw.next().await.unwrap().line(), expected, "{:?}", String::from_utf8_lossy(password));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_of_its_provider_when_it_has_one() {
    let papers = Papers::new();
    let slapd = Slapd::start(&papers);
    let server = format!("url: \"ldap://127.0.0.1:{}\", iam: corp, {NAME}", slapd.port);
    let running = stage(&config(&papers, &server)).await;
    assert_eq!(answer(&ask(&running, "ana", "ana's password")), "ana");
    assert_eq!(error(&ask(&running, "tom", "tom's password")), failed("tom"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_slow_or_somebody_else_lets_nobody_in() {
    let papers = Papers::new();
    let slapd = Slapd::start(&papers);
    let port = slapd.tls_port;
    // Somebody else's certificate.
    let stranger = Papers::new();
    let running = stage(&config(&stranger, &format!("url: \"ldaps://localhost:{port}\", {NAME}"))).await;
    assert_eq!(error(&ask(&running, "ana", "ana's password")), failed("ana"));
    // A server that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ldap://{}", silent.local_addr().unwrap());
    let running = stage(&config(&papers, &format!("url: \"{url}\", timeout: 300ms, {NAME}"))).await;
    let began = Instant::now();
    assert_eq!(error(&ask(&running, "ana", "ana's password")), failed("ana"));
    assert!(began.elapsed().as_secs() < 5);
    // One that is down, and one whose service account may not search.
    let running = stage(&config(&papers, &format!("url: \"ldaps://localhost:{port}\", {NAME}"))).await;
    assert_eq!(answer(&ask(&running, "ana", "ana's password")), "ana");
    let unknown = search(&papers).replace("cn=reader", "cn=writer");
    let searching = stage(&config(&papers, &format!("url: \"ldap://127.0.0.1:{}\", {unknown}", slapd.port))).await;
    assert_eq!(error(&ask(&searching, "ana", "ana's password")), failed("ana"));
    drop(slapd);
    assert_eq!(error(&ask(&running, "ana", "ana's password")), failed("ana"));
}
