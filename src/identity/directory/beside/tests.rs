//! Who is taken for whom, and what is decided without a word of a directory: nothing.

use super::*;
use crate::config::directories::{Kind, SqlDirectory};
use crate::config::tls::ClientTls;
use crate::config::{Connection, Host, PoolLimits, Secret};
use crate::governance::model::{Owner, Project};
use crate::identity::accounts::{Files, Temporary};
use crate::identity::scram::Verifier;
use crate::identity::{Brought, Caller, Entitlement, Found, Gathering, Known};
use std::time::{Duration, Instant};

fn register(name: &str, iam: &str, users: Users) -> Arc<Register> {
    let connection = Connection {
        key: name.into(),
        host: Host::Unix("/nowhere".into()),
        port: 5432,
        database: "d".into(),
        user: "u".into(),
        password: None,
        tls: ClientTls::disabled(),
        pool: PoolLimits::default(),
        connect_timeout: Duration::from_secs(1),
        query_timeout: None,
        query_timeout_max: None,
        pooler: None,
        temporary_tables: false,
        functions: Vec::new(),
        engine: crate::config::Engine::default(),
        shards: std::collections::BTreeSet::new(),
    };
    let kind = SqlDirectory { connection: Arc::new(connection), user: None, groups: None, attributes: None };
    Arc::new(Register {
        name: name.into(),
        origin: Default::default(),
        iam: iam.into(),
        users,
        refresh: Duration::from_secs(10),
        grace: Duration::from_secs(60),
        timeout: Duration::from_secs(1),
        lookups: 1,
        kind: Kind::Sql(kind),
    })
}

/// `ana` of corp, `loc` of local, `off` of corp and disabled; Staff of corp passes on a city.
fn directory(registers: &[Arc<Register>]) -> Directory {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.yaml");
    let text = "groups: [{name: Staff, iam: corp, attributes: {city: Bonn}}]\n\
                users: [{name: ana, iam: corp}, {name: loc}, {name: off, iam: corp, disabled: true}]\n";
    std::fs::write(&path, text).unwrap();
    Directory::load(&Files::beside(&path), &[], &[], &Secret::new("secret")).unwrap().0.with(registers)
}

fn groups(iam: &str, names: &[&str]) -> Found {
    let mut gathering = Gathering::new(iam.into());
    names.iter().for_each(|name| gathering.group((*name).to_owned()).unwrap());
    gathering.done()
}

/// A login of whom these directories said so.
fn login(user: &str, registers: &[Arc<Register>], said: &[(&str, Option<Found>)]) -> Login {
    let known = Known::new(user.into(), registers);
    for (name, found) in said {
        let register = registers.iter().find(|register| *register.name == **name).unwrap();
        known.slot(register).unwrap().hold(Instant::now(), found.clone());
    }
    Login { known: Some(Arc::new(known)), ..Login::of(user) }
}

fn names(caller: &Caller) -> Vec<String> {
    caller.groups.iter().map(|group| format!("{}@{}", group.value, group.iam)).collect()
}

#[test]
fn only_directories_of_ones_own_provider_are_asked_and_all_of_them_have_to_answer() {
    let all =
        [register("a", "corp", Users::Declared), register("b", "corp", Users::Any), register("c", "red", Users::Any)];
    let directory = directory(&all);
    let asked = |user: &str| -> Vec<String> {
        directory.asks(&Login::of(user)).iter().map(|register| register.name.to_string()).collect()
    };
    assert_eq!(asked("ana"), ["a", "b"]);
    assert_eq!(asked("loc"), [""; 0]);
    assert_eq!(asked("nobody"), ["b", "c"], "those that say who there is");
    assert_eq!(asked("no\nname"), [""; 0]);

    let staff = Some(groups("corp", &["Staff"]));
    let both = login("ana", &all, &[("a", staff.clone()), ("b", Some(groups("corp", &["Sales"])))]);
    let caller = directory.caller_of(&both, None).unwrap();
    assert_eq!(names(&caller), ["Sales@corp", "Staff@corp"]);
    let bonn = Entitlement { value: "Bonn".into(), iam: "corp".into() };
    assert!(caller.attributes["city"].contains(&bonn), "of the group");
    // A directory that knows her not has said so; one that has not been heard has not.
    let one = login("ana", &all, &[("a", staff.clone()), ("b", None)]);
    assert_eq!(names(&directory.caller_of(&one, None).unwrap()), ["Staff@corp"]);
    for unheard in [login("ana", &all, &[("a", staff)]), Login::of("ana")] {
        let refusal = directory.caller_of(&unheard, None).unwrap_err();
        assert_eq!((refusal.code.0, refusal.message.contains("does not answer")), ("58000", true), "{refusal}");
        assert_eq!(directory.stands(&unheard), Ok(()), "not known is not gone");
    }
    assert!(directory.caller_of(&Login::of("loc"), None).is_ok());
    assert_eq!(directory.caller("ana", None).unwrap().groups.len(), 0, "the file alone, for tools");
}

/// What is heard while a decision is made is for the next one: who there is, what he may, and that he may be acted for are of one moment.
#[test]
fn a_decision_never_mixes_old_and_new() {
    let all = [register("red", "red", Users::Any), register("more", "red", Users::Any)];
    let directory = directory(&all);
    let (old, new) = (Some(groups("red", &["Old"])), Some(groups("red", &["New"])));
    let login = login("eve", &all, &[("red", old.clone()), ("more", old)]);
    let heard = login.heard();
    let slots = login.known.as_ref().unwrap().slots();
    slots[0].hold(Instant::now(), None);
    slots[1].hold(Instant::now(), new);
    assert_eq!(names(&directory.caller_by(&login, &heard, None).unwrap()), ["Old@red"]);
    assert_eq!(names(&directory.caller_of(&login, None).unwrap()), ["New@red"]);
    slots[1].hold(Instant::now(), None);
    assert!(directory.caller_by(&login, &heard, None).is_ok());
    assert_eq!(directory.caller_of(&login, None).unwrap_err().code.0, "28000");
}

#[test]
fn answers_end_with_their_grace_time() {
    let all = [register("a", "corp", Users::Declared)];
    let directory = directory(&all);
    let known = Known::new("ana".into(), &all);
    let slot = known.slot(&all[0]).unwrap();
    let Some(before) = Instant::now().checked_sub(Duration::from_secs(59)) else { return };
    assert!(!slot.hold(before, Some(groups("corp", &["Staff"]))), "the first word is no change");
    assert!(!slot.is_fresh() && slot.is_usable());
    let login = Login { known: Some(Arc::new(known)), ..Login::of("ana") };
    assert!(directory.caller_of(&login, None).is_ok());
    let slot = login.known.as_ref().unwrap().slot(&all[0]).unwrap();
    assert!(!slot.hold(before.checked_sub(Duration::from_secs(2)).unwrap(), Some(groups("corp", &["Staff"]))));
    assert_eq!(directory.caller_of(&login, None).unwrap_err().code.0, "58000");
    assert!(slot.hold(Instant::now(), None), "news");
    assert!(directory.caller_of(&login, None).unwrap().groups.is_empty());
}

#[test]
fn who_is_not_in_the_file_is_whom_one_provider_knows() {
    let all = [
        register("red", "red", Users::Any),
        register("blue", "blue", Users::Any),
        register("more", "red", Users::Declared),
    ];
    let directory = directory(&all);
    let red = Some(groups("red", &["Staff"]));
    let caller = directory.caller_of(&login("eve", &all, &[("red", red.clone()), ("blue", None)]), None).unwrap();
    assert_eq!((&*caller.iam, names(&caller)), ("red", vec!["Staff@red".to_owned()]));
    assert!(caller.attributes.is_empty(), "Staff of corp is another group");
    // Known to two, or to nobody.
    let both = login("eve", &all, &[("red", red.clone()), ("blue", Some(groups("blue", &[])))]);
    let nobody = login("eve", &all, &[("red", None), ("blue", None)]);
    for login in [&both, &nobody] {
        assert_eq!(directory.caller_of(login, None).unwrap_err().code.0, "28000");
        assert!(directory.stands(login).is_err());
    }
    // Where one has not been heard it cannot be told.
    let half = login("eve", &all, &[("red", red.clone())]);
    assert_eq!(directory.caller_of(&half, None).unwrap_err().code.0, "58000");
    // A token, or the login itself, says which provider is meant.
    let token = |login: Login, alone: bool| Login {
        brought: Some(Arc::new(Brought { iam: "red".into(), alone, ..Brought::default() })),
        ..login
    };
    assert_eq!(&*directory.caller_of(&token(both.clone(), false), None).unwrap().iam, "red");
    assert_eq!(directory.caller_of(&token(nobody.clone(), false), None).unwrap_err().code.0, "28000");
    assert_eq!(names(&directory.caller_of(&token(nobody.clone(), true), None).unwrap()), [""; 0]);
    let began = Login { iam: Some("blue".into()), ..both };
    assert_eq!(&*directory.caller_of(&began, None).unwrap().iam, "blue");
    // The identity file comes first.
    let known = |user: &str| login(user, &all, &[("red", red.clone()), ("blue", None)]);
    assert_eq!(directory.caller_of(&known("off"), None).unwrap_err().code.0, "28000");
    assert_eq!(names(&directory.caller_of(&known("loc"), None).unwrap()), [""; 0]);
    // Whose provider has changed since is somebody else.
    assert!(directory.caller_of(&Login { iam: Some("red".into()), ..known("loc") }, None).is_err());
}

const TOKEN: &str = "service-account-apikey-ac69de56-6529-4c8f-b53c-791cb5346308";
const ACCOUNT: &str = "temp1635366310923d8b65qm6279";
const LEFT: &str = "left1635366310923d8b65qm6279";

/// A token of corp; an account of ana's for a project of Staff of corp; an account whose user is in no file any more.
fn made(registers: &[Arc<Register>]) -> Directory {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.yaml");
    std::fs::write(&path, "groups: [{name: Staff, iam: corp}]\nusers: [{name: ana, iam: corp}]\n").unwrap();
    let (mut found, _) = crate::identity::file::load(&path).unwrap();
    found.users.insert(TOKEN.into(), found.users["ana"].clone());
    let account = |user: &str, project: Option<&str>| Temporary {
        user: user.into(),
        project: project.map(Into::into),
        until: Timestamp::MAX,
        revoked: false,
        verifier: Verifier::from_password(b"x", 1, b"salt"),
    };
    found.temporary.insert(ACCOUNT.into(), account("ana", Some("p")));
    found.temporary.insert(LEFT.into(), account("eve", None));
    let project = Project {
        key: "p".into(),
        name: "p".into(),
        purposes: Vec::new(),
        description: None,
        data_sources: Vec::new(),
        members: vec![Owner { is_group: true, name: "Staff".into(), iam: Some("corp".into()) }],
        open_to_anyone: false,
        entitlements: None,
        allow_masked_joins: false,
        equalization: None,
        origin: Default::default(),
    };
    Directory::new(found, &[project], &[], &Secret::new("secret")).unwrap().with(registers)
}

/// What a token may do was said when it was made: directories are not asked about it, and somebody in them who is called so is not it.
#[test]
fn a_token_is_nobody_to_directories() {
    let all = [register("a", "corp", Users::Declared), register("b", "corp", Users::Any)];
    let directory = made(&all);
    let staff = Some(groups("corp", &["Staff"]));
    assert!(directory.asks(&Login::of(TOKEN)).is_empty());
    let token = login(TOKEN, &all, &[("a", staff.clone()), ("b", staff.clone())]);
    assert_eq!(names(&directory.caller_of(&token, None).unwrap()), [""; 0]);
    assert!(directory.caller_of(&Login::of(TOKEN), None).is_ok(), "whether they answer or not");
    for name in [TOKEN.replace("ac69", "bc69"), "temp0000000000000aaaaaaaaaaa".to_owned()] {
        let nobody = login(&name, &all, &[("a", staff.clone()), ("b", staff.clone())]);
        assert!(directory.asks(&nobody).is_empty());
        assert_eq!(directory.caller_of(&nobody, None).unwrap_err().code.0, "28000", "{name}");
    }
}

#[test]
fn a_temporary_account_is_its_user_as_directories_know_him() {
    let all = [register("a", "corp", Users::Declared), register("b", "corp", Users::Any)];
    let directory = made(&all);
    let account = directory.login_of(&ACCOUNT.into());
    assert_eq!(directory.asks(&account).len(), 2);
    let heard = |found: Option<Found>| Login {
        known: login("ana", &all, &[("a", found.clone()), ("b", None)]).known,
        ..account.clone()
    };
    let caller = directory.caller_of(&heard(Some(groups("corp", &["Staff"]))), Some("p")).unwrap();
    assert_eq!((&*caller.user, names(&caller)), ("ana", vec!["Staff@corp".to_owned()]));
    // Out of the group, out of the project, and the session ends; not heard is not out.
    let out = heard(Some(groups("corp", &["Sales"])));
    assert_eq!(directory.caller_of(&out, Some("p")).unwrap_err().code.0, "42501");
    assert!(directory.stands(&out).is_err());
    assert_eq!(directory.caller_of(&account, Some("p")).unwrap_err().code.0, "58000");
    assert_eq!(directory.stands(&account), Ok(()));
    // It was made for a user of the files, not for whoever is called so in a directory.
    let left = directory.login_of(&LEFT.into());
    let known = login("eve", &all, &[("a", None), ("b", Some(groups("corp", &["Staff"])))]).known;
    let left = Login { known, ..left };
    assert!(directory.asks(&left).is_empty());
    assert_eq!(directory.caller_of(&left, None).unwrap_err().code.0, "28000");
}

#[test]
fn bounds_are_refused_not_cut() {
    use crate::identity::Excess;
    let mut gathering = Gathering::new("corp".into());
    for n in 0..1000 {
        assert_eq!(gathering.group(n.to_string()), Ok(()));
    }
    assert_eq!(gathering.group("5".into()), Ok(()), "again");
    assert_eq!(gathering.group("1000".into()), Err(Excess::Groups));
    let mut gathering = Gathering::new("corp".into());
    assert_eq!(gathering.group("x".repeat(1024)), Ok(()));
    assert_eq!(gathering.group("x".repeat(1025)), Err(Excess::Value));
    assert_eq!(gathering.group("a\0b".into()), Err(Excess::Value));
    assert_eq!(gathering.attribute("", "x".into()), Ok(()));
    assert_eq!(gathering.attribute("x", String::new()), Ok(()));
    assert!(gathering.done().attributes.is_empty());
    let mut gathering = Gathering::new("corp".into());
    let found = (0..300).find_map(|n| gathering.attribute("a", format!("{n}{}", "x".repeat(1000))).err());
    assert_eq!(found, Some(Excess::Bytes));
    // What is said twice counts once.
    let mut gathering = Gathering::new("corp".into());
    for _ in 0..1000 {
        assert_eq!(gathering.group("x".repeat(1000)), Ok(()));
        assert_eq!(gathering.attribute("a", "x".repeat(1000)), Ok(()));
    }
}
