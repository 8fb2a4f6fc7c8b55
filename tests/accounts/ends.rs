//! Whoever is ended is out, whatever else is wrong: with the other file, with a group, with the folder.

use crate::commands::{account, known, run, token};
use crate::running;
use crate::sessions::{Idle, cell, idle};
use crate::support::{PASSWORD, Running};
use sqlveil::world::Outcome;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn identity(running: &Running) -> (PathBuf, String) {
    let path = running.folder().join("identity.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

async fn let_it_notice(running: &Running) {
    assert!(matches!(running.proxy().reload_and_wait().await, Outcome::Refused(_)));
}

async fn out(running: &Running, user: &str, secret: &str) -> bool {
    running.try_client(user, secret, running.database()).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_identity_file_keeps_nobody_in() {
    let running = running().await;
    let (one, other) = (token(&running, &[]), token(&running, &[]));
    let (name, password) = account(&running, &["--user", "ana"]);
    known(&running, &one.user, &one.secret).await;
    known(&running, &name, &password).await;
    known(&running, &other.user, &other.secret).await;
    let sessions: [Idle; 3] = [
        idle(&running, &one.user, &one.secret).await,
        idle(&running, &name, &password).await,
        idle(&running, "bob", PASSWORD).await,
    ];
    let stays = [idle(&running, "ana", PASSWORD).await, idle(&running, &other.user, &other.secret).await];
    let (path, text) = identity(&running);
    std::fs::write(&path, format!("{text}  - {{name: \n")).unwrap();
    let_it_notice(&running).await;
    for words in [["token", "revoke", &one.id], ["account", "revoke", &name], ["user", "disable", "bob"]] {
        let said = run(&running, &words);
        // Done, and what else is wrong is told.
        assert!(said.ok && said.err.contains("identity.yaml"), "{words:?}: {said:?}");
    }
    let since = Instant::now();
    for session in &sessions {
        session.is_ended(since).await;
    }
    // Who has to be looked up there first is not guessed at.
    for words in [&["user", "revoke", "ana"][..], &["user", "expire", "ana", "now"], &["user", "enable", "bob"]] {
        assert!(run(&running, words).wrong().contains("identity.yaml"), "{words:?}");
    }
    assert!(stays.iter().all(Idle::is_there));
    std::fs::write(&path, text).unwrap();
    assert!(matches!(running.proxy().reload_and_wait().await, Outcome::Published(_)));
    assert!(out(&running, "bob", PASSWORD).await && out(&running, &one.user, &one.secret).await);
    run(&running, &["user", "enable", "bob"]).fine();
    known(&running, "bob", PASSWORD).await;
}

/// The files do not fit each other: nothing new counts, ends do, and commands that end go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_gone_keeps_nobody_in() {
    let running = running().await;
    let (one, other) = (token(&running, &["--group", "Auditors"]), token(&running, &[]));
    known(&running, &one.user, &one.secret).await;
    known(&running, &other.user, &other.secret).await;
    let sessions = [idle(&running, &other.user, &other.secret).await, idle(&running, "bob", PASSWORD).await];
    let (path, text) = identity(&running);
    let without = text.replace("  - {name: 'Auditors'}\n", "").replace("'Auditors'", "'Staff'");
    assert!(!without.contains("Auditors"), "{without}");
    std::fs::write(&path, without.replace("'Staff', 'Staff'", "'Staff'")).unwrap();
    let_it_notice(&running).await;
    run(&running, &["token", "revoke", &other.id]).fine();
    run(&running, &["user", "disable", "bob"]).fine();
    let since = Instant::now();
    for session in &sessions {
        session.is_ended(since).await;
    }
    assert!(
        run(&running, &["token", "create", "--display-name", "x", "--validity-seconds", "9"])
            .wrong()
            .contains("Auditors")
    );
    assert!(!out(&running, &one.user, &one.secret).await, "she has done nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_file_that_is_broken_or_lost_keeps_nobody_in_and_lets_nobody_back_in() {
    let running = running().await;
    let one = token(&running, &[]);
    run(&running, &["user", "disable", "bi"]).fine();
    known(&running, &one.user, &one.secret).await;
    let (token_session, bob) = (idle(&running, &one.user, &one.secret).await, idle(&running, "bob", PASSWORD).await);
    let file = running.folder().join("accounts.json");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &good[..good.len() / 2]).unwrap();
    let_it_notice(&running).await;
    // What it says cannot be known; it is not shown either, and not overwritten.
    for words in [&["token", "revoke", &one.id][..], &["token", "list"], &["user", "disable", "ana"], &["user", "list"]]
    {
        let err = run(&running, words).wrong();
        assert!(err.contains("it ends in the middle") && !err.contains("SCRAM-SHA-256$"), "{words:?}: {err}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), good[..good.len() / 2]);
    let (path, text) = identity(&running);
    std::fs::write(&path, text.replace("{name: 'bob',", "{name: 'bob', disabled: true,")).unwrap();
    bob.is_ended(Instant::now()).await;
    assert!(token_session.is_there() && out(&running, "bi", PASSWORD).await);
    // Lost, though nobody named it: a proxy that has seen it does not take it for one that never was.
    std::fs::remove_file(&file).unwrap();
    let_it_notice(&running).await;
    assert!(out(&running, "bi", PASSWORD).await && token_session.is_there());
    // An empty one means it.
    std::fs::write(&file, "{}").unwrap();
    known(&running, "bi", PASSWORD).await;
    token_session.is_ended(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_stream_of_changes_nor_a_link_puts_an_end_off() {
    let running = running().await;
    let (file, elsewhere) = (running.folder().join("accounts.json"), running.folder().join("elsewhere"));
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("kept.json"), "{}").unwrap();
    std::os::unix::fs::symlink("elsewhere/kept.json", &file).unwrap();
    running.proxy().reload_and_wait().await;
    let (one, other) = (token(&running, &[]), token(&running, &[]));
    known(&running, &one.user, &one.secret).await;
    known(&running, &other.user, &other.secret).await;
    let first = idle(&running, &one.user, &one.secret).await;
    assert_eq!(cell(&first.client, "SELECT 1").await, "1");
    run(&running, &["token", "revoke", &one.id]).fine();
    first.is_ended(Instant::now()).await;
    assert!(file.is_symlink());

    let second = idle(&running, &other.user, &other.secret).await;
    let noise = running.folder().join("noise");
    let busy = tokio::spawn(async move {
        for n in 0.. {
            std::fs::write(&noise, n.to_string()).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    run(&running, &["token", "revoke", &other.id]).fine();
    second.is_ended(Instant::now()).await;
    busy.abort();
}
