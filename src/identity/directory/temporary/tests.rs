use super::*;
use crate::config::Secret;
use crate::governance::model::{Owner, Project};
use crate::identity::ServerExchange;
use crate::identity::accounts::{Accounts, Change, Has, Person, Present, SqlAccount, State, Token};
use crate::identity::file::Identities;
use crate::identity::scram::{SCRAM_SHA_256, Verifier};
use std::collections::BTreeMap;

const NAME: &str = "temp1635366310923d8b65qm6279";
const TOKEN: &str = "service-account-apikey-ac69de56-6529-4c8f-b53c-791cb5346308";

fn verifier() -> Verifier {
    // As the command line makes them, but quick.
    Verifier::from_password(b"x", 7, b"0123456789abcdef")
}

fn identities() -> Identities {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.yaml");
    let people = Verifier::from_password(b"x", 3, b"01234567");
    std::fs::write(
        &path,
        format!(
            "users: [{{name: ana, groups: [Staff], verifier: '{people}'}}, {{name: bob}}]\ngroups: [{{name: Staff}}]\n"
        ),
    )
    .unwrap();
    let (mut found, _) = crate::identity::file::load(&path).unwrap();
    let account = |user: &str, project: Option<&str>| Temporary {
        user: user.into(),
        project: project.map(Into::into),
        until: "2030-01-01T00:00:00Z".parse().unwrap(),
        revoked: false,
        verifier: verifier(),
    };
    found.temporary.insert(NAME.into(), account("ana", Some("p")));
    found.temporary.insert("free1635366310923d8b65qm6279".into(), account("ana", None));
    let token = User { verifier: Some(verifier()), kept: true, ..found.users["bob"].clone() };
    found.users.insert(TOKEN.into(), token);
    found
}

fn project(key: &str, member: &str) -> Project {
    Project {
        key: key.into(),
        name: key.into(),
        purposes: Vec::new(),
        description: None,
        data_sources: Vec::new(),
        members: vec![Owner { is_group: false, name: member.into(), iam: None }],
        open_to_anyone: false,
        entitlements: None,
        allow_masked_joins: false,
        equalization: None,
        origin: Default::default(),
    }
}

fn directory(identities: Identities, member: &str) -> Directory {
    Directory::new(identities, &[project("p", member), project("q", "ana")], &[], &Secret::new("key")).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const BEFORE: &str = "2029-12-31T23:59:59Z";

#[test]
fn an_account_is_its_user_in_its_project_alone() {
    let directory = directory(identities(), "ana");
    let login = directory.login_of(&NAME.into());
    assert_eq!((&*login.user, &**login.name()), ("ana", NAME));
    let caller = directory.caller_at(&login, Some("p"), at(BEFORE)).unwrap();
    assert_eq!((&*caller.user, caller.project.as_deref(), caller.groups.len()), ("ana", Some("p"), 1));
    for elsewhere in [Some("q"), Some("nowhere"), None] {
        assert_eq!(directory.caller_at(&login, elsewhere, at(BEFORE)).unwrap_err().code.0, "42501", "{elsewhere:?}");
    }
    let free = directory.login_of(&"free1635366310923d8b65qm6279".into());
    assert!(directory.caller_at(&free, None, at(BEFORE)).is_ok());
    assert!(directory.caller_at(&free, Some("p"), at(BEFORE)).is_err());
    assert_eq!(directory.caller_at(&login, Some("p"), at("2030-01-01T00:00:00Z")).unwrap_err().code.0, "28000");
    // Logins of the user himself are bound to nothing.
    assert!(directory.caller_at(&directory.login_of(&"ana".into()), Some("q"), at(BEFORE)).is_ok());
}

#[test]
fn it_ends_with_its_user_his_membership_or_itself() {
    let good = directory(identities(), "ana");
    let login = good.login_of(&NAME.into());
    assert!(good.account_may_act(&login, at(BEFORE)));
    let without = |change: &dyn Fn(&mut Identities)| {
        let mut changed = identities();
        change(&mut changed);
        directory(changed, "bob")
    };
    let kept = without(&|_| {});
    assert!(!kept.account_may_act(&login, at(BEFORE)), "no member any more");
    let changes: [&dyn Fn(&mut Identities); 5] = [
        &|i: &mut Identities| i.users.get_mut("ana").unwrap().disabled = true,
        &|i: &mut Identities| i.temporary.get_mut(NAME).unwrap().revoked = true,
        &|i: &mut Identities| drop(i.temporary.remove(NAME)),
        &|i: &mut Identities| i.temporary.get_mut(NAME).unwrap().project = None,
        &|i: &mut Identities| i.temporary.get_mut(NAME).unwrap().user = "bob".into(),
    ];
    for change in changes {
        let mut changed = identities();
        change(&mut changed);
        let changed = directory(changed, "ana");
        assert!(changed.caller_at(&login, Some("p"), at(BEFORE)).is_err());
        assert!(!changed.account_may_act(&login, at(BEFORE)) && changed.stands(&login).is_err());
    }
}

/// The server's first message for a login, from the salt on; and whether the right proof would do.
fn challenge(directory: &Directory, user: &str) -> String {
    let mut exchange = ServerExchange::new(directory.verifier_at(user, at(BEFORE)), None);
    let reply = String::from_utf8(exchange.client_first(SCRAM_SHA_256, b"n,,n=,r=abc").unwrap()).unwrap();
    reply.split_once(",s=").unwrap().1.to_owned()
}

#[test]
fn guessing_names_tells_nothing() {
    let directory = directory(identities(), "ana");
    let shape = |user: &str| {
        let challenge = challenge(&directory, user);
        (challenge.len(), challenge.split_once(",i=").unwrap().1.to_owned())
    };
    // Nobody's names look as those of somebody of their kind.
    assert_eq!(shape(TOKEN), shape("service-account-apikey-00000000-0000-4000-8000-000000000000"));
    assert_eq!(shape(NAME), shape("temp0000000000000aaaaaaaaaaa"));
    assert_eq!(shape("ana"), shape("nobody"));
    assert_ne!(shape("ana"), shape(TOKEN));
    // The salt stays when an account or token ends.
    let before = (challenge(&directory, NAME), challenge(&directory, TOKEN));
    let mut ended = identities();
    ended.temporary.get_mut(NAME).unwrap().revoked = true;
    ended.users.get_mut(TOKEN).unwrap().disabled = true;
    let ended = self::directory(ended, "ana");
    assert_eq!((challenge(&ended, NAME), challenge(&ended, TOKEN)), before);
}

#[test]
fn a_revoked_password_ends_what_it_began_and_no_more() {
    let directory_with = |revoked: &[&Verifier], now: &Verifier| {
        let mut changed = identities();
        let ana = changed.users.get_mut("ana").unwrap();
        ana.revoked = revoked.iter().map(|v| v.fingerprint()).collect();
        ana.verifier = Some(now.clone());
        directory(changed, "ana")
    };
    let (first, second, third) =
        (verifier(), Verifier::from_password(b"y", 7, b"s"), Verifier::from_password(b"z", 7, b"s"));
    let login = |verifier: &Verifier| Login { verifier: Some(verifier.fingerprint()), ..Login::of("ana") };
    let stands = |directory: &Directory, login: &Login| {
        let (one, other) = (directory.stands(login).is_ok(), directory.caller_of(login, None).is_ok());
        assert_eq!(one, other);
        one
    };
    // A new password alone ends nothing.
    assert!(stands(&directory_with(&[], &second), &login(&first)));
    let revoked = directory_with(&[&second], &second);
    assert!(!stands(&revoked, &login(&second)) && !stands(&revoked, &login(&first)));
    assert!(stands(&revoked, &Login::of("ana")), "who came by a certificate stays");
    let renewed = directory_with(&[&second], &third);
    assert!(stands(&renewed, &login(&third)) && !stands(&renewed, &login(&second)));
}

/// The files that [`identities`] are of.
fn files() -> Present {
    let has = Has { iam: "local".into(), groups: Vec::new(), attributes: BTreeMap::new() };
    let account = |name: &str, project: Option<&str>| SqlAccount {
        name: name.into(),
        user: "ana".into(),
        project: project.map(Into::into),
        created: at("2020-01-01T00:00:00Z"),
        minutes: 1,
        verifier: verifier(),
        revoked: None,
    };
    let token = Token {
        id: "00000000-0000-4000-8000-000000000000".into(),
        client_id: TOKEN.strip_prefix("service-account-").unwrap().into(),
        display_name: "x".into(),
        description: String::new(),
        has,
        created_by: None,
        created: at("2020-01-01T00:00:00Z"),
        validity_seconds: crate::identity::accounts::NEVER,
        verifier: verifier(),
        disabled: false,
        revoked: None,
    };
    let mut written = identities();
    written.users.retain(|_, user| !user.kept);
    written.temporary.clear();
    let sql_accounts = vec![account(NAME, Some("p")), account("free1635366310923d8b65qm6279", None)];
    let accounts = Accounts { tokens: vec![token], sql_accounts, ..Accounts::default() };
    Present { identities: Some(written), accounts: Some(accounts) }
}

#[test]
fn who_has_ended_is_taken_out_and_nobody_let_in() {
    let before = directory(identities(), "ana");
    assert!(before.without_ended(&files()).is_none());
    let mut now = files();
    let written = now.identities.as_mut().unwrap();
    written.users.get_mut("ana").unwrap().groups.clear();
    written.users.insert("new".into(), written.users["ana"].clone());
    now.accounts.as_mut().unwrap().sql_accounts[0].minutes = u64::MAX;
    assert!(before.without_ended(&now).is_none(), "nobody has ended");
    now.identities.as_mut().unwrap().users.get_mut("bob").unwrap().disabled = true;
    now.accounts.as_mut().unwrap().tokens.clear();
    now.accounts.as_mut().unwrap().sql_accounts[0].revoked = Some(at(BEFORE));
    let rest = before.without_ended(&now).unwrap();
    assert!(
        rest.caller("bob", None).is_err() && rest.caller(TOKEN, None).is_err() && rest.caller("new", None).is_err()
    );
    assert_eq!(rest.caller("ana", None).unwrap().groups.len(), 1, "what he has is for the rest of the change to say");
    assert!(rest.stands(&before.login_of(&NAME.into())).is_err());
    assert!(rest.without_ended(&now).is_none(), "once");
    // Whoever is enabled again waits for the whole.
    assert!(rest.without_ended(&files()).is_none());
    assert!(rest.caller("bob", None).is_err());
}

#[test]
fn each_file_ends_whom_it_can_and_one_that_cannot_be_read_nobody() {
    let before = directory(identities(), "ana");
    let nothing = Present::default();
    assert!(before.without_ended(&nothing).is_none());
    // The identity file is broken: who is in the accounts file, or changed there, may end.
    let mut now = Present { identities: None, ..files() };
    assert!(before.without_ended(&now).is_none(), "nobody is gone from a file that cannot be read");
    let accounts = now.accounts.as_mut().unwrap();
    accounts.tokens[0].revoked = Some(at(BEFORE));
    accounts.changes.push(Change { name: "bob".into(), state: State { disabled: true, ..State::default() } });
    let rest = before.without_ended(&now).unwrap();
    assert!(rest.caller(TOKEN, None).is_err() && rest.caller("bob", None).is_err() && rest.caller("ana", None).is_ok());
    // The accounts file is: who is in the identity file.
    let mut now = Present { accounts: None, ..files() };
    now.identities.as_mut().unwrap().users.remove("bob");
    let rest = before.without_ended(&now).unwrap();
    assert!(rest.caller("bob", None).is_err() && rest.caller(TOKEN, None).is_ok());
    assert!(rest.account_may_act(&before.login_of(&NAME.into()), at(BEFORE)));
}

#[test]
fn who_is_out_from_the_beginning_is_out_for_issuers_too() {
    let before = directory(identities(), "ana");
    let brought = crate::identity::Brought { alone: true, iam: "sso".into(), ..Default::default() };
    let login = Login { brought: Some(Arc::new(brought)), ..Login::of("kim") };
    assert!(before.stands(&login).is_ok());
    let person = |state: State| Person {
        name: "kim".into(),
        has: Has { iam: "sso".into(), groups: Vec::new(), attributes: BTreeMap::new() },
        state,
    };
    let with = |state: State| {
        let mut now = files();
        now.accounts.as_mut().unwrap().users.push(person(state));
        before.without_ended(&now)
    };
    assert!(with(State::default()).is_none(), "somebody new waits for the whole");
    assert!(with(State { expires: Some(at("2999-01-01T00:00:00Z")), ..State::default() }).is_none());
    for state in [
        State { disabled: true, ..State::default() },
        State { expires: Some(at("2020-01-01T00:00:00Z")), ..State::default() },
    ] {
        let rest = with(state).unwrap();
        assert!(rest.stands(&login).is_err() && rest.caller_of(&login, None).is_err());
    }
}

#[test]
fn tokens_and_accounts_have_secrets_of_their_own() {
    let directory = directory(identities(), "ana");
    assert!(directory.has_secret_of_its_own(TOKEN) && directory.has_secret_of_its_own(NAME));
    assert!(!directory.has_secret_of_its_own("ana"));
    // A token of an issuer makes nobody of such a name.
    let brought = crate::identity::Brought { alone: true, iam: "x".into(), ..Default::default() };
    for name in ["service-account-apikey-00000000-0000-4000-8000-000000000000", NAME, "temp0000000000000aaaaaaaaaaa"] {
        let login = Login { brought: Some(Arc::new(brought.clone())), ..Login::of(name) };
        assert!(directory.caller_of(&login, None).is_err(), "{name}");
    }
}
