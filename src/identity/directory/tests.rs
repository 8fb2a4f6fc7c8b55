use super::*;
use crate::governance::model::{AttributeCondition, GroupCondition};
use crate::identity::scram::{SCRAM_SHA_256, Verifier};
use crate::identity::{Brought, ServerExchange};
use std::sync::LazyLock;

/// Made once: slow in a debug build.
static VERIFIER: LazyLock<String> =
    LazyLock::new(|| Verifier::from_password(b"pencil", 4096, b"0123456789abcdef").to_string());

fn read(text: &str) -> Result<Identities, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.yaml");
    std::fs::write(&path, text).unwrap();
    let base = format!("{}/", dir.path().display());
    crate::identity::file::load(&path)
        .map(|(identities, _)| identities)
        .map_err(|problems| problems.iter().map(|p| p.to_string().replace(&base, "")).collect())
}

fn identities() -> Identities {
    read(&format!(
        "
users:
  - name: analyst
    verifier: {verifier}
    groups: [eu-analysts, {{name: ldap-team, iam: ldap}}]
    attributes: {{region: [EUROPE, ASIA], level: 3}}
  - name: gone
    verifier: {verifier}
    disabled: true
  - name: soon
    iam: ldap
    verifier: {verifier}
    expires: 2030-01-01T00:00:00Z
  - name: no-password
  - name: a+b
groups:
  - name: eu-analysts
    attributes: {{region: AFRICA, team: [x]}}
  - {{name: ldap-team, iam: ldap, attributes: {{team: y}}}}
",
        verifier = *VERIFIER
    ))
    .unwrap()
}

fn project(key: &str) -> Project {
    Project {
        key: key.into(),
        name: key.into(),
        purposes: vec!["Research.Fraud".into()],
        description: None,
        data_sources: Vec::new(),
        members: Vec::new(),
        open_to_anyone: false,
        entitlements: None,
        allow_masked_joins: false,
        equalization: None,
        origin: Default::default(),
    }
}

fn member(is_group: bool, name: &str, iam: Option<&str>) -> Owner {
    Owner { is_group, name: name.into(), iam: iam.map(str::to_owned) }
}

fn directory_with(projects: &[Project]) -> Directory {
    Directory::new(identities(), projects, &[], &Secret::new("key")).unwrap()
}

fn directory() -> Directory {
    directory_with(&[])
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn values(caller: &Caller, attribute: &str) -> Vec<String> {
    caller.attributes[attribute].iter().map(|e| format!("{}@{}", e.value, e.iam)).collect()
}

#[test]
fn a_caller_has_his_groups_and_their_attributes() {
    let caller = directory().caller("analyst", None).unwrap();
    assert_eq!((&*caller.user, &*caller.iam), ("analyst", "local"));
    let groups: Vec<String> = caller.groups.iter().map(|e| format!("{}@{}", e.value, e.iam)).collect();
    assert_eq!(groups, ["eu-analysts@local", "ldap-team@ldap"]);
    assert_eq!(values(&caller, "region"), ["AFRICA@local", "ASIA@local", "EUROPE@local"]);
    assert_eq!(values(&caller, "team"), ["x@local", "y@ldap"]);
    assert_eq!(values(&caller, "level"), ["3@local"]);
    assert_eq!((caller.project, caller.purposes.len()), (None, 0));
}

#[test]
fn unknown_disabled_and_expired_callers_are_refused_alike() {
    let directory = directory();
    let refused = |user: &str, now: &str| directory.caller_at(&Login::of(user), None, at(now)).map(drop);
    let (before, on) = ("2029-12-31T23:59:59Z", "2030-01-01T00:00:00Z");
    assert_eq!(refused("soon", before), Ok(()));
    for (user, now) in [("soon", on), ("gone", before), ("nobody", before)] {
        let refusal = refused(user, now).unwrap_err();
        assert_eq!(refusal.code, SqlState::INVALID_AUTHORIZATION);
        assert_eq!(refusal.message, format!("role \"{user}\" is not permitted to log in"));
    }
}

/// The server's first message for a login, up to the salt.
fn challenge(directory: &Directory, user: &str, now: &str) -> String {
    let mut exchange = ServerExchange::new(directory.verifier_at(user, at(now)), None);
    let reply = String::from_utf8(exchange.client_first(SCRAM_SHA_256, b"n,,n=,r=abc").unwrap()).unwrap();
    reply.split_once(",s=").unwrap().1.to_owned()
}

#[test]
fn challenges_tell_nothing() {
    let directory = directory();
    let (before, after) = ("2029-01-01T00:00:00Z", "2031-01-01T00:00:00Z");
    let real = challenge(&directory, "analyst", before);
    assert!(real.ends_with(",i=4096"));
    // The salt stays when a user expires or is disabled.
    assert_eq!(challenge(&directory, "soon", before), challenge(&directory, "soon", after));
    assert_eq!(challenge(&directory, "gone", before), real);
    for nobody in ["nobody", "no-password", ""] {
        let mock = challenge(&directory, nobody, before);
        assert_eq!(mock.len(), real.len());
        assert_eq!(mock, challenge(&self::directory(), nobody, before), "survives a reload");
        assert_ne!(mock, real);
    }
}

/// Shapes that few verifiers have are no sign that there is somebody.
#[test]
fn mocks_look_like_the_verifiers_there_are() {
    let verifier = Verifier::from_password(b"x", 10_000, b"01234567").to_string();
    let text = format!(
        "users: [{{name: a, verifier: '{verifier}'}}, {{name: b, verifier: '{}'}}, {{name: c, verifier: '{verifier}'}}]",
        *VERIFIER
    );
    let directory = Directory::new(read(&text).unwrap(), &[], &[], &Secret::new("key")).unwrap();
    let before = "2029-01-01T00:00:00Z";
    let shape = |user: &str| {
        let challenge = challenge(&directory, user, before);
        (challenge.len(), challenge.ends_with(",i=10000"))
    };
    let mut seen = BTreeMap::<_, usize>::new();
    for nobody in 0..300 {
        let nobody = format!("nobody{nobody}");
        assert_eq!(challenge(&directory, &nobody, before), challenge(&directory, &nobody, before));
        *seen.entry(shape(&nobody)).or_default() += 1;
    }
    assert_eq!(
        seen.keys().copied().collect::<Vec<_>>(),
        BTreeSet::from([shape("a"), shape("b")]).into_iter().collect::<Vec<_>>()
    );
    assert!((150..=250).contains(&seen[&shape("a")]), "two of three: {seen:?}");
}

#[test]
fn membership() {
    let group = |name: &str, iam: Option<&str>| Audience {
        groups: vec![GroupCondition { name: name.into(), iam: iam.map(str::to_owned) }],
        ..Audience::default()
    };
    let region = AttributeCondition { name: "region".into(), value: "AFRICA".into(), iam: None };
    let both = |all: bool, value: &str| Audience {
        all,
        groups: vec![GroupCondition { name: "eu-analysts".into(), iam: None }],
        attributes: vec![AttributeCondition { value: value.into(), ..region.clone() }],
        ..Audience::default()
    };
    let entitled = |audience: Audience| Project { entitlements: Some(audience), ..project("p") };
    let listed = |owner: Owner| Project { members: vec![owner], ..project("p") };
    for (project, user, expected) in [
        (project("p"), "analyst", false),
        (Project { open_to_anyone: true, ..project("p") }, "no-password", true),
        (listed(member(false, "analyst", None)), "analyst", true),
        (listed(member(false, "analyst", Some("local"))), "analyst", true),
        (listed(member(false, "analyst", None)), "soon", false),
        (listed(member(true, "eu-analysts", None)), "analyst", true),
        (listed(member(true, "ldap-team", Some("ldap"))), "analyst", true),
        (listed(member(true, "eu-analysts", None)), "soon", false),
        (entitled(group("eu-analysts", None)), "analyst", true),
        (entitled(group("eu-analysts", Some("ldap"))), "analyst", false),
        (entitled(both(true, "AFRICA")), "analyst", true),
        (entitled(both(true, "MOON")), "analyst", false),
        (entitled(both(false, "MOON")), "analyst", true),
        (entitled(Audience::default()), "analyst", false),
        (entitled(Audience { all: true, ..Audience::default() }), "analyst", false),
        (entitled(Audience { purposes: vec!["Research".into()], ..Audience::default() }), "analyst", false),
    ] {
        let directory = directory_with(std::slice::from_ref(&project));
        let answer = directory.caller_at(&Login::of(user), Some("p"), at("2029-01-01T00:00:00Z"));
        assert_eq!(answer.is_ok(), expected, "{user} {project:?}");
        match answer {
            Ok(caller) => {
                assert_eq!(caller.project.as_deref(), Some("p"));
                assert!(caller.purposes.contains("Research.Fraud"));
            }
            Err(refusal) => {
                let unknown = directory.caller_at(&Login::of(user), Some("q"), at("2029-01-01T00:00:00Z")).unwrap_err();
                assert_eq!(refusal.code, SqlState::INSUFFICIENT_PRIVILEGE);
                assert_eq!(refusal.message.replace('p', ""), unknown.message.replace(['p', 'q'], ""));
            }
        }
    }
}

#[test]
fn members_must_be_declared() {
    for owner in [member(false, "analist", None), member(true, "analyst", None), member(false, "analyst", Some("ldap"))]
    {
        let project = Project { members: vec![owner], ..project("p") };
        let problems = Directory::new(identities(), &[project], &[], &Secret::new("key")).unwrap_err();
        assert!(problems[0].message.contains("not declared"));
    }
}

#[test]
fn acknowledgements_are_inherited() {
    let purpose = |name: &str, text: Option<&str>| Purpose {
        name: name.into(),
        acknowledgement: text.map(str::to_owned),
        re_acknowledge: false,
        origin: Default::default(),
    };
    let purposes = [purpose("Research", Some("be good")), purpose("Research.Fraud", None)];
    let directory = Directory::new(identities(), &[project("p")], &purposes, &Secret::new("key")).unwrap();
    let asked: Vec<_> = directory.acknowledgements("p").iter().map(|a| (a.purpose.as_str(), a.text.as_str())).collect();
    assert_eq!(asked, [("Research", "be good")]);
    assert!(directory.acknowledgements("q").is_empty());
}

#[test]
fn login_names_with_a_project() {
    let directory = directory();
    for (login, expected) in [
        ("analyst", ("analyst", None)),
        ("analyst+fraud", ("analyst", Some("fraud"))),
        ("a+b", ("a+b", None)),
        ("a+b+fraud", ("a+b", Some("fraud"))),
        ("analyst+", ("analyst+", None)),
        ("+fraud", ("+fraud", None)),
    ] {
        assert_eq!(directory.split_login(login), expected);
    }
}

#[test]
fn mistakes_in_the_file_come_all_at_once() {
    let problems = read(
        "\
users:
  - name: a
    verifer: x
    groups: [nope]
  - name: a
    verifier: 'SCRAM-SHA-256$4096:c2FsdA==$no:pe'
    expires: tomorrow
    disabled: yes
  - groups: []
groups:
  - {name: g}
  - {name: g, iam: local}
",
    )
    .unwrap_err();
    for expected in [
        "identity.yaml:3:5: error: unknown key `verifer` (did you mean `verifier`?)",
        "identity.yaml:4:14: error: group \"nope\" is not declared",
        "identity.yaml:5:5: error: user \"a\" is declared twice",
        "identity.yaml:6:15: error: not a SCRAM-SHA-256 verifier",
        "identity.yaml:7:14: error: not an instant",
        "identity.yaml:8:15: error: true or false",
        "identity.yaml:9:5: error: missing key `name`",
        "identity.yaml:12:5: error: group \"g\" of \"local\" is declared twice",
    ] {
        assert!(problems.iter().any(|p| p.starts_with(expected)), "{expected}\n{problems:#?}");
    }
    assert_eq!(problems.len(), 8, "{problems:#?}");
    assert!(problems.iter().all(|p| !p.contains("c2FsdA")));
}

#[test]
fn a_bare_group_name_must_be_clear() {
    let groups = "groups: [{name: g, iam: x}, {name: g, iam: y}]\n";
    let with = |membership: &str| read(&format!("users: [{{name: u, groups: [{membership}]}}]\n{groups}"));
    assert!(with("g").unwrap_err()[0].contains("several providers"));
    assert!(with("{name: g, iam: z}").unwrap_err()[0].contains("not declared"));
    let user = &with("{name: g, iam: y}").unwrap().users["u"];
    assert_eq!(&*user.groups.first().unwrap().iam, "y");
}

#[test]
fn an_equalized_project_leaves_what_all_members_have() {
    let identities = read(
        "
users:
  - {name: ana, groups: [Staff, Eu], attributes: {region: [EU, US], level: [1]}}
  - {name: bob, groups: [Staff, Us], attributes: {region: [US, EU], level: [2]}}
  - {name: cy, groups: [Staff], attributes: {region: [US]}, disabled: true}
  - {name: eve, groups: [Other]}
groups: [{name: Staff}, {name: Eu}, {name: Us}, {name: Other}]
",
    )
    .unwrap();
    let equalized = |equalization| Project {
        members: vec![member(true, "Staff", None)],
        equalization: Some(equalization),
        ..project("p")
    };
    let values = |caller: &Caller, name: &str| {
        caller.attributes.get(name).into_iter().flatten().map(|v| v.value.clone()).collect::<Vec<_>>()
    };
    let groups = |caller: &Caller| caller.groups.iter().map(|g| g.value.clone()).collect::<Vec<_>>();
    let common = equalized(Equalization::Common);
    let directory = Directory::new(identities.clone(), &[common], &[], &Secret::new("key")).unwrap();
    for user in ["ana", "bob"] {
        let (own, inside) = (directory.caller(user, None).unwrap(), directory.caller(user, Some("p")).unwrap());
        assert_eq!(
            (groups(&inside), values(&inside, "region")),
            (vec!["Staff".to_owned()], vec!["US".to_owned()]),
            "{user}"
        );
        assert!(!inside.attributes.contains_key("level"), "no value of it is common");
        assert!(inside.groups.is_subset(&own.groups));
    }
    assert_eq!(directory.caller("eve", Some("p")).unwrap_err().code, SqlState::INSUFFICIENT_PRIVILEGE);

    let given = equalized(Equalization::Given {
        groups: vec![GroupCondition { name: "Staff".into(), iam: None }],
        attributes: vec![AttributeCondition { name: "level".into(), value: "1".into(), iam: None }],
    });
    let directory = Directory::new(identities, &[given], &[], &Secret::new("key")).unwrap();
    let ana = directory.caller("ana", Some("p")).unwrap();
    assert_eq!((groups(&ana), values(&ana, "level")), (vec!["Staff".to_owned()], vec!["1".to_owned()]));
    assert!(values(&ana, "region").is_empty());
    let refusal = directory.caller("bob", Some("p")).unwrap_err();
    assert!(refusal.message.contains("equalized"), "bob is a member, but lacks level 1: {refusal}");
}

fn brought(iam: &str, groups: &[&str], attributes: &[(&str, &str)], alone: bool) -> Brought {
    let of = |value: &str| Entitlement { value: value.into(), iam: iam.into() };
    Brought {
        iam: iam.into(),
        groups: groups.iter().map(|g| of(g)).collect(),
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), BTreeSet::from([of(value)]))).collect(),
        alone,
    }
}

fn by_token(user: &str, brought: Brought) -> Login {
    Login { brought: Some(Arc::new(brought)), ..Login::of(user) }
}

#[test]
fn what_a_token_says_is_added_and_inherited() {
    let directory = directory();
    let ldap = |groups: &[&str]| brought("ldap", groups, &[("level", "9")], true);
    let caller = directory.caller_of(&by_token("soon", ldap(&["ldap-team", "new"])), None).unwrap();
    let groups: Vec<String> = caller.groups.iter().map(|e| format!("{}@{}", e.value, e.iam)).collect();
    assert_eq!(groups, ["ldap-team@ldap", "new@ldap"]);
    assert_eq!((values(&caller, "team"), values(&caller, "level")), (vec!["y@ldap".into()], vec!["9@ldap".into()]));
    // A group of that name of another provider is another group.
    let stranger = directory.caller_of(&by_token("stranger", ldap(&["eu-analysts"])), None).unwrap();
    assert_eq!((&*stranger.user, &*stranger.iam), ("stranger", "ldap"));
    assert!(!stranger.attributes.contains_key("region"));
}

#[test]
fn a_token_makes_nobody_of_somebody_elses_provider() {
    let directory = directory();
    let refused = |user: &str, alone| {
        let login = by_token(user, brought("ldap", &["eu-analysts"], &[], alone));
        directory.caller_of(&login, None).unwrap_err().message.into_owned()
    };
    // Local, local and disabled, unknown where the token is not enough, no name: all alike.
    let long = "x".repeat(64);
    for (user, alone) in
        [("analyst", true), ("gone", true), ("nobody", false), (long.as_str(), true), ("a\u{7}b", true)]
    {
        assert_eq!(refused(user, alone), format!("role \"{user}\" is not permitted to log in"));
    }
    assert!(directory.caller_of(&by_token("nobody", brought("ldap", &[], &[], true)), None).is_ok());
}

#[test]
fn a_login_ends_when_it_said_it_would() {
    let directory = directory();
    let login = Login { until: Some(at("2029-01-01T00:00:00Z")), ..Login::of("analyst") };
    assert!(directory.caller_at(&login, None, at("2028-12-31T23:59:59Z")).is_ok());
    let refusal = directory.caller_at(&login, None, at("2029-01-01T00:00:00Z")).unwrap_err();
    assert_eq!(refusal.code, SqlState::INVALID_AUTHORIZATION);
    assert_eq!(refusal.message, "the login of \"analyst\" has expired");
}

/// Somebody known by a token alone was not among those the common set was made of: he has all of it, or is not let in.
#[test]
fn an_equalized_project_takes_token_users_who_are_equal() {
    let common = Project {
        members: vec![member(true, "eu-analysts", None)],
        equalization: Some(Equalization::Common),
        ..project("p")
    };
    let directory = directory_with(&[common]);
    let analyst = directory.caller("analyst", Some("p")).unwrap();
    // The common set is the only member's own.
    assert_eq!(analyst.groups.len(), 2);
    let token = by_token("stranger", brought("ldap", &["eu-analysts", "more"], &[("level", "3")], true));
    let refusal = directory.caller_of(&token, Some("p")).unwrap_err();
    assert!(refusal.message.contains("equalized"), "{refusal}");
}
