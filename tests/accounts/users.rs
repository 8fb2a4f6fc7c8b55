//! Users of the command line, beside those a human wrote.

use crate::commands::{json, known, run, with_password};
use crate::sessions::{cell, idle};
use crate::support::PASSWORD;
use crate::{SEEN, running};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn added_given_a_password_disabled_expired_removed() {
    let running = running().await;
    let identity = running.folder().join("identity.yaml");
    let written = std::fs::read_to_string(&identity).unwrap();
    let config = running.config_file();
    let add = ["user", "add", "eva", "--group", "Staff", "--attribute", "city=Oslo", "--attribute", "city=Bonn"];
    with_password(&config, &add, Some("first of all passwords")).fine();
    known(&running, "eva", "first of all passwords").await;
    let eva = idle(&running, "eva", "first of all passwords").await;
    assert_eq!(cell(&eva.client, SEEN).await, "eva: Bonn Oslo, 0");
    // A new password: the old one is good no more, who is there stays.
    with_password(&config, &["user", "verifier", "eva"], Some("second of all passwords")).fine();
    known(&running, "eva", "second of all passwords").await;
    assert!(running.try_client("eva", "first of all passwords", running.database()).await.is_err());
    assert!(eva.is_there());
    // A revoked one: what it and those before it began ends.
    run(&running, &["user", "revoke", "eva"]).fine();
    eva.is_ended(Instant::now()).await;
    assert!(running.try_client("eva", "second of all passwords", running.database()).await.is_err());
    with_password(&config, &["user", "verifier", "eva"], Some("third of all passwords")).fine();
    known(&running, "eva", "third of all passwords").await;
    for (words, back) in [
        (&["user", "disable", "eva"][..], &["user", "enable", "eva"][..]),
        (&["user", "expire", "eva", "now"], &["user", "expire", "eva", "never"]),
    ] {
        let eva = idle(&running, "eva", "third of all passwords").await;
        run(&running, words).fine();
        eva.is_ended(Instant::now()).await;
        assert!(running.try_client("eva", "third of all passwords", running.database()).await.is_err());
        run(&running, back).fine();
        known(&running, "eva", "third of all passwords").await;
    }
    let eva = idle(&running, "eva", "third of all passwords").await;
    run(&running, &["user", "remove", "eva"]).fine();
    eva.is_ended(Instant::now()).await;
    assert_eq!(std::fs::read_to_string(&identity).unwrap(), written, "what a human wrote is not rewritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_the_identity_file_are_changed_beside_it() {
    let running = running().await;
    let bob = idle(&running, "bob", PASSWORD).await;
    run(&running, &["user", "revoke", "bob"]).fine();
    bob.is_ended(Instant::now()).await;
    assert!(running.try_client("bob", PASSWORD, running.database()).await.is_err());
    with_password(&running.config_file(), &["user", "verifier", "bob"], Some("another sesame")).fine();
    known(&running, "bob", "another sesame").await;
    let list = json(&running, &["user", "list"]);
    let bob = list.as_array().unwrap().iter().find(|user| user["name"] == "bob").unwrap();
    assert_eq!(
        (&bob["writtenIn"], &bob["changed"], &bob["password"]),
        (&"identity.yaml".into(), &true.into(), &"set".into())
    );
    // Forgetting it would make the revoked password good again, or let in who is kept out.
    assert!(run(&running, &["user", "remove", "bob"]).wrong().contains("keeps him out"));
    for (name, words) in [("ana", &["disable"][..]), ("bi", &["expire", "now"])] {
        let mut all = vec!["user", words[0], name];
        all.extend(&words[1..]);
        run(&running, &all).fine();
        assert!(run(&running, &["user", "remove", name]).wrong().contains("take him out of the identity file first"));
    }
    run(&running, &["user", "enable", "ana"]).fine();
    // Back to what the human wrote, with another password there.
    let path = running.folder().join("identity.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let verifier = |name: &str| {
        let line = text.lines().find(|line| line.contains(&format!("name: '{name}'"))).unwrap();
        let at = line.find("SCRAM-SHA-256$").unwrap();
        line[at..].split(['\'', '"', ',', '}']).next().unwrap().to_owned()
    };
    let text = text.replace(&verifier("bob"), &sqlveil::identity::Verifier::generate(PASSWORD.as_bytes()).to_string());
    std::fs::write(&path, &text).unwrap();
    run(&running, &["user", "remove", "bob"]).fine();
    known(&running, "bob", PASSWORD).await;
    // Who is disabled there is not enabled here.
    std::fs::write(
        &path,
        text.replace("{name: 'bob',", "{name: 'bob', disabled: true, expires: 2040-01-01T00:00:00Z,"),
    )
    .unwrap();
    assert!(run(&running, &["user", "enable", "bob"]).wrong().contains("is disabled in "));
    assert!(run(&running, &["user", "expire", "bob", "never"]).wrong().contains("expire sooner in "));
    run(&running, &["user", "expire", "bob", "2035-01-01T00:00:00Z"]).fine();
    let table = run(&running, &["user", "list"]).fine();
    let line = table.lines().find(|line| line.starts_with("bob ")).unwrap();
    assert!(
        line.contains("disabled  2035-01-01T00:00:00Z") && line.contains("identity.yaml + accounts.json"),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_and_nothing_is_written() {
    let running = running().await;
    let config = running.config_file();
    let good = "a password that is fine";
    with_password(&config, &["user", "add", "eva"], Some(good)).fine();
    // Documents may name him.
    running.write(
        "projects/eva.yaml",
        "projectKey: eva\nname: Eva\npurposes: [Other]\nmembers: [{type: user, name: eva}]\n",
    );
    let file = running.folder().join("accounts.json");
    let before = std::fs::read(&file).unwrap();
    for (words, password, told) in [
        (&["user", "add", "ana"][..], good, "exists already"),
        (&["user", "add", "eva"], good, "exists already"),
        (&["user", "add", "kim"], "", "a password has"),
        (&["user", "add", "kim"], "short", "weak"),
        (&["user", "add", "kim"], "password123", "weak"),
        (&["user", "add", "kimberly"], "Kimberly1999", "weak"),
        (&["user", "add", "kim", "--group", "staff"], good, "\"staff\" is not declared"),
        (&["user", "add", "kim", "--expires", "tomorrow"], good, "no instant"),
        (&["user", "add", "kim", "--expires", "2020-01-01T00:00:00Z"], good, "expired already"),
        (&["user", "add", "kim", "--password", good], good, "unexpected argument"),
        (&["user", "add", "a\u{1b}[2J"], good, "a login name has 1 to 63 bytes"),
        // Names that look like another's: in capitals, in wide letters, with something invisible, turned around.
        (&["user", "add", "Ana"], good, "looks like that of the user \"ana\""),
        (&["user", "add", "\u{ff41}na"], good, "looks like that of the user \"ana\""),
        (&["user", "add", "ana\u{200b}"], good, "cannot be told apart"),
        (&["user", "add", "ana\u{3164}"], good, "cannot be told apart"),
        (&["user", "add", "ana\u{2800}"], good, "cannot be told apart"),
        (&["user", "add", "ana "], good, "begins or ends with a blank"),
        (&["user", "add", " bob"], good, "begins or ends with a blank"),
        (&["user", "add", "ana+fraud"], good, "stands before the key of a project"),
        (&["user", "add", ""], good, "a login name has 1 to 63 bytes"),
        (&["user", "add", "a\nb"], good, "a login name has 1 to 63 bytes"),
        (&["user", "add", "service-account-apikey-1"], good, "kept for API tokens"),
        (&["user", "add", "\u{202e}ana"], good, "cannot be told apart"),
        (&["user", "add", "kim\u{ad}"], good, "cannot be told apart"),
        (&["user", "verifier", "kim"], good, "does not exist"),
        (&["user", "verifier", "ana", good], good, "unexpected argument"),
        (&["user", "disable", "kim"], "", "does not exist"),
        (&["user", "revoke", "ANA"], "", "does not exist"),
        (&["user", "expire", "ana", "2027-02-30T00:00:00Z"], "", "no instant"),
        (&["user", "expire", "ana", "2027-02-28"], "", "no instant"),
        (&["user", "remove", "ana"], "", "identity file"),
        (&["user", "remove", "eva"], "", "eva"),
    ] {
        let err = with_password(&config, words, Some(password)).wrong();
        assert!(err.contains(told), "{words:?}: {err}");
        assert!(
            !err.contains('\u{1b}') && (password.len() < 9 || !err.contains(password) || words.contains(&password)),
            "{err}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), before, "{words:?}");
    }
    let missing = with_password(&running.folder().join("nowhere.yaml"), &["user", "list"], None).wrong();
    assert!(missing.contains("nowhere.yaml"), "{missing}");
}

/// Asked on a terminal: twice, and not shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_asks_twice_and_shows_nothing() {
    use std::io::{Read as _, Write as _};
    let running = running().await;
    let binary = env!("CARGO_BIN_EXE_sqlveil");
    let ask = |name: &str, answers: [&str; 2]| {
        let line = format!("'{binary}' user add {name} --config '{}'", running.config_file().display());
        let mut command = std::process::Command::new("script");
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).env_remove("SQLVEIL_LOG");
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().expect("script, of util-linux, runs");
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut said = Vec::new();
        for (question, answer) in ["Password: ", "Again: "].into_iter().zip(answers) {
            while !String::from_utf8_lossy(&said).contains(question) {
                let mut byte = [0];
                assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
                said.push(byte[0]);
            }
            writeln!(stdin, "{answer}").unwrap();
        }
        let _ = stdout.read_to_end(&mut said);
        (child.wait().unwrap().success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (ok, said) = ask("eva", ["typed on a terminal", "typed on a terminal"]);
    assert!(ok && said.contains("Password: ") && said.contains("Again: "), "{said}");
    assert!(!said.contains("typed on"), "it is shown: {said}");
    known(&running, "eva", "typed on a terminal").await;
    let (ok, said) = ask("kim", ["typed on a terminal", "typed another time"]);
    assert!(!ok && said.contains("differ"), "{said}");
}
