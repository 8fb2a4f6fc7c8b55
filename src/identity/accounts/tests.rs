use super::writing::Needs;
use super::*;
use crate::governance::problem::any_error;

const IDENTITY: &str = "# by hand\nusers:\n  - {name: ana, groups: [Staff]}   # head of sales\n  - {name: gone, disabled: true}\n\
    groups:\n  - {name: Staff, attributes: {city: Bonn}}\n  - {name: Team, iam: ldap}\n";

fn files(folder: &Path) -> Files {
    let identity = folder.join("identity.yaml");
    std::fs::write(&identity, IDENTITY).unwrap();
    Files::beside(&identity)
}

fn change(files: &Files, change: impl FnOnce(&mut Accounts)) -> Result<(), Vec<Problem>> {
    let changed = files.change(Needs::Whole, |accounts, _| {
        change(accounts);
        Ok(())
    });
    changed.map(drop)
}

fn has(groups: &[(&str, &str)]) -> Has {
    let groups = groups.iter().map(|(name, iam)| Group { name: (*name).into(), iam: (*iam).into() }).collect();
    Has { iam: "local".into(), groups, attributes: BTreeMap::from([("level".into(), vec!["3".into()])]) }
}

fn token(validity_seconds: u64) -> Token {
    Token {
        id: fresh::uuid().unwrap(),
        client_id: format!("apikey-{}", fresh::uuid().unwrap()),
        display_name: "nightly".into(),
        description: String::new(),
        has: has(&[("Staff", "local")]),
        created_by: Some("ana".into()),
        created: Timestamp::now(),
        validity_seconds,
        verifier: Verifier::from_password(b"x", 1, b"salt"),
        disabled: false,
        revoked: None,
    }
}

fn person(name: &str) -> Person {
    Person { name: name.into(), has: has(&[("Team", "ldap")]), state: State::default() }
}

fn account(name: &str) -> SqlAccount {
    SqlAccount {
        name: name.into(),
        user: "ana".into(),
        project: None,
        created: Timestamp::now(),
        minutes: 5,
        verifier: Verifier::from_password(b"x", 1, b"salt"),
        revoked: None,
    }
}

const NAME: &str = "temp1635366310923d8b65qm6279";

#[test]
fn what_is_written_is_read_and_joined() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let nightly = token(NEVER);
    let change = Change {
        name: "ana".into(),
        state: State {
            verifier: Some(nightly.verifier.clone()),
            revoked: vec![Revoked::of(&nightly.verifier)],
            expires: Some("2030-01-01T00:00:00Z".parse().unwrap()),
            ..State::default()
        },
    };
    files
        .change(Needs::Whole, |accounts, _| {
            accounts.users.push(person("zoë"));
            accounts.changes.push(change.clone());
            accounts.tokens.push(nightly.clone());
            accounts.sql_accounts.push(account(NAME));
            Ok(())
        })
        .unwrap();
    assert_eq!(std::fs::read_to_string(&files.identity).unwrap(), IDENTITY, "what a human wrote stays");
    let (identities, _) = files.load().unwrap();
    let user = &identities.users[nightly.login().as_str()];
    assert_eq!(user.attributes["city"].len(), 1, "those of its group");
    assert!(user.attributes["level"].iter().any(|v| v.value == "3" && &*v.iam == "local"));
    assert_eq!(identities.users["zoë"].groups.len(), 1);
    let ana = &identities.users["ana"];
    assert!(ana.verifier.is_some() && ana.expires.is_some() && ana.revoked.len() == 1);
    assert_eq!(&*identities.temporary[NAME].user, "ana");
}

#[test]
fn what_does_not_fit_is_written_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    change(&files, |accounts| accounts.users.push(person("zoë"))).unwrap();
    let before = std::fs::read(&files.accounts).unwrap();
    type Spoil<'a> = &'a dyn Fn(&mut Accounts);
    let spoils: [(&str, Spoil<'_>); 13] = [
        ("in the identity file too", &|a: &mut Accounts| a.users.push(person("ana"))),
        ("twice", &|a: &mut Accounts| a.users.push(person("zoë"))),
        ("no name", &|a: &mut Accounts| a.users.push(person(""))),
        ("a token's name", &|a: &mut Accounts| a.users.push(person(&token(1).login()))),
        ("an account's name", &|a: &mut Accounts| a.users.push(person(NAME))),
        ("no such group", &|a: &mut Accounts| a.tokens.push(Token { has: has(&[("Nobody", "local")]), ..token(1) })),
        ("another provider's group", &|a: &mut Accounts| {
            a.tokens.push(Token { has: has(&[("Team", "local")]), ..token(1) })
        }),
        ("no client id", &|a: &mut Accounts| a.tokens.push(Token { client_id: "apikey-x".into(), ..token(1) })),
        ("no seconds", &|a: &mut Accounts| a.tokens.push(token(0))),
        ("too many seconds", &|a: &mut Accounts| a.tokens.push(token(NEVER + 1))),
        ("one id twice", &|a: &mut Accounts| {
            let one = token(1);
            a.tokens.push(Token { client_id: token(1).client_id, ..one.clone() });
            a.tokens.push(one);
        }),
        ("any name", &|a: &mut Accounts| a.sql_accounts.push(account("bob"))),
        ("one account twice", &|a: &mut Accounts| a.sql_accounts.extend([account(NAME), account(NAME)])),
    ];
    for (what, spoil) in spoils {
        let problems = change(&files, spoil).unwrap_err();
        assert!(any_error(&problems), "{what}");
        assert_eq!(std::fs::read(&files.accounts).unwrap(), before, "{what}");
    }
}

#[test]
fn nothing_here_lifts_what_the_identity_file_forbids() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let open = State { expires: Some("2099-01-01T00:00:00Z".parse().unwrap()), ..State::default() };
    change(&files, |accounts| accounts.changes.push(Change { name: "gone".into(), state: open })).unwrap();
    assert!(files.load().unwrap().0.users["gone"].disabled);
    // Somebody who is gone from the identity file: told, and no error.
    std::fs::write(&files.identity, IDENTITY.replace("name: gone", "name: other")).unwrap();
    let (_, warnings) = files.load().unwrap();
    assert!(warnings.iter().any(|w| !w.is_error() && w.message.contains("\"gone\"")), "{warnings:?}");
}

#[test]
fn a_file_that_is_no_accounts_file_is_told_without_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let verifier = token(1).verifier.to_string();
    for text in [
        "".to_owned(),
        "[]".to_owned(),
        "{\"tokens\": [".to_owned(),
        "{\"token\": []}".to_owned(),
        format!("{{\"users\": [{{\"name\": \"a\", \"disabled\": \"{verifier}\"}}]}}"),
        format!("{{\"users\": [{{\"name\": \"a\", \"verifyer\": \"{verifier}\"}}]}}"),
        format!("{{\"users\": [{{\"name\": \"a\", \"verifier\": \"{verifier}x\"}}]}}"),
        format!("{{\"users\": [{{\"name\": \"a\", \"verifier\": null, \"x{verifier}\": 1}}]}}"),
        "{\"users\": [], \"users\": []}".to_owned(),
    ] {
        std::fs::write(&files.accounts, &text).unwrap();
        let problems = files.load().unwrap_err();
        let said: String = problems.iter().map(ToString::to_string).collect();
        assert!(
            said.contains("not an accounts file") && !said.contains("SCRAM") && !said.contains('='),
            "{text}: {said}"
        );
        assert!(files.change(Needs::Whole, |_, _| Ok(())).is_err());
        assert_eq!(std::fs::read_to_string(&files.accounts).unwrap(), text, "it is not overwritten");
    }
    // A file that was named has to be there; one nobody speaks of need not.
    std::fs::remove_file(&files.accounts).unwrap();
    assert!(files.load().is_ok());
    assert!(Files { named: true, ..files }.load().is_err());
}

#[test]
fn many_writers_lose_nothing_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    std::fs::write(folder.path().join(".accounts.json-dead.new"), "half").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let files = &files;
            scope.spawn(move || {
                for n in 0..5 {
                    change(files, |a| a.users.push(person(&format!("user {writer} {n}")))).unwrap();
                }
            });
        }
    });
    assert_eq!(files.accounts().unwrap().users.len(), 30);
    let names = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(names, [".accounts.json.lock", "accounts.json", "identity.yaml"]);
}

#[test]
fn who_may_read_it_stays_and_a_link_stays_a_link() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    let add = |name: &str| change(&files, |a| a.users.push(person(name))).unwrap();
    add("one");
    assert_eq!(mode(&files.accounts), 0o600);
    std::fs::set_permissions(&files.accounts, std::fs::Permissions::from_mode(0o640)).unwrap();
    add("two");
    assert_eq!(mode(&files.accounts), 0o640);
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::rename(&files.accounts, elsewhere.join("kept.json")).unwrap();
    symlink("elsewhere/kept.json", &files.accounts).unwrap();
    add("three");
    assert!(std::fs::symlink_metadata(&files.accounts).unwrap().is_symlink());
    assert_eq!(files.accounts().unwrap().users.len(), 3);
}

#[test]
fn what_ends_a_token_waits_for_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    change(&files, |a| a.tokens.push(token(NEVER))).unwrap();
    std::fs::write(&files.identity, "users: [").unwrap();
    assert!(files.change(Needs::Whole, |_, _| Ok(())).is_err());
    let revoke = |a: &mut Accounts, _: &Identities| {
        a.tokens[0].revoked = Some(Timestamp::now());
        Ok(())
    };
    files.change(Needs::Alone, revoke).unwrap();
    assert!(files.accounts().unwrap().tokens[0].revoked.is_some());
}

#[test]
fn ends() {
    assert_eq!(token(NEVER).expires(), None);
    let one = token(60);
    assert_eq!(one.expires().unwrap().duration_since(one.created).as_secs(), 60);
    let far = SqlAccount { minutes: u64::MAX, ..account(NAME) };
    assert_eq!(far.expires(), Timestamp::MIN, "what cannot be computed has ended");
}
