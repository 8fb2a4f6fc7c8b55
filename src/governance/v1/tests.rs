//! V1 documents mean what their V2 counterparts mean, JSON and YAML alike.

use crate::governance::model::{Circumstances, Declared, Policy, PolicyBody};
use crate::governance::store;

const BESIDE: [(&str, &str); 2] = [
    ("purposes/p.yaml", "name: Research\n---\nname: Re-identification Prohibited\n"),
    ("data/d.yaml", "connectionKey: main\nsources: [{table: t, schema: s}, {table: u, schema: s}]\n"),
];

fn load(path: &str, text: &str) -> Result<Declared, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("policies")).unwrap();
    for (path, text) in BESIDE.iter().chain([&(path, text)]) {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let shown = |p: &crate::governance::problem::Problem| {
        format!("{}:{}: {} ({})", p.origin.line, p.origin.column, p.message, p.help)
    };
    store::load(dir.path())
        .into_result()
        .map(|(declared, _)| declared)
        .map_err(|problems| problems.iter().map(shown).collect())
}

/// Everything of a policy but where it stands.
fn meaning(policy: &Policy) -> String {
    let mut out = format!(
        "{} {:?} {:?} {:?} {:?} {:?}",
        policy.key,
        policy.set_aside(),
        policy.circumstances,
        policy.owner_restrictions,
        policy.certification,
        policy.name
    );
    match &policy.body {
        PolicyBody::Subscription(subscription) => out.push_str(&format!("\n{subscription:?}")),
        PolicyBody::Data(actions) => {
            for action in actions {
                out.push_str(&format!("\n{:?}", action.description));
                for rule in &action.rules {
                    out.push_str(&format!("\n  {:?} {:?} {:?}", rule.kind, rule.exceptions, rule.inclusions));
                }
            }
        }
    }
    out
}

fn policies(text: &str) -> Vec<String> {
    let path = if text.trim_start().starts_with(['{', '[']) { "policies/p.json" } else { "policies/p.yaml" };
    let declared = load(path, text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    declared.policies.iter().map(|policy| meaning(policy)).collect()
}

fn same(v1: &str, v2: &str) {
    assert_eq!(policies(v1), policies(v2), "{v1}");
}

fn refused(text: &str, wanted: &str) {
    let problems = load("policies/p.yaml", text).err().unwrap_or_else(|| panic!("{text} loads"));
    assert!(problems.len() == 1 && problems[0].starts_with(wanted), "{text}\nfound  {problems:#?}\nwanted {wanted}");
}

#[test]
fn a_stored_global_policy() {
    let v1 = r#"{"id": 6, "policyKey": "hide-passports", "name": "Hide", "type": "data", "template": false, "staged": true,
        "systemGenerated": false, "deleted": false, "metadata": null, "clonedFrom": null, "createdBy": 2, "createdByName": "k",
        "createdAt": "2021-09-14", "updatedAt": "2021-09-15", "ownerRestrictions": null,
        "certification": {"tags": [], "text": "I swear", "label": "ok", "recertify": true},
        "actions": [{"type": "masking", "description": null, "rules": [{"type": "masking", "exceptions": null, "config": {
            "fields": [{"name": "Discovered.Passport", "displayName": "x", "hasLeafNodes": false, "source": "curated"}],
            "maskingConfig": {"type": "Consistent Value", "metadata": {}}}}]}],
        "circumstances": [{"operator": "or", "type": "columnTags", "columnTag": {"name": "Discovered.Passport", "hasLeafNodes": false}}]}"#;
    let v2 = "policyKey: hide-passports\nname: Hide\ntype: data\nstaged: true\n\
        certification: {text: I swear, label: ok, recertify: true}\n\
        actions: [{rules: [{type: Masking, config: {fields: [{type: columnTags, columnTag: Discovered.Passport}], maskingConfig: {type: Hash}}}]}]\n\
        circumstanceOperator: any\ncircumstances: [{type: columnTags, columnTag: Discovered.Passport}]\n";
    same(v1, v2);
    // The same in YAML, and without a key: the name is the key.
    let yaml = "name: hide-passports\ntype: data\nactions:\n- type: masking\n  rules:\n  - type: masking\n    config:\n      fields: [{name: Discovered.Passport}]\n      maskingConfig: {type: Consistent Value}\n";
    assert!(policies(yaml)[0].starts_with("hide-passports None Everywhere"));
}

#[test]
fn masks() {
    let mask = |config: &str| {
        format!(
            "{{\"name\": \"p\", \"type\": \"data\", \"actions\": [{{\"type\": \"masking\", \"rules\": [{{\"type\": \"masking\", \
             \"config\": {{\"fields\": [{{\"name\": \"New\"}}], \"maskingConfig\": {config}}}}}]}}]}}"
        )
    };
    let v2 = |config: &str| {
        format!(
            "policyKey: p\nname: p\ntype: data\nactions: [{{rules: [{{type: Masking, config: {{fields: \
             [{{type: columnTags, columnTag: New}}], maskingConfig: {config}}}}}]}}]\n"
        )
    };
    for (old, new) in [
        (r#"{"type": "Consistent Value", "metadata": {}}"#, "{type: Hash}"),
        (r#"{"type": "Consistent Value"}"#, "{type: Hash}"),
        (r#"{"type": "Consistent Value", "metadata": null}"#, "{type: Hash}"),
        (r#"{"type": "Consistent Value", "metadata": {"constant": null}}"#, "{type: 'Null'}"),
        (r#"{"type": "Consistent Value", "metadata": {"constant": "x"}}"#, "{type: Constant, constant: x}"),
        (r#"{"type": "Consistent Value", "metadata": {"constant": "null"}}"#, "{type: Constant, constant: 'null'}"),
        (r#"{"type": "Consistent Value", "metadata": {"constant": 7}}"#, "{type: Constant, constant: 7}"),
        (r#"{"type": "Grouping", "metadata": {"bucketSize": 100}}"#, "{type: Grouping, bucketSize: 100}"),
        (r#"{"type": "Grouping", "metadata": {"timePrecision": "MIN"}}"#, "{type: Grouping, timePrecision: MIN}"),
        (r#"{"type": "Reversible", "metadata": {}}"#, "{type: Reversible}"),
        (
            r#"{"type": "Regular Expression", "metadata": {"regex": "[0-9]{3}", "replacement": "$0"}}"#,
            "{type: Regular Expression, regex: '[0-9]{3}', replacement: '$0'}",
        ),
    ] {
        same(&mask(old), &v2(new));
        // V1 spellings of masks count in V2 documents too.
        assert_eq!(policies(&v2(old)), policies(&v2(new)), "{old}");
    }
    for (config, wanted) in [
        (r#"{"type": "Consistent Value", "metadata": {"constnat": "x"}}"#, "1:192: unknown key `constnat`"),
        (r#"{"type": "Consistent", "metadata": {}}"#, "1:159: `Consistent` is not a known masking type"),
        (r#"{"type": "Hash", "metadata": {}, "x": 1}"#, "1:183: unknown key `x`"),
        (r#"{"type": "Hash", "metadata": 5}"#, "1:179: the metadata of a mask must be a mapping"),
    ] {
        refused(&mask(config), wanted);
    }
}

#[test]
fn subscriptions() {
    let v1 = |action: &str| {
        format!(
            "{{\"name\": \"p\", \"type\": \"subscription\", \"staged\": false, \"actions\": [{{\"type\": \"subscription\", {action}}}]}}"
        )
    };
    let v2 = |actions: &str| format!("policyKey: p\nname: p\ntype: subscription\nactions: {actions}\n");
    for (old, new) in [
        (
            r#""subscriptionType": "automatic", "automaticSubscription": false"#,
            "{type: anyone, automaticSubscription: false}",
        ),
        (
            r#""subscriptionType": "manual", "accessGrant": "WRITE", "shareResponsibility": false, "automaticSubscription": false"#,
            "{type: manual, accessGrant: WRITE}",
        ),
        (
            r#""subscriptionType": "approval", "approvals": [{"requiredPermission": "OWNER", "specificApproverRequired": false}]"#,
            "{type: approval, approvals: [{requiredPermission: OWNER}]}",
        ),
        (
            r#""subscriptionType": "policy", "accessGrant": "WRITE", "exceptions": {"operator": "and", "conditions": [
                {"type": "authorizations", "authorization": {"auth": "has", "value": "write", "iam": "okta"}},
                {"type": "groups", "group": {"name": "HR"}}]}"#,
            "{type: entitlements, accessGrant: WRITE, entitlements: {operator: all, groups: [HR], attributes: [{name: has, value: write, iam: okta}]}}",
        ),
    ] {
        same(&v1(old), &v2(new));
    }
    for (action, wanted) in [
        (r#""subscriptionType": "open""#, "1:113: `open` is not a known subscriptionType"),
        (r#""subscriptionType": "manual", "exceptions": {"conditions": []}"#, "1:137: `exceptions` have a meaning"),
        (r#""subscriptionType": "policy""#, "1:113: `subscriptionType: policy` without"),
    ] {
        refused(&v1(action), wanted);
    }
    refused(
        "name: p\ntype: subscription\nactions:\n- {type: subscription, subscriptionType: manual}\n- {type: subscription, subscriptionType: manual}\n",
        "4:3: a subscription policy with 2 actions",
    );
}

#[test]
fn circumstances() {
    let v1 = |rest: &str| format!("name: p\ntype: subscription\nactions: [{{subscriptionType: manual}}]\n{rest}\n");
    let v2 = |rest: &str| format!("policyKey: p\nname: p\ntype: subscription\nactions: {{type: manual}}\n{rest}\n");
    for (old, new) in [
        ("", ""),
        ("circumstances: null", "circumstances: null"),
        (
            "circumstances: [{operator: and, type: columnRegex, columnRegex: {regex: ssn, caseInsensitive: true}}, {operator: and, type: server, server: 'a@b:1/c'}]",
            "circumstanceOperator: all\ncircumstances: [{type: columnRegex, regex: ssn, caseInsensitive: true}, {type: server, server: 'a@b:1/c'}]",
        ),
        (
            "circumstances: {operator: or, type: tags, tag: {name: New}}",
            "circumstanceOperator: any\ncircumstances: [{type: tags, tag: New}]",
        ),
        (
            "circumstances: [{operator: or, type: time, startDate: 2020-01-01, endDate: null}, {operator: or, type: anyTag}, {operator: or, type: noTags}]",
            "circumstances: [{type: time, startDate: 2020-01-01}, {type: anyTag}, {type: noTags}]",
        ),
    ] {
        same(&v1(old), &v2(new));
    }
    refused(
        &v1("circumstances: [{operator: and, type: anyTag}, {operator: or, type: noTags}]"),
        "4:59: circumstances with different operators",
    );
}

#[test]
fn rules_of_every_type() {
    let v1 = |kind: &str, rule: &str| {
        format!("name: p\ntype: data\nactions:\n- type: {kind}\n  rules:\n  - {{type: {kind}, {rule}}}\n")
    };
    let v2 = |rule: &str| format!("policyKey: p\nname: p\ntype: data\nactions: [{{rules: [{{{rule}}}]}}]\n");
    for (kind, old, new) in [
        (
            "prerequisite",
            "config: {qualifications: {operator: and, conditions: [{type: purposes, value: Research}]}}",
            "type: Purpose Restriction, config: {operator: all, purposes: [Research]}",
        ),
        (
            "visibility",
            "config: {qualifications: {operator: or, conditions: [{type: groups, field: city, group: {iam: ad}}, {type: authorizations, field: dep, authorization: {auth: a}}, {type: purposes, field: why}]}}",
            "type: Row Restriction By User Entitlements, config: {operator: any, matches: [{type: group, column: city, iam: ad}, {type: attribute, attribute: a, column: dep}, {type: purpose, column: why}]}",
        ),
        (
            "minimization",
            "config: {percent: 50, hashPhrase: name}, exceptions: {operator: or, conditions: {type: groups, group: admins}}",
            "type: Minimization, config: {percent: 50, hashPhrase: name}, exceptions: {operator: any, groups: [admins]}",
        ),
        ("time", "config: {time: 14400}", "type: Time Restriction, config: {isOlderOrNewer: newer, time: 14400}"),
        (
            "time",
            "config: {filterSeconds: 60, isOlderOrNewer: older, eventTimeColumn: at}",
            "type: Time Restriction, config: {isOlderOrNewer: older, time: 60, eventTimeColumn: at}",
        ),
        (
            "customWhere",
            "config: {predicate: a = 1}",
            "type: Row Restriction by Custom Where Clause, config: {predicate: a = 1}",
        ),
        (
            "showRowsNever",
            "exceptions: {conditions: [{type: purposes, value: Research}]}",
            "type: showRowsNever, exceptions: {purposes: [Research]}",
        ),
        ("showRowsNever", "config: null", "type: showRowsNever, config: {}"),
    ] {
        same(&v1(kind, old), &v2(new));
    }
    // Qualifications and the predicate they were compiled to: both count, in chains that end alike.
    let both = "name: p\ntype: data\nactions:\n- type: rowOrObjectRestriction\n  rules:\n  - type: visibility\n    exceptions: {conditions: [{type: groups, group: {name: hr}}]}\n    config:\n      predicate: \"(`city` in (@groups()))\"\n      qualifications: {operator: and, conditions: [{type: groups, field: city}]}\n  - type: visibility\n    config: {qualifications: {conditions: [{type: groups, field: town}]}}\n";
    let town = "{type: Row Restriction By User Entitlements, config: {matches: [{type: group, column: town}]}}";
    same(
        both,
        &format!(
            "policyKey: p\nname: p\ntype: data\nactions:\n- rules:\n  - {{type: Row Restriction By User Entitlements, exceptions: {{groups: [hr]}}, config: {{operator: all, matches: [{{type: group, column: city}}]}}}}\n  - {town}\n- rules:\n  - {{type: Row Restriction by Custom Where Clause, exceptions: {{groups: [hr]}}, config: {{predicate: '(`city` in (@groups()))'}}}}\n  - {town}\n"
        ),
    );
    for (kind, rule, wanted) in [
        ("exemption", "config: {}", "4:9: an `exemption` cannot be enforced"),
        ("external", "config: {}", "4:9: an `external` policy"),
        ("masking", "exceptions: null", "6:5: a rule lacks the key `config`"),
        ("masking", "config: {fields: [ssn], maskingConfig: {type: Hash}}", "6:39: a field must be a tag"),
        (
            "prerequisite",
            "config: {qualifications: {conditions: [{type: groups, group: g}]}}",
            "6:64: a `prerequisite` on something",
        ),
        ("visibility", "config: {}", "6:32: a row rule without"),
        (
            "visibility",
            "config: {qualifications: {conditions: [{type: groups, group: {name: g}}]}}",
            "6:63: a condition lacks the key `field`",
        ),
        (
            "visibility",
            "config: {qualifications: {conditions: [{type: groups, field: f, group: {name: g}}]}}",
            "6:102: a fixed value beside `field`",
        ),
        (
            "minimization",
            "config: {percent: 5}, exceptions: {conditions: [{type: groups, group: g, field: f}]}",
            "6:106: `field` in a condition on who somebody is",
        ),
        ("time", "config: {}", "6:26: the config of a rule lacks the key `time`"),
        ("minimization", "type2: x, config: {percent: 5}", "6:26: unknown key `type2`"),
    ] {
        refused(&v1(kind, rule), wanted);
    }
    refused(
        "name: p\ntype: data\nactions:\n- type: masking\n  rules:\n  - {type: time, config: {time: 5}}\n",
        "6:12: a rule of type `time` in a policy of type `masking`",
    );
}

#[test]
fn local_policies() {
    let v1 = r#"{"dataSource": "s.t", "jsonPolicies": [
        {"type": "masking", "rules": [{"type": "masking", "config": {"fields": ["amount", "b"], "maskingConfig":
            {"type": "Consistent Value", "metadata": {"constant": null}}}, "exceptions": null}],
         "createdAt": "2021-09-20T20:03:18.001Z", "createdBy": 2, "description": null},
        {"type": "prerequisite", "rules": [{"type": "prerequisite", "exceptions": null, "config": {"qualifications":
            {"operator": "and", "conditions": [{"type": "purposes", "value": "Re-identification Prohibited"}]}}}], "description": ""},
        {"type": "showRowsNever", "rules": [{"type": "showRowsNever"}], "disabled": true}],
        "dataSourcePolicyHandler": {"handlerId": 26, "visibilitySchema": {"fields": []}}}"#;
    let found = policies(v1);
    assert_eq!(found.len(), 3);
    assert!(found[0].starts_with(r#"local s.t masking_0 None Only("s.t")"#), "{found:#?}");
    assert!(found[0].contains(r#"fields: [Column("amount"), Column("b")], mask: Null"#), "{found:#?}");
    assert!(found[1].contains(r#"Purpose { all: true, purposes: ["Re-identification Prohibited"] }"#), "{found:#?}");
    assert!(found[2].starts_with(r#"local s.t showRowsNever_2 Some("the policy is disabled")"#), "{found:#?}");
    let old = "dataSource: s.t
jsonRules:
- {type: prerequisite, operator: or, conditions: [{type: purposes, value: Research}]}
- {type: masking, fields: [email, place], operator: or, conditions: [{type: groups, group: {name: admins, iam: ad}}]}
- {type: additional, name: minimization, operator: or, conditions: {type: groups, group: {name: admins}}}
- {type: additional, name: time}
- {type: visibility, operator: and, conditions: [{type: authorizations, field: dep, authorization: {auth: a}}]}
policyHandler:
  maskingConfiguration:
  - {type: Consistent Value, name: email, metadata: {constant: HIDDEN}}
  - {type: Grouping, name: place, metadata: {bucketSize: 5}}
  additionalFilters: {minimization: {percent: 50, hashPhrase: name}, time: 14400}
";
    let found = policies(old).join("\n");
    for part in [
        "local s.t additional_2",
        "percent: 50, column: Some(\"name\")",
        "newer: true, seconds: 14400",
        "fields: [Column(\"email\")], mask: Constant(\"HIDDEN\")",
        "fields: [Column(\"place\")], mask: GroupingNumber(\"5\")",
        "groups: [GroupCondition { name: \"admins\", iam: Some(\"ad\") }]",
        "held: Attribute(\"a\"), column: Name(\"dep\")",
        "Purpose { all: false, purposes: [\"Research\"] }",
    ] {
        assert!(found.contains(part), "{part}\n{found}");
    }
    let declared = load("policies/p.json", v1).unwrap();
    assert!(declared.policies.iter().all(|p| matches!(&p.circumstances, Circumstances::Only(name) if name == "s.t")));
    for (text, wanted) in [
        ("dataSourceId: 2\njsonPolicies: []\n", "1:15: `dataSourceId` does not name a data source"),
        ("jsonPolicies: []\n", "1:1: the policies of a data source lack the key `dataSource`"),
        ("dataSource: s.x\njsonPolicies: []\n", "1:13: the data source `s.x` is not declared (did you mean `s.t`?"),
        ("dataSource: s.t\njsonPolicies: []\njsonRules: []\n", "3:12: `jsonRules` beside"),
        (
            "dataSource: s.t\njsonPolicies: []\n---\ndataSource: s.t\njsonPolicies: []\n",
            "4:1: the set of local policies of `s.t`",
        ),
        ("dataSource: s.t\njsonPolicies: [{type: exemption, rules: []}]\n", "2:23: an `exemption` cannot be enforced"),
        (
            "dataSource: s.t\njsonPolicies: [{type: masking, rules: [], global: {id: 8}}]\n",
            "2:51: a copy of a global policy",
        ),
        (
            "dataSource: s.t\njsonRules: [{type: masking, fields: [a]}]\n",
            "2:38: no `policyHandler.maskingConfiguration`",
        ),
        ("dataSource: s.t\njsonRules: [{type: additional, name: time}]\n", "2:38: a rule `time` without"),
    ] {
        let problems = load("policies/p.yaml", text).err().unwrap_or_else(|| panic!("{text} loads"));
        assert!(problems[0].starts_with(wanted), "{text}\nfound  {problems:#?}\nwanted {wanted}");
    }
}
