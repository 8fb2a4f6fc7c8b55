//! Decisions: documents and a caller in, what is seen out; and that adding a policy never shows more.

use super::decision::*;
use super::testing::*;
use super::*;
use crate::governance::model::*;
use crate::identity::{Caller, Entitlement};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn person_name() -> QualifiedName {
    QualifiedName::new("hr", "person")
}

fn declared(policies: Vec<Policy>) -> Declared {
    Declared { data: vec![person()], policies: shared(policies), ..Declared::default() }
}

/// Binds and takes the warehouse's word for everything.
fn ruleset(declared: &Declared) -> Ruleset {
    let (ruleset, _) = Ruleset::bind(declared, "main", &catalog(), &Salts::new(b"secret"));
    ruleset.settle(&[]).0
}

fn access(declared: &Declared, caller: &Caller) -> Access {
    ruleset(declared).access(caller, &person_name(), SystemTime::UNIX_EPOCH)
}

fn visible(declared: &Declared, caller: &Caller) -> Arc<RelationDecision> {
    match access(declared, caller) {
        Access::Visible(decision) => decision,
        other => panic!("{other:?}"),
    }
}

fn anyone() -> Policy {
    subscription("a anyone", SubscriptionKind::Anyone)
}

fn decide(mut policies: Vec<Policy>, caller: &Caller) -> Arc<RelationDecision> {
    policies.push(anyone());
    visible(&declared(policies), caller)
}

fn mask_of<'a>(decision: &'a RelationDecision, column: &str) -> Option<&'a MaskDecision> {
    decision.columns.iter().find(|c| c.name == column).unwrap().mask.as_ref()
}

fn trace_of<'a>(decision: &'a RelationDecision, policy: &str) -> Vec<&'a RuleTrace> {
    decision.trace.iter().filter(|t| &*t.policy == policy).collect()
}

fn for_groups(mut rule: Rule, inclusions: &[&str], exceptions: &[&str]) -> Rule {
    let audience = |names: &[&str]| {
        let groups = names.iter().map(|g| group(g, None)).collect();
        (!names.is_empty()).then(|| Audience { groups, ..Audience::default() })
    };
    rule.inclusions = audience(inclusions);
    rule.exceptions = audience(exceptions);
    rule
}

fn regex_mask() -> Mask {
    Mask::Regex { regex: ".".into(), replacement: "x".into(), case_insensitive: false, global: true }
}

#[test]
fn without_a_policy_nobody_but_grants() {
    let ann = caller("ann");
    assert_eq!(access(&declared(vec![]), &ann), Access::Hidden);
    let mut with_grant = declared(vec![]);
    with_grant.grants = vec![grant("hr.person", "ann", GrantState::Subscribed)];
    assert!(matches!(access(&with_grant, &ann), Access::Visible(_)));
    assert_eq!(access(&with_grant, &caller("bob")), Access::Hidden);
    for (state, gives) in [(GrantState::Owner, true), (GrantState::Pending, false), (GrantState::Denied, false)] {
        with_grant.grants = vec![grant("hr.person", "ann", state)];
        assert_eq!(matches!(access(&with_grant, &ann), Access::Visible(_)), gives, "{state:?}");
    }
}

fn grant(source: &str, user: &str, state: GrantState) -> Grant {
    Grant {
        data_source: source.into(),
        grantee: owner(user, false),
        state,
        write: false,
        expiration: None,
        approvals: Vec::new(),
        origin: Origin::default(),
    }
}

#[test]
fn grants_expire_and_deny() {
    let ann = in_groups("ann", &["staff"]);
    let expiry: jiff::Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
    let mut declared = declared(vec![]);
    let timed = Grant { expiration: Some(expiry), ..grant("hr.person", "ann", GrantState::Subscribed) };
    declared.grants = vec![timed.clone()];
    let bound = ruleset(&declared);
    let at = SystemTime::from(expiry);
    let before = bound.access(&ann, &person_name(), at - Duration::from_secs(1));
    let Access::Visible(decision) = before else { panic!("{before:?}") };
    assert_eq!(decision.valid_until, Some(at));
    assert_eq!(bound.access(&ann, &person_name(), at), Access::Hidden);

    // Where a policy lets the caller in anyway, the grant's end changes nothing.
    declared.policies = shared(vec![anyone()]);
    assert_eq!(visible(&declared, &ann).valid_until, None);

    // Denied wins over a policy and over other grants.
    let group_deny = Grant { grantee: owner("staff", true), ..grant("hr.person", "", GrantState::Denied) };
    declared.grants = vec![timed, group_deny];
    assert_eq!(access(&declared, &ann), Access::Hidden);
    assert!(matches!(access(&declared, &caller("bob")), Access::Visible(_)));
}

#[test]
fn subscription_policies_add_up() {
    let entitled = |key: &str, group_name: &str| {
        let audience = Audience { groups: vec![group(group_name, None)], ..Audience::default() };
        subscription(key, SubscriptionKind::Entitlements(audience))
    };
    let edit = |mut policy: Policy, change: fn(&mut Subscription)| {
        if let PolicyBody::Subscription(s) = &mut policy.body {
            change(s);
        }
        policy
    };
    let share = |s: &mut Subscription| s.share_responsibility = true;
    let ann = in_groups("ann", &["a"]);
    let seen = |policies: Vec<Policy>| matches!(access(&declared(policies), &ann), Access::Visible(_));
    assert!(seen(vec![entitled("1", "a")]));
    assert!(!seen(vec![entitled("1", "a"), entitled("2", "b")]), "each must be satisfied");
    assert!(seen(vec![edit(entitled("1", "a"), share), edit(entitled("2", "b"), share)]), "one sharer is enough");
    assert!(!seen(vec![edit(entitled("1", "a"), share), entitled("2", "b")]), "those that do not share stay required");
    assert!(!seen(vec![edit(entitled("1", "b"), share), entitled("2", "a")]), "a lone sharer is required");
    assert!(!seen(vec![subscription("1", SubscriptionKind::Manual), anyone()]));
    assert!(!seen(vec![edit(anyone(), |s| s.automatic = false)]), "satisfied users must still ask");
    let mut asked = declared(vec![edit(anyone(), |s| s.automatic = false)]);
    asked.grants = vec![grant("hr.person", "ann", GrantState::Subscribed)];
    assert!(matches!(access(&asked, &ann), Access::Visible(_)));
    assert!(seen(vec![entitled("1", "b"), edit(entitled("2", "a"), |s| s.write = true)]), "WRITE implies READ");
    let mut staged = anyone();
    staged.staged = true;
    assert!(!seen(vec![staged]));
    assert!(!seen(vec![entitled("1", "")]), "nobody is in a group without name");
    assert!(!seen(vec![subscription(
        "1",
        SubscriptionKind::Entitlements(Audience { all: true, ..Audience::default() })
    )]));

    let discover = |s: &mut Subscription| s.allow_discovery = true;
    let found = access(&declared(vec![edit(entitled("1", "b"), discover)]), &ann);
    assert!(matches!(&found, Access::Discoverable { hint } if hint.contains("group b")), "{found:?}");
    let hidden = access(&declared(vec![edit(entitled("1", "b"), discover), entitled("2", "c")]), &ann);
    assert_eq!(hidden, Access::Hidden, "a policy that does not allow discovery hides");
    let met_hides_nothing = access(&declared(vec![edit(entitled("1", "b"), discover), entitled("2", "a")]), &ann);
    assert!(matches!(met_hides_nothing, Access::Discoverable { .. }));
}

#[test]
fn a_chain_ends_with_the_first_rule_that_touches() {
    // The seeds' "data mask otherwise".
    let mut hash = rule(masking("Discovered.Country", Mask::Hash));
    hash.exceptions = Some(Audience { purposes: vec!["Re-identification Prohibited".into()], ..Audience::default() });
    let chain = || {
        let null = for_groups(rule(masking("Discovered.Country", Mask::Null)), &["Employee"], &[]);
        vec![data_policy("otherwise", vec![null, hash.clone()])]
    };
    let employee = decide(chain(), &in_groups("ann", &["Employee"]));
    assert_eq!(mask_of(&employee, "country").unwrap().kind, "Null");
    let traces = trace_of(&employee, "otherwise");
    assert_eq!(traces.iter().map(|t| t.applied).collect::<Vec<_>>(), [true, false]);
    assert!(traces[1].why.contains("rule 1 of the chain"), "{}", traces[1].why);
    assert_eq!(mask_of(&decide(chain(), &caller("bob")), "country").unwrap().kind, "Hash");
    let mut exempt = caller("eve");
    exempt.purposes.insert("Re-identification Prohibited.Study".into());
    assert_eq!(mask_of(&decide(chain(), &exempt), "country"), None);
}

#[test]
fn the_most_restrictive_mask_wins() {
    let policies = vec![
        data_policy("b hash", vec![rule(masking("Discovered.Country", Mask::Hash))]),
        data_policy("c null", vec![rule(masking("Discovered.Country", Mask::Null))]),
        data_policy("d hash", vec![rule(masking("Discovered", Mask::Hash))]),
    ];
    let decision = decide(policies, &caller("ann"));
    let country = mask_of(&decision, "country").unwrap();
    assert_eq!((country.kind, &*country.policy, country.constant), ("Null", "c null", true));
    assert_eq!(&*mask_of(&decision, "ssn").unwrap().policy, "d hash");
    let loser = trace_of(&decision, "b hash")[0];
    assert!(!loser.applied && loser.why.contains("country is masked by c null (Null)"), "{}", loser.why);
    let partly = trace_of(&decision, "d hash")[0];
    assert!(partly.applied && partly.why.contains("country is masked by c null"), "{}", partly.why);
    // A tie goes to the smaller key.
    let tie = ["z", "y"].map(|key| data_policy(key, vec![rule(masking("Discovered.Country", Mask::Hash))])).to_vec();
    assert_eq!(&*mask_of(&decide(tie, &caller("ann")), "country").unwrap().policy, "y");
}

#[test]
fn a_mask_that_does_not_fit_ranks_as_the_null_it_is() {
    // A regular expression on a date is NULL; a truncation, less restrictive by name, must not replace it.
    let policies = vec![
        data_policy("r", vec![rule(mask_column("born", regex_mask(), None))]),
        data_policy("g", vec![rule(mask_column("born", Mask::GroupingTime(TimePrecision::Year), None))]),
        data_policy("h", vec![rule(mask_column("born", Mask::Hash, None))]),
    ];
    let decision = decide(policies, &caller("ann"));
    let mask = mask_of(&decision, "born").unwrap();
    assert!(mask.type_mismatch && mask.constant);
    assert_eq!(&*mask.sql, r#"NULL::pg_catalog."date""#);
}

#[test]
fn conditional_masks_are_layered() {
    let conditional = |key: &str, mask: Mask, predicate: &str| {
        data_policy(key, vec![rule(mask_column("country", mask, Some(predicate)))])
    };
    let sole = decide(vec![conditional("c", Mask::Null, "active")], &caller("ann"));
    assert_eq!(
        &*mask_of(&sole, "country").unwrap().sql,
        r#"CASE WHEN (_sv."active") IS NOT FALSE THEN NULL::pg_catalog."text" ELSE _sv."country" END"#
    );
    assert!(!mask_of(&sole, "country").unwrap().constant);
    let two =
        decide(vec![conditional("c", Mask::Null, "active"), conditional("b", regex_mask(), "id > 1")], &caller("ann"));
    let sql = &mask_of(&two, "country").unwrap().sql;
    assert!(
        sql.starts_with(r#"CASE WHEN (_sv."active") IS NOT FALSE THEN NULL"#) && sql.contains("ELSE CASE WHEN"),
        "{sql}"
    );
    // An unconditional mask displaces conditional ones that are not more restrictive …
    let whole = |mask| data_policy("w", vec![rule(mask_column("country", mask, None))]);
    let displaced = decide(
        vec![whole(Mask::Hash), conditional("b", Mask::Hash, "active"), conditional("c", regex_mask(), "active")],
        &caller("ann"),
    );
    let mask = mask_of(&displaced, "country").unwrap();
    assert!(&*mask.policy == "w" && !mask.sql.contains("CASE"), "{}", mask.sql);
    assert!(trace_of(&displaced, "b").iter().chain(&trace_of(&displaced, "c")).all(|t| !t.applied));
    // … and lies under those that are, so that it never shows more of their rows.
    let under = decide(vec![whole(regex_mask()), conditional("c", Mask::Null, "active")], &caller("ann"));
    let mask = mask_of(&under, "country").unwrap();
    assert!(
        mask.sql.starts_with("CASE WHEN") && mask.sql.contains("regexp_replace") && !mask.sql.contains("ELSE _sv"),
        "{}",
        mask.sql
    );
}

#[test]
fn what_a_mask_leaves_as_it_is_the_next_one_masks() {
    let replace = |key: &str, pattern: &str| {
        let mask =
            Mask::Regex { regex: pattern.into(), replacement: "x".into(), case_insensitive: false, global: true };
        data_policy(key, vec![rule(mask_column("country", mask, None))])
    };
    let decision = decide(vec![replace("a", "q"), replace("b", "e")], &caller("ann"));
    let first = r#"(pg_catalog.regexp_replace((_sv."country")::pg_catalog.text, 'q', 'x', 'g'))::pg_catalog."text""#;
    let second = first.replace("'q'", "'e'");
    assert_eq!(
        &*mask_of(&decision, "country").unwrap().sql,
        format!(r#"CASE WHEN ({first}) IS NOT DISTINCT FROM (_sv."country") THEN {second} ELSE {first} END"#)
    );
    // The same mask twice is that mask.
    let twice = decide(vec![replace("a", "q"), replace("b", "q")], &caller("ann"));
    assert_eq!(&*mask_of(&twice, "country").unwrap().sql, first);
}

#[test]
fn row_rules_are_all_applied_and_purposes_hide_rows() {
    let restriction =
        |purposes: &[&str], all| RuleKind::Purpose { all, purposes: purposes.iter().map(|p| (*p).into()).collect() };
    let policies = vec![
        data_policy("w1", vec![rule(RuleKind::RowByWhere("id > 1".into()))]),
        data_policy("w2", vec![rule(RuleKind::RowByWhere("active".into()))]),
        data_policy("p", vec![rule(restriction(&["Fraud", "Study"], true))]),
    ];
    let mut ann = caller("ann");
    ann.purposes.insert("Fraud.Cards".into());
    let decision = decide(policies.clone(), &ann);
    let sql: Vec<&str> = decision.rows.iter().map(|r| &*r.sql).collect();
    assert_eq!(sql, [r#"(_sv."id" > 1)"#, r#"_sv."active""#, "FALSE"]);
    assert_eq!(decision.unmet_purposes, ["Study"]);
    ann.purposes.insert("Study".into());
    let met = decide(policies, &ann);
    assert_eq!(met.rows.len(), 2);
    assert!(met.unmet_purposes.is_empty() && !trace_of(&met, "p")[0].applied);
    let wildcard = || vec![data_policy("p", vec![rule(restriction(&["<ANY PURPOSE>"], false))])];
    assert_eq!(decide(wildcard(), &caller("bob")).unmet_purposes, ["any purpose"]);
    assert!(decide(wildcard(), &ann).rows.is_empty());
    assert_eq!(
        decide(vec![data_policy("p", vec![rule(restriction(&[], true))])], &ann).rows.len(),
        1,
        "nothing satisfies none"
    );
}

#[test]
fn an_invalid_policy_makes_its_sources_refuse() {
    let broken = data_policy("broken", vec![rule(RuleKind::RowByWhere("nosuch = 1".into()))]);
    let declared = declared(vec![anyone(), broken]);
    let (bound, problems) = Ruleset::bind(&declared, "main", &catalog(), &Salts::new(b"s"));
    assert!(problems.iter().any(|p| p.is_error() && p.message.contains("nosuch")), "{problems:?}");
    let bound = bound.settle(&[]).0;
    assert_eq!(bound.access(&caller("ann"), &person_name(), SystemTime::UNIX_EPOCH), Access::Invalid);
    // Also for callers whom the rule would not touch: what cannot be evaluated is refused.
    let considered = bound.considered(&caller("ann"), &person_name(), SystemTime::UNIX_EPOCH);
    assert!(considered.iter().any(|t| &*t.policy == "broken"));
}

#[test]
fn what_the_warehouse_has_not_confirmed_is_refused() {
    let policies = vec![anyone(), data_policy("w", vec![rule(RuleKind::RowByWhere("id > 1".into()))])];
    let (bound, _) = Ruleset::bind(&declared(policies), "main", &catalog(), &Salts::new(b"s"));
    assert_eq!(bound.probes().len(), 1);
    assert_eq!(bound.probes()[0].sql, r#"SELECT NULL FROM "hr"."person" AS _sv WHERE ((_sv."id" > 1))"#);
    assert_eq!(bound.access(&caller("ann"), &person_name(), SystemTime::UNIX_EPOCH), Access::Invalid);
    let (bound, problems) = bound.settle(&[ProbeFailure { probe: 0, message: "no such operator".into() }]);
    assert!(problems[0].is_error() && problems[0].message.contains("no such operator"));
    assert_eq!(bound.access(&caller("ann"), &person_name(), SystemTime::UNIX_EPOCH), Access::Invalid);
}

#[test]
fn sets_are_arrays_while_the_warehouse_says_that_they_are_small() {
    let rule = rule(RuleKind::RowByWhere("id IN (SELECT p.id FROM hr.person p WHERE p.id = 5)".into()));
    let policies = vec![anyone(), data_policy("w", vec![rule])];
    let bind = || Ruleset::bind(&declared(policies.clone()), "main", &catalog(), &Salts::new(b"s")).0;
    let rows = |ruleset: Ruleset| match ruleset.access(&caller("ann"), &person_name(), SystemTime::UNIX_EPOCH) {
        Access::Visible(decision) => decision.rows.clone(),
        other => panic!("{other:?}"),
    };
    let probe = bind().probes().iter().position(|p| p.kind == ProbeKind::Few).unwrap();
    let small = rows(bind().settle(&[]).0);
    assert!(small[0].sql.contains("= ANY (ARRAY(SELECT") && !small[0].has_subquery, "{small:?}");
    let (ruleset, problems) = bind().settle(&[ProbeFailure { probe, message: "division by zero".into() }]);
    assert!(problems.is_empty(), "{problems:?}");
    let large = rows(ruleset);
    assert!(large[0].sql.contains(" IN (SELECT") && large[0].has_subquery, "{large:?}");
}

#[test]
fn a_constant_that_does_not_cast_becomes_null() {
    let policies = vec![
        anyone(),
        data_policy("c", vec![rule(mask_column("(id|salary)", Mask::Constant("REDACTED".into()), None))]),
        data_policy("h", vec![rule(mask_column("id", Mask::Hash, None))]),
    ];
    let declared = declared(policies);
    let (bound, _) = Ruleset::bind(&declared, "main", &catalog(), &Salts::new(b"s"));
    let failures: Vec<ProbeFailure> = bound
        .probes()
        .iter()
        .enumerate()
        .filter(|(_, p)| p.kind == ProbeKind::Constant)
        .map(|(probe, _)| ProbeFailure { probe, message: "invalid input syntax".into() })
        .collect();
    assert_eq!(failures.len(), 2);
    let (bound, problems) = bound.settle(&failures);
    assert!(problems.iter().all(|p| !p.is_error() && p.message.contains("does not fit")), "{problems:?}");
    let Access::Visible(decision) = bound.access(&caller("ann"), &person_name(), SystemTime::UNIX_EPOCH) else {
        panic!()
    };
    let mask = mask_of(&decision, "id").unwrap();
    assert_eq!((&*mask.sql, mask.type_mismatch, &*mask.policy), (r#"NULL::pg_catalog."int4""#, true, "c"));
}

#[test]
fn salts_differ_by_source_and_are_shared_by_projects_that_allow_it() {
    let mut declared =
        declared(vec![anyone(), data_policy("h", vec![rule(masking("Discovered.Country", Mask::Hash))])]);
    declared.projects =
        vec![project("joined", true, &["hr.person"]), project("apart", false, &[]), project("other", true, &["x"])];
    let bound = ruleset(&declared);
    let under = |key: Option<&str>| {
        let caller = Caller { project: key.map(Into::into), ..caller("ann") };
        match bound.access(&caller, &person_name(), SystemTime::UNIX_EPOCH) {
            Access::Visible(decision) => mask_of(&decision, "country").unwrap().sql.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(under(None), under(Some("joined")));
    assert_eq!(under(None), under(Some("apart")));
    assert_eq!(under(None), under(Some("other")), "the project does not hold the data source");
    for text in [under(None), under(Some("joined"))] {
        let redacted = bound.redact(&text);
        assert!(redacted.contains(r"'\x<salt>'"), "{redacted}");
        assert!(!redacted.contains(&Salts::new(b"secret").source("hr.person").hex()));
    }
    assert!(!format!("{bound:?}").contains(&Salts::new(b"secret").source("hr.person").hex()));
    for probe in bound.probes() {
        assert!(!probe.sql.contains(&Salts::new(b"secret").source("hr.person").hex()), "a probe holds no salt");
    }
}

fn project(key: &str, joins: bool, sources: &[&str]) -> Project {
    Project {
        key: key.into(),
        name: key.into(),
        purposes: Vec::new(),
        data_sources: sources.iter().map(|s| (*s).into()).collect(),
        members: Vec::new(),
        open_to_anyone: true,
        entitlements: None,
        allow_masked_joins: joins,
        equalization: None,
        description: None,
        origin: Origin::default(),
    }
}

#[test]
fn a_sample_does_not_change_with_the_project() {
    let mut declared =
        declared(vec![anyone(), data_policy("m", vec![rule(RuleKind::Minimization { percent: 10, column: None })])]);
    declared.projects = vec![project("joined", true, &[])];
    let bound = ruleset(&declared);
    let rows = |project: Option<&str>| {
        let caller = Caller { project: project.map(Into::into), ..caller("ann") };
        match bound.access(&caller, &person_name(), SystemTime::UNIX_EPOCH) {
            Access::Visible(decision) => decision.rows[0].sql.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(rows(None), rows(Some("joined")));
}

#[test]
fn new_columns_are_nulled() {
    let mut document = person();
    if let Some([Source::Table(table)]) = document.sources.as_deref_mut() {
        table.column_tags.push(("salary".into(), vec!["New".into()]));
    }
    let declared = Declared { data: vec![document], policies: shared(vec![anyone()]), ..Declared::default() };
    let decision = visible(&declared, &caller("ann"));
    let mask = mask_of(&decision, "salary").unwrap();
    assert_eq!((mask.kind, &*mask.policy), ("Null", "New Column Added"));
    assert_eq!(mask_of(&decision, "country"), None);
}

#[test]
fn staged_and_inapplicable_policies_are_traced() {
    let mut staged = data_policy("staged", vec![rule(masking("Discovered", Mask::Null))]);
    staged.staged = true;
    let mut nowhere = data_policy("nowhere", vec![rule(masking("Discovered", Mask::Null))]);
    nowhere.circumstances = Circumstances::OwnerApplied;
    let mut elsewhere = data_policy("elsewhere", vec![rule(masking("Discovered", Mask::Null))]);
    elsewhere.circumstances = Circumstances::When { all: false, list: vec![Circumstance::Tag("Other".into())] };
    let useless = data_policy("useless", vec![rule(masking("Other", Mask::Null))]);
    let ann = caller("ann");
    let bound = ruleset(&declared(vec![staged, nowhere, elsewhere, useless, anyone()]));
    let Access::Visible(decision) = bound.access(&ann, &person_name(), SystemTime::UNIX_EPOCH) else { panic!() };
    assert!(!decision.hides_anything());
    assert_eq!(decision.trace.len(), 1, "a decision does not grow with policies that do not touch it");
    let considered = bound.considered(&ann, &person_name(), SystemTime::UNIX_EPOCH);
    for policy in ["staged", "nowhere", "elsewhere", "useless"] {
        let traces: Vec<_> = considered.iter().filter(|t| &*t.policy == policy).collect();
        assert!(traces.len() == 1 && !traces[0].applied && !traces[0].why.is_empty(), "{policy}");
    }
}

#[test]
fn what_cannot_be_told_is_enforced() {
    let server = Circumstances::When { all: false, list: vec![Circumstance::Server("svc@db:5432/tpc".into())] };
    let mut policy = data_policy("s", vec![rule(masking("Discovered.Country", Mask::Null))]);
    policy.circumstances = server.clone();
    let mut letting_in = anyone();
    letting_in.circumstances = server;
    let mut declared = declared(vec![policy, letting_in]);
    assert!(mask_of(&visible(&declared, &caller("ann")), "country").is_some());
    declared.data[0].server = None;
    assert_eq!(access(&declared, &caller("ann")), Access::Hidden, "an uncertain subscription policy lets nobody in");
    declared.policies.push(Arc::new(subscription("x", SubscriptionKind::Anyone)));
    assert_eq!(access(&declared, &caller("ann")), Access::Hidden, "nor does it fall away beside another");
    declared.grants = vec![grant("hr.person", "ann", GrantState::Subscribed)];
    assert!(mask_of(&visible(&declared, &caller("ann")), "country").is_some(), "an uncertain mask is enforced");
    let (_, problems) = Ruleset::bind(&declared, "main", &catalog(), &Salts::new(b"s"));
    assert_eq!(problems.iter().filter(|p| !p.is_error() && p.message.contains("depends on the server")).count(), 2);
}

#[test]
fn grants_and_projects_name_known_sources() {
    let mut declared = declared(vec![]);
    declared.grants = vec![grant("hr.persn", "ann", GrantState::Subscribed)];
    declared.projects = vec![project("p", false, &["nowhere"])];
    let (_, problems) = Ruleset::bind(&declared, "main", &catalog(), &Salts::new(b"s"));
    let errors: Vec<&Problem> = problems.iter().filter(|p| p.is_error()).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].help.contains("hr.person"));
}

#[test]
fn entitlements_of_the_caller_reach_the_predicate() {
    let matches = vec![EntitlementMatch {
        held: Held::Attribute("site".into()),
        column: ColumnSelector::Tag("Discovered.Country".into()),
        iam: Some("bim".into()),
    }];
    let policies = vec![data_policy("e", vec![rule(RuleKind::RowByEntitlement { all: true, matches })])];
    let mut ann = caller("ann");
    assert_eq!(&*decide(policies.clone(), &ann).rows[0].sql, "(FALSE)");
    for (value, iam) in [("D'E", "bim"), ("FR", "okta")] {
        let value = Entitlement { value: value.into(), iam: iam.into() };
        ann.attributes.entry("site".into()).or_default().insert(value);
    }
    let decision = decide(policies, &ann);
    assert_eq!(&*decision.rows[0].sql, r#"(((_sv."country")::pg_catalog.text = ANY ('{"D''E"}'::pg_catalog.text[])))"#);
    assert_eq!(decision.rows[0].summary, "country in the caller's values of attribute site");
}

// ---- Adding a policy never widens. ----

/// The predicates of the small universe, as written and as compiled.
const PREDICATES: [(&str, &str); 2] = [("active", r#"_sv."active""#), ("id > 1", r#"(_sv."id" > 1)"#)];
const COLUMNS: [&str; 3] = ["country", "born", "id"];

fn masks() -> Vec<Mask> {
    vec![
        Mask::Null,
        Mask::Constant("0".into()),
        Mask::Hash,
        regex_mask(),
        Mask::GroupingNumber("10".into()),
        Mask::GroupingNumber("1000".into()),
        Mask::GroupingTime(TimePrecision::Year),
        Mask::GroupingTime(TimePrecision::Month),
        Mask::RandomizedNumber { stddev: 2.0, clip: false },
        Mask::RandomizedNumber { stddev: 20.0, clip: false },
        Mask::KAnonymization(3),
        Mask::KAnonymization(9),
    ]
}

/// How much a cell shows: rank, then strength reversed.
type Shows = (u8, std::cmp::Reverse<u64>);

/// What the raw value shows.
const RAW: Shows = (u8::MAX, std::cmp::Reverse(0));

/// What is so of a row: the predicates (`None` = NULL), and whether its combinations reach k = 3 and k = 9.
#[derive(Debug, Clone, Copy)]
struct Truth {
    predicates: [Option<bool>; 2],
    frequent: [bool; 2],
}

/// How much a cell shows, read off the decision's SQL.
fn cell(decision: &RelationDecision, column: &str, truth: Truth) -> Shows {
    let source = source();
    let catalog = catalog();
    let around = mask::Around { source: &source, catalog: &catalog, together: None };
    let dict = source.columns.iter().find(|c| c.name == column).unwrap();
    let salt = Salts::new(b"secret").source("hr.person");
    let ann = caller("ann");
    let filling = template::Filling::For { caller: &ann, mask: &salt, source: &salt };
    let known: Vec<(String, Shows)> = masks()
        .iter()
        .map(|m| mask::compile(m, dict, &around).unwrap())
        .map(|m| (m.sql.fill(filling), (m.rank, std::cmp::Reverse(m.strength))))
        .collect();
    let null = &known[0];
    // Which k a companion counts.
    let frequent = |alias: &str| {
        let companion = decision.companions.iter().find(|c| &*c.alias == alias).expect("a companion");
        truth.frequent[usize::from(companion.sql.contains("LEAST('9'"))]
    };
    let Some(mask) = mask_of(decision, column) else { return RAW };
    let mut rest: &str = &mask.sql;
    loop {
        if rest == mask::column_sql(dict) {
            return RAW;
        }
        if let Some((_, shows)) = known.iter().find(|(text, _)| text == rest) {
            return *shows;
        }
        // K-Anonymization, with a predicate or without.
        let mut condition = rest.strip_prefix("CASE WHEN ").unwrap_or_else(|| panic!("{rest}"));
        let mut excused = false;
        for (i, (_, p)) in PREDICATES.iter().enumerate() {
            if let Some(after) = condition.strip_prefix(&format!("(({p}) IS FALSE OR ")) {
                excused = truth.predicates[i] == Some(false);
                condition = after;
            }
        }
        if let Some(after) = condition.strip_prefix("\"_sk") {
            let (number, after) = after.split_once("\".\"shown\"").unwrap();
            let below = after.trim_start_matches(')').strip_prefix(" THEN ").unwrap();
            if !excused && !frequent(&format!("_sk{number}")) {
                return null.1;
            }
            rest = below.strip_suffix(&format!(" ELSE {} END", null.0)).unwrap();
            continue;
        }
        // A mask that may leave a value: here it does not.
        let left = known.iter().find_map(|(text, rank)| {
            let test = format!("({text}) IS NOT DISTINCT FROM ({})", mask::column_sql(dict));
            let after = |head: String| rest.strip_prefix(&head)?.strip_suffix(&format!(" ELSE {text} END"));
            if let Some(below) = after(format!("CASE WHEN {test} THEN ")) {
                return Some((*rank, None, below));
            }
            PREDICATES.iter().enumerate().find_map(|(index, (_, p))| {
                Some((*rank, Some(index), after(format!("CASE WHEN ({p}) IS FALSE OR ({test}) THEN "))?))
            })
        });
        if let Some((rank, index, below)) = left {
            if index.is_none_or(|index| truth.predicates[index] != Some(false)) {
                return rank;
            }
            rest = below;
            continue;
        }
        let (index, after) = PREDICATES
            .iter()
            .enumerate()
            .find_map(|(i, (_, p))| Some((i, rest.strip_prefix(&format!("CASE WHEN ({p}) IS NOT FALSE THEN "))?)))
            .unwrap_or_else(|| panic!("{rest}"));
        let (text, shows) = known.iter().find(|(text, _)| after.starts_with(&format!("{text} ELSE "))).unwrap();
        if truth.predicates[index] != Some(false) {
            return *shows;
        }
        rest = after.strip_prefix(&format!("{text} ELSE ")).unwrap().strip_suffix(" END").unwrap();
    }
}

/// Whether a row is shown where the predicates have these values.
fn row_shown(rows: &[RowPredicate], truth: [Option<bool>; 2]) -> bool {
    rows.iter().all(|row| match PREDICATES.iter().position(|(_, p)| *p == &*row.sql) {
        Some(index) => truth[index] == Some(true),
        None => {
            assert_eq!(&*row.sql, "FALSE");
            false
        }
    })
}

fn audience() -> impl Strategy<Value = Option<Audience>> {
    let names = proptest::collection::vec(prop_oneof![Just("a"), Just("b")], 0..3);
    let purposes = proptest::collection::vec(prop_oneof![Just("P"), Just("P.Q")], 0..2);
    proptest::option::of((any::<bool>(), names, purposes).prop_map(|(all, names, purposes)| Audience {
        all,
        groups: names.into_iter().map(|n| group(n, None)).collect(),
        attributes: Vec::new(),
        purposes: purposes.into_iter().map(Into::into).collect(),
        advanced: None,
    }))
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let mask = (0..3usize, 0..masks().len(), proptest::option::of(0..2usize)).prop_map(|(column, mask, predicate)| {
        mask_column(COLUMNS[column], masks()[mask].clone(), predicate.map(|p| PREDICATES[p].0))
    });
    let rows = (0..2usize).prop_map(|p| RuleKind::RowByWhere(PREDICATES[p].0.into()));
    let purpose =
        (any::<bool>(), proptest::collection::vec(prop_oneof![Just("P"), Just("P.Q"), Just("<ANY PURPOSE>")], 0..3))
            .prop_map(|(all, purposes)| RuleKind::Purpose {
                all,
                purposes: purposes.into_iter().map(Into::into).collect(),
            });
    let kind = prop_oneof![4 => mask, 2 => rows, 1 => purpose];
    (kind, audience(), audience()).prop_map(|(kind, exceptions, inclusions)| Rule {
        exceptions,
        inclusions,
        ..rule(kind)
    })
}

fn any_policies(max: usize) -> impl Strategy<Value = Vec<Policy>> {
    let chain = proptest::collection::vec(any_rule(), 1..3);
    proptest::collection::vec((0..20u8, chain), 0..max).prop_map(|list| {
        list.into_iter().enumerate().map(|(i, (key, rules))| data_policy(&format!("{key:02}-{i}"), rules)).collect()
    })
}

fn any_caller() -> impl Strategy<Value = Caller> {
    (any::<[bool; 2]>(), any::<[bool; 2]>()).prop_map(|(groups, purposes)| {
        let names: Vec<&str> = ["a", "b"].into_iter().zip(groups).filter(|(_, is)| *is).map(|(n, _)| n).collect();
        let mut caller = in_groups("ann", &names);
        caller.purposes = ["P", "P.Q"].into_iter().zip(purposes).filter(|(_, is)| *is).map(|(n, _)| n.into()).collect();
        caller
    })
}

const TRUTHS: [Option<bool>; 3] = [Some(true), Some(false), None];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn adding_a_policy_never_widens(before in any_policies(4), chain in proptest::collection::vec(any_rule(), 1..3), key in 0..20u8, caller in any_caller()) {
        let mut after = before.clone();
        after.push(data_policy(&format!("{key:02}-x"), chain));
        after.sort_by(|a, b| a.key.cmp(&b.key));
        let (before, after) = (decide(before, &caller), decide(after, &caller));
        for first in TRUTHS {
            for second in TRUTHS {
                let truth = [first, second];
                let (shown_before, shown_after) = (row_shown(&before.rows, truth), row_shown(&after.rows, truth));
                prop_assert!(shown_before || !shown_after, "a row appears");
                if !shown_after {
                    continue;
                }
                for (column, frequent) in
                    COLUMNS.iter().flat_map(|c| [[true, true], [true, false], [false, false]].map(|f| (*c, f)))
                {
                    let truth = Truth { predicates: truth, frequent };
                    let (before, after) = (cell(&before, column, truth), cell(&after, column, truth));
                    prop_assert!(after <= before, "{column} shows more: {before:?} became {after:?} where {truth:?}");
                }
            }
        }
    }

    #[test]
    fn adding_a_subscription_policy_that_does_not_share_never_lets_in(
        list in proptest::collection::vec((0..3u8, any::<[bool; 3]>(), audience()), 1..4),
        added in (0..3u8, any::<bool>(), audience()),
        caller in any_caller(),
    ) {
        let make = |key: String, kind: u8, flags: [bool; 3], audience: Option<Audience>| {
            let kind = match kind {
                0 => SubscriptionKind::Anyone,
                1 => SubscriptionKind::Manual,
                _ => SubscriptionKind::Entitlements(audience.unwrap_or_default()),
            };
            let mut policy = subscription(&key, kind);
            if let PolicyBody::Subscription(s) = &mut policy.body {
                (s.automatic, s.allow_discovery, s.share_responsibility) = (flags[0], flags[1], flags[2]);
            }
            policy
        };
        let mut policies: Vec<Policy> =
            list.into_iter().enumerate().map(|(i, (kind, flags, a))| make(i.to_string(), kind, flags, a)).collect();
        let openness = |access: &Access| match access {
            Access::Hidden | Access::Invalid => 0,
            Access::Discoverable { .. } => 1,
            Access::Visible(_) => 2,
        };
        let before = access(&declared(policies.clone()), &caller);
        policies.push(make("x".into(), added.0, [added.1, true, false], added.2));
        let after = access(&declared(policies), &caller);
        prop_assert!(openness(&after) <= openness(&before), "{before:?} became {after:?}");
    }

    #[test]
    fn decisions_do_not_depend_on_the_order_of_documents(policies in any_policies(5), caller in any_caller()) {
        let mut reversed = policies.clone();
        reversed.reverse();
        let (one, other) = (decide(policies, &caller), decide(reversed, &caller));
        prop_assert_eq!(&one.columns, &other.columns);
        for row in &one.rows {
            prop_assert!(other.rows.contains(row));
        }
        prop_assert_eq!(one.rows.len(), other.rows.len());
    }

    #[test]
    fn every_rule_is_in_the_trace(policies in any_policies(5), caller in any_caller()) {
        let decision = decide(policies.clone(), &caller);
        for policy in &policies {
            let PolicyBody::Data(actions) = &policy.body else { continue };
            let rules: usize = actions.iter().map(|a| a.rules.len()).sum();
            prop_assert_eq!(trace_of(&decision, &policy.key).len(), rules);
        }
        for column in &decision.columns {
            if let Some(mask) = &column.mask {
                prop_assert!(trace_of(&decision, &mask.policy).iter().any(|t| t.applied && t.columns.contains(&column.name)));
            }
        }
    }
}
