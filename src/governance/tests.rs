//! Every kind of document, every rule about it, and each mistake with its exact line.

use super::model::*;
use super::problem::Severity;
use super::store;
use proptest::prelude::*;
use std::path::Path;

/// A purpose and a data source that the samples may name.
const PURPOSE: &str = "name: Research\n";

/// Writes `(path, text)` pairs into a fresh directory and loads it; `data/` and `policies/` exist.
fn load(files: &[(&str, &str)]) -> (store::Loaded, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["data", "policies"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    (store::load(dir.path()), dir)
}

/// Problems as `folder/file:line:column: message`, without the directory and without help.
fn short(loaded: &store::Loaded, dir: &Path) -> Vec<String> {
    let relative = |file: &Path| file.strip_prefix(dir).unwrap_or(file).display().to_string();
    loaded
        .problems
        .iter()
        .map(|p| format!("{}:{}:{}: {}", relative(&p.origin.file), p.origin.line, p.origin.column, p.message))
        .collect()
}

/// Loads one file and wants exactly these problems, by beginning.
fn wants(path: &str, text: &str, expected: &[&str]) {
    let (loaded, dir) = load(&[(path, text), ("purposes/known.yaml", PURPOSE)]);
    let found = short(&loaded, dir.path());
    assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{text}\nfound  {found}\nwanted {expected}");
    }
}

/// Loads one file that must have no problem at all.
fn clean(path: &str, text: &str) -> Declared {
    let (loaded, dir) = load(&[(path, text), ("purposes/known.yaml", PURPOSE)]);
    assert_eq!(short(&loaded, dir.path()), Vec::<String>::new(), "{text}");
    loaded.declared
}

fn policy(rest: &str) -> String {
    format!("policyKey: k\nname: n\n{rest}")
}

/// A data policy with one rule, whose text begins on line 6 with `- `.
fn rule(text: &str) -> String {
    policy(&format!("type: data\nactions:\n- rules:\n  - {}\n", text.replace('\n', "\n    ")))
}

/// A masking rule with this `maskingConfig` in flow style on line 9.
fn mask(config: &str) -> String {
    rule(&format!("type: Masking\nconfig:\n  fields: [{{type: allColumns}}]\n  maskingConfig: {{{config}}}"))
}

fn only_rule(text: &str) -> Rule {
    let mut declared = clean("policies/p.yaml", text);
    let PolicyBody::Data(mut actions) = declared.policies.remove(0).body.clone() else { panic!("a data policy") };
    actions.remove(0).rules.remove(0)
}

fn only_mask(config: &str) -> Mask {
    let RuleKind::Masking { mask, .. } = only_rule(&mask(config)).kind else { panic!("a mask") };
    mask
}

#[test]
fn every_published_policy_shape_loads() {
    let text = include_str!("../../tests/data/governance/v2-policies.yaml");
    let (loaded, dir) = load(&[("policies/all.yaml", text), ("purposes/p.yaml", PURPOSE)]);
    assert_eq!(short(&loaded, dir.path()), [""; 0]);
    assert_eq!(loaded.declared.policies.len(), 29);
    assert!(loaded.declared.policies.is_sorted_by(|a, b| a.key < b.key));
}

#[test]
fn unmask_requests() {
    let request = "requestKey: r1\ndataSource: emp\ncolumn: ssn\nrequester: ann\n";
    let data = "connectionKey: main\nsources:\n- {table: emp, schema: hr, naming: {datasource: emp}}\n";
    let good = "unmaskReasoning: fraud case\nstate: Approved\napprovedBy: bob\nexpiration: 2030-01-01\nvalues: [abc]\n";
    let (loaded, dir) = load(&[("data/d.yaml", data), ("unmaskRequests/good.yaml", &format!("{request}{good}"))]);
    assert_eq!(short(&loaded, dir.path()), [""; 0]);
    let found = &loaded.declared.unmask_requests[0];
    assert_eq!((found.key.as_str(), found.reason.as_str(), found.state), ("r1", "fraud case", UnmaskState::Approved));
    assert!(found.values.as_ref().is_some_and(|v| v.contains("abc")));
    for (rest, message) in [
        ("state: pending\n", "an unmask request lacks the key `reason`"),
        ("reason: x\nunmaskingReason: y\nstate: pending\n", "the reason is given twice"),
        ("reason: x\nstate: approved\nexpiration: 2030-01-01\n", "an approved request without `approvedBy`"),
        (
            "reason: x\nstate: approved\napprovedBy: ann\nexpiration: 2030-01-01\n",
            "the request is approved by who made it",
        ),
        ("reason: x\nstate: approved\napprovedBy: bob\n", "an approved request without `expiration`"),
        ("reason: x\nstate: approved\napprovedBy: bob\nexpiration: soon\n", "`soon` is not an instant"),
        ("reason: x\nstate: open\n", "`open` is not a known state"),
    ] {
        let (loaded, dir) = load(&[("data/d.yaml", data), ("unmaskRequests/bad.yaml", &format!("{request}{rest}"))]);
        let said = short(&loaded, dir.path());
        assert!(said.len() == 1 && said[0].contains(message), "{rest}: {said:?}");
        assert!(loaded.declared.unmask_requests.is_empty(), "{rest}");
    }
}

#[test]
fn yaml_and_json_give_the_same_policy() {
    let yaml = rule("type: Minimization\nconfig: {percent: 15}\nexceptions: {groups: [a]}");
    let json = r#"{"policyKey": "k", "name": "n", "type": "data", "actions": [{"rules": [
        {"type": "Minimization", "config": {"percent": 15}, "exceptions": {"groups": ["a"]}}]}]}"#;
    let plain = |declared: Declared| {
        let PolicyBody::Data(actions) = &declared.policies[0].body else { panic!() };
        format!("{:?} {:?}", actions[0].rules[0].kind, actions[0].rules[0].exceptions)
    };
    assert_eq!(plain(clean("policies/p.yaml", &yaml)), plain(clean("policies/p.json", json)));
    wants(
        "policies/p.json",
        "{\"policyKey\": \"k\",\n \"naem\": \"n\"}",
        &[
            "policies/p.json:1:1: a policy lacks the key `name`",
            "policies/p.json:1:1: a policy lacks the key `type`",
            "policies/p.json:1:1: a policy lacks the key `actions`",
            "policies/p.json:2:2: unknown key `naem`",
        ],
    );
}

#[test]
fn a_list_at_the_top_is_several_documents() {
    let one = |key: &str| {
        format!(
            "{{\"policyKey\": \"{key}\", \"name\": \"n\", \"type\": \"subscription\", \"actions\": {{\"type\": \"manual\"}}}}"
        )
    };
    let declared = clean("policies/p.json", &format!("[{},{}]", one("b"), one("a")));
    let keys: Vec<&str> = declared.policies.iter().map(|p| &*p.key).collect();
    assert_eq!(keys, ["a", "b"]);
}

#[test]
fn subscriptions() {
    let subscription = |actions: &str| {
        let text = policy(&format!("type: subscription\nactions: {actions}\n"));
        let PolicyBody::Subscription(found) = clean("policies/p.yaml", &text).policies.remove(0).body.clone() else {
            panic!()
        };
        found
    };
    let anyone = subscription("{type: anyone}");
    assert!(matches!(anyone.kind, SubscriptionKind::Anyone) && anyone.automatic && !anyone.write);
    assert!(!anyone.allow_discovery && !anyone.share_responsibility);
    let manual = subscription("{type: manual, allowDiscovery: true, accessGrant: WRITE, description: d}");
    assert!(!manual.automatic && manual.allow_discovery && manual.write);
    assert_eq!(manual.description.as_deref(), Some("d"));
    let entitled = subscription(
        "{type: entitlements, shareResponsibility: true, automaticSubscription: false,
          entitlements: {operator: ALL, groups: [g, {name: h, iam: ad}], attributes: [{name: a, value: 5, iam: ad}]}}",
    );
    assert!(!entitled.automatic && entitled.share_responsibility);
    let SubscriptionKind::Entitlements(audience) = entitled.kind else { panic!() };
    assert!(audience.all);
    assert_eq!(audience.groups[1], GroupCondition { name: "h".into(), iam: Some("ad".into()) });
    assert_eq!(
        audience.attributes[0],
        AttributeCondition { name: "a".into(), value: "5".into(), iam: Some("ad".into()) }
    );
}

#[test]
fn mistakes_in_subscriptions() {
    let case = |actions: &str, expected: &[&str]| {
        wants("policies/p.yaml", &policy(&format!("type: subscription\nactions:\n{actions}\n")), expected);
    };
    case("  type: approval", &["policies/p.yaml:5:3: `approvals` are missing"]);
    case("  type: approval\n  approvals: []", &["policies/p.yaml:6:14: `approvals` is empty"]);
    case(
        "  type: approval\n  approvals: [{requiredPermission: BOSS, specificApproverRequired: true}]",
        &["policies/p.yaml:6:36: `BOSS` is not a known permission"],
    );
    case(
        "  type: approval\n  automaticSubscription: true\n  approvals: [{requiredPermission: OWNER}]",
        &["policies/p.yaml:5:9: `automaticSubscription: true` with `approval`"],
    );
    case(
        "  type: entitlements\n  advanced: \"@isInGroups('Engineers', 'Founders'') AND @hasAttribute('Auth1', 'Super Secret')\"",
        &["policies/p.yaml:6:48: the text goes on behind this doubled quote, and never ends"],
    );
    case(
        "  type: entitlements\n  advanced: |\n    @isInGroups('a')\n    AND @isInGrups('b')",
        &["policies/p.yaml:8:9: there is no template function @isInGrups"],
    );
    case(
        "  type: entitlements\n  advanced: \"@isInGroups('a')\"\n  entitlements: {groups: [a]}",
        &["policies/p.yaml:6:13: `advanced` beside `entitlements`"],
    );
    case("  type: everyone", &["policies/p.yaml:5:9: `everyone` is not a known subscription type"]);
    case("  type: entitlements", &["policies/p.yaml:5:3: `entitlements` are missing"]);
    case(
        "  type: entitlements\n  entitlements: {operator: all}",
        &["policies/p.yaml:6:17: `entitlements` name nobody"],
    );
    case(
        "  type: entitlements\n  entitlements: {groups: g}",
        &[
            "policies/p.yaml:6:26: `groups` must be a list, found text",
            "policies/p.yaml:6:17: `entitlements` name nobody",
        ],
    );
    case("  type: manual\n  shareResponsibility: true", &["policies/p.yaml:5:3: `automaticSubscription` and"]);
    case("  type: anyone\n  groups: [a]", &["policies/p.yaml:6:3: unknown key `groups`"]);
    case("  type: anyone\n  accessGrant: ALL", &["policies/p.yaml:6:16: `ALL` is not a known access"]);
    case(
        "  - type: anyone",
        &["policies/p.yaml:5:3: the actions of a subscription policy must be a mapping, found a list"],
    );
}

#[test]
fn circumstances_absent_null_and_listed_are_three_things() {
    let read = |text: &str| {
        let text = policy(&format!("type: subscription\nactions: {{type: manual}}\n{text}"));
        clean("policies/p.yaml", &text).policies.remove(0).circumstances.clone()
    };
    assert!(matches!(read(""), Circumstances::Everywhere));
    assert!(matches!(read("circumstances: null\n"), Circumstances::OwnerApplied));
    assert!(matches!(read("circumstances:\n"), Circumstances::OwnerApplied));
    assert!(matches!(read("circumstanceOperator: all\n"), Circumstances::Everywhere));
    let Circumstances::When { all, list } = read(
        "circumstanceOperator: ALL\ncircumstances:\n- {type: tags, tag: Discovered}\n- {type: columnTags, columnTag: New}\n\
         - {type: columnRegex, regex: '^SSN$', caseInsensitive: true}\n- {type: anyTag}\n- {type: noTags}\n\
         - {type: time, startDate: 2020-01-01}\n- {type: server, server: 'u@h:5432/d'}\n",
    ) else {
        panic!()
    };
    assert!(all);
    assert_eq!(list.len(), 7);
    let Circumstance::ColumnRegex(regex) = &list[2] else { panic!() };
    assert!(regex.is_match("ssn"));
    let Circumstance::Time { start, end } = &list[5] else { panic!() };
    assert_eq!((start.unwrap().to_string().as_str(), *end), ("2020-01-01T00:00:00Z", None));
    let Circumstances::When { all, .. } = read("circumstances: [{type: anyTag}]\n") else { panic!() };
    assert!(!all, "the default operator is any");
}

#[test]
fn mistakes_in_circumstances() {
    let case = |text: &str, expected: &[&str]| {
        wants(
            "policies/p.yaml",
            &policy(&format!("type: subscription\nactions: {{type: manual}}\n{text}\n")),
            expected,
        );
    };
    case("circumstances: []", &["policies/p.yaml:5:16: `circumstances` is empty"]);
    case("circumstances: {type: anyTag}", &["policies/p.yaml:5:16: `circumstances` must be a list"]);
    case("circumstanceOperator: both", &["policies/p.yaml:5:23: `both` is not a known operator"]);
    case(
        "circumstances:\n- type: tag\n- type: tags",
        &[
            "policies/p.yaml:6:9: `tag` is not a known circumstance type",
            "policies/p.yaml:7:3: a circumstance lacks the key `tag`",
        ],
    );
    case(
        "circumstances:\n- {type: columnRegex, regex: '('}",
        &["policies/p.yaml:6:30: the regular expression does not compile"],
    );
    case(
        "circumstances:\n- {type: columnRegex, regex: '(a{999}){999}'}",
        &["policies/p.yaml:6:30: the regular expression is too large"],
    );
    case("circumstances:\n- {type: time}", &["policies/p.yaml:6:3: a time circumstance without"]);
    case(
        "circumstances:\n- {type: time, startDate: 2021-01-01, endDate: 2020-01-01}",
        &["policies/p.yaml:6:3: `startDate` is after"],
    );
    case("circumstances:\n- {type: time, startDate: later}", &["policies/p.yaml:6:27: `later` is not an instant"]);
    case(
        "circumstances:\n- {type: columnTags, columnTag: Discoverd.X}",
        &["policies/p.yaml:6:33: the tag `Discoverd.X` is not declared"],
    );
    case(
        "circumstances:\n- {type: columnTags, columnTag: Discovered..X}",
        &["policies/p.yaml:6:33: `Discovered..X` is not a tag"],
    );
    case("circumstances:\n- {type: anyTag, tag: New}", &["policies/p.yaml:6:18: unknown key `tag`"]);
}

#[test]
fn masks() {
    assert!(matches!(only_mask("type: \"Null\""), Mask::Null));
    assert!(matches!(only_mask("type: Hash"), Mask::Hash));
    assert!(matches!(only_mask("type: Constant, constant: 007"), Mask::Constant(text) if text == "007"));
    assert!(matches!(only_mask("type: Constant, constant: ''"), Mask::Constant(text) if text.is_empty()));
    assert!(matches!(only_mask("type: Grouping, bucketSize: 0.25"), Mask::GroupingNumber(text) if text == "0.25"));
    assert!(matches!(only_mask("type: Grouping, timePrecision: MIN"), Mask::GroupingTime(TimePrecision::Minute)));
    assert!(matches!(only_mask("type: Grouping, timePrecision: YEAR"), Mask::GroupingTime(TimePrecision::Year)));
    let Mask::Regex { regex, replacement, case_insensitive, global } =
        only_mask(r#"type: Regular Expression, regex: "(\\d)", replacement: "$1X", global: true"#)
    else {
        panic!()
    };
    assert_eq!((regex.as_str(), replacement.as_str(), case_insensitive, global), ("(\\d)", "$1X", false, true));
}

#[test]
fn statistical_masks() {
    assert!(matches!(only_mask("type: Grouping"), Mask::GroupingFingerprint));
    for (config, k) in [
        ("", 5),
        (", kLevel: 2", 2),
        (", reIdProbability: 15", 7),
        (", reIdProbability: 20", 5),
        (", reIdProbability: 0.1", 1000),
        (", reIdProbability: 33.4", 3),
        (", reIdProbability: 99", 2),
        (", reIdProbability: 0.0000000001", 1_000_000_000),
    ] {
        let config = format!("type: K-Anonymization{config}");
        assert!(matches!(only_mask(&config), Mask::KAnonymization(found) if found == k), "{config}");
    }
    let rate = only_mask("type: Randomized Response, replacementRatePercent: 10");
    assert!(matches!(rate, Mask::RandomizedCategory(percent) if percent == 10.0));
    let noise = only_mask("type: Randomized Response, stddev: 2.5");
    assert!(matches!(noise, Mask::RandomizedNumber { stddev, clip: false } if stddev == 2.5));
    let clipped = only_mask("type: Randomized Response, stddev: 2, clip: true");
    assert!(matches!(clipped, Mask::RandomizedNumber { clip: true, .. }));

    let case = |config: &str, expected: &[&str]| wants("policies/p.yaml", &mask(config), expected);
    for bad in ["1", "0", "-3", "2.5", "'5'", "many", "1000000001"] {
        case(
            &format!("type: K-Anonymization, kLevel: {bad}"),
            &["policies/p.yaml:9:54: `kLevel` must be a whole number from 2 to 1000000000"],
        );
    }
    for bad in ["0", "-1", "100.5", "'15'", ".nan", "[15]"] {
        case(
            &format!("type: K-Anonymization, reIdProbability: {bad}"),
            &["policies/p.yaml:9:63: `reIdProbability` must be a number above 0 and at most 100"],
        );
        case(
            &format!("type: Randomized Response, replacementRatePercent: {bad}"),
            &["policies/p.yaml:9:74: `replacementRatePercent` must be a number above 0 and at most 100"],
        );
    }
    case("type: K-Anonymization, kLevel: 5, reIdProbability: 20", &["policies/p.yaml:9:54: `kLevel` beside"]);
    case(
        "type: K-Anonymization, reIdProbability: 100",
        &["policies/p.yaml:9:63: `reIdProbability` of 100 masks nothing"],
    );
    case("type: K-Anonymization, stddev: 5", &["policies/p.yaml:9:46: unknown key `stddev`"]);
    for bad in ["0", "-2", "1e-13", "1e19", ".inf", "'2'", "two"] {
        case(
            &format!("type: Randomized Response, stddev: {bad}"),
            &["policies/p.yaml:9:58: `stddev` must be a number above 0 (1e-12 to 1e18)"],
        );
    }
    case("type: Randomized Response", &["policies/p.yaml:9:29: Randomized Response without a parameter"]);
    case("type: Randomized Response, clip: true", &["policies/p.yaml:9:29: Randomized Response without a parameter"]);
    case(
        "type: Randomized Response, replacementRatePercent: 5, clip: true",
        &["policies/p.yaml:9:83: `clip` beside `replacementRatePercent`"],
    );
    case(
        "type: Randomized Response, replacementRatePercent: 5, stddev: 2",
        &["policies/p.yaml:9:74: `replacementRatePercent` beside `stddev`"],
    );
}

const PEOPLE: &str = "connectionKey: c\nsources: [{table: people, schema: public, naming: {datasource: people}}]\n";

#[test]
fn fingerprints() {
    let text = "dataSource: people\ninstant: 2026-01-02T03:04:05Z\nrows: 12\ncolumns:\n- {name: age, min: 3, max: '99'}\n- {name: city, values: [Bonn, '', 7]}\n";
    let with_people = |text: &str| load(&[("fingerprints/f.yaml", text), ("data/d.yaml", PEOPLE)]);
    let declared = with_people(text).0.into_result().unwrap().0;
    let found = &declared.fingerprints[0];
    assert_eq!((found.data_source.as_str(), found.rows, found.columns.len()), ("people", 12, 2));
    assert_eq!(found.columns[0].range, Some(("3".to_owned(), "99".to_owned())));
    assert_eq!(found.columns[1].values, ["Bonn", "", "7"]);
    let head = "dataSource: people\ninstant: 2026-01-02\nrows: 12\n";
    let case = |rest: &str, expected: &[&str]| {
        let (loaded, dir) = with_people(&format!("{head}{rest}"));
        let found = short(&loaded, dir.path());
        assert_eq!(found.len(), expected.len(), "{rest}: {found:?}");
        assert!(found.iter().zip(expected).all(|(f, e)| f.starts_with(e)), "{rest}: {found:?}");
    };
    case("columns: [{name: a, min: 1}]", &["fingerprints/f.yaml:4:11: `min` without `max`"]);
    case("columns: [{name: a}, {name: a}]", &["fingerprints/f.yaml:4:22: the column `a` is listed twice"]);
    case("columns: [{min: 1, max: 2}]", &["fingerprints/f.yaml:4:11: a column of a fingerprint lacks the key `name`"]);
    case("columns: [{name: a, avg: 1}]", &["fingerprints/f.yaml:4:21: unknown key `avg`"]);
    case("columns: [{name: a, values: [x, x]}]", &["fingerprints/f.yaml:4:33: a value is listed twice"]);
    case(
        "columns: [{name: a}]\n---\ndataSource: peopel\ninstant: 2026-01-02\nrows: 0",
        &["fingerprints/f.yaml:6:13: the data source `peopel` is not declared"],
    );
    case(&format!("---\n{head}"), &["fingerprints/f.yaml:5:1: the fingerprint of `people` is declared twice"]);
    wants(
        "fingerprints/f.yaml",
        "rows: -1\n",
        &[
            "fingerprints/f.yaml:1:1: a fingerprint lacks the key `dataSource`",
            "fingerprints/f.yaml:1:1: a fingerprint lacks the key `instant`",
            "fingerprints/f.yaml:1:7: `rows` must be a whole number",
        ],
    );
}

#[test]
fn mistakes_in_masks() {
    let case = |config: &str, expected: &[&str]| wants("policies/p.yaml", &mask(config), expected);
    case("type: Null", &["policies/p.yaml:9:29: a masking type of null"]);
    case("type: Hashed", &["policies/p.yaml:9:29: `Hashed` is not a known masking type"]);
    case("type: Constant", &["policies/p.yaml:9:22: a maskingConfig lacks the key `constant`"]);
    case("type: Constant, constant: null", &["policies/p.yaml:9:49: a constant of null"]);
    case("type: Hash, constant: x", &["policies/p.yaml:9:35: unknown key `constant`"]);
    for bad in ["0", "0.0", "-5", "1e3", "'10'", "ten", ".5", "1.2.3"] {
        case(
            &format!("type: Grouping, bucketSize: {bad}"),
            &["policies/p.yaml:9:51: `bucketSize` must be a number above 0"],
        );
    }
    case("type: Grouping, bucketSize: 5, timePrecision: DAY", &["policies/p.yaml:9:51: `bucketSize` beside"]);
    case("type: Grouping, timePrecision: DECADE", &["policies/p.yaml:9:54: `DECADE` is not a known time precision"]);
    case(
        "type: Regular Expression, regex: ''",
        &[
            "policies/p.yaml:9:22: a maskingConfig lacks the key `replacement`",
            "policies/p.yaml:9:56: the regular expression is empty",
        ],
    );
    case("type: Constant, constant: \"a\\0b\"", &["policies/p.yaml:9:49: a NUL character"]);
    wants(
        "policies/p.yaml",
        &rule("type: Masking\nconfig:\n  fields: []\n  maskingConfig: {type: Hash}"),
        &["policies/p.yaml:8:15: `fields` is empty"],
    );
    wants(
        "policies/p.yaml",
        &rule(
            "type: Masking\nconfig:\n  fields: [{type: columnTags}]\n  maskingConfig: {type: Hash}\n  conditionalPredicate: ' '",
        ),
        &[
            "policies/p.yaml:10:29: the predicate is empty",
            "policies/p.yaml:8:16: a field selector lacks the key `columnTag`",
        ],
    );
}

#[test]
fn audiences() {
    let found = only_rule(&rule(
        "type: Minimization\nconfig: {percent: 0}\nexceptions: {operator: All, groups: [g], attributes: [{name: a, value: 'true'}], purposes: [Research]}",
    ));
    let exceptions = found.exceptions.unwrap();
    assert!(exceptions.all && found.inclusions.is_none());
    assert_eq!((exceptions.groups.len(), exceptions.attributes.len(), exceptions.purposes.len()), (1, 1, 1));
    assert!(matches!(found.kind, RuleKind::Minimization { percent: 0, column: None }));
    for nobody in
        ["exceptions:", "exceptions: {}", "exceptions: {operator: all}", "inclusions: null", "exceptions: {groups: []}"]
    {
        let found = only_rule(&rule(&format!("type: Minimization\nconfig: {{percent: 100}}\n{nobody}")));
        assert!(found.exceptions.is_none() && found.inclusions.is_none(), "{nobody}");
    }
    wants(
        "policies/p.yaml",
        &rule("type: Minimization\nconfig: {percent: 1}\ninclusions: {operator: all}"),
        &["policies/p.yaml:8:17: `inclusions` name nobody"],
    );
    wants(
        "policies/p.yaml",
        &rule("type: Minimization\nconfig: {percent: 1}\nexceptions: {purposes: [Reserch]}"),
        &["policies/p.yaml:8:29: the purpose `Reserch` is not declared"],
    );
    wants(
        "policies/p.yaml",
        &rule("type: Minimization\nconfig: {percent: 1}\nexceptions: {attributes: [{name: a}], group: x}"),
        &["policies/p.yaml:8:31: an attribute lacks the key `value`", "policies/p.yaml:8:43: unknown key `group`"],
    );
}

#[test]
fn row_rules() {
    let kind = |text: &str| only_rule(&rule(text)).kind;
    assert!(matches!(
        kind("type: Time Restriction\nconfig: {isOlderOrNewer: newer, time: 60}"),
        RuleKind::Time { newer: true, seconds: 60, column: None }
    ));
    assert!(matches!(
        kind("type: Time Restriction\nconfig: {isOlderOrNewer: older, time: 1}"),
        RuleKind::Time { newer: false, seconds: 1, column: None }
    ));
    assert!(
        matches!(kind("type: Row Restriction by Custom Where Clause\nconfig: {predicate: 'a = 1'}"), RuleKind::RowByWhere(p) if p == "a = 1")
    );
    assert!(matches!(
        kind("type: Purpose Restriction\nconfig: {operator: ALL, purposes: [Research]}"),
        RuleKind::Purpose { all: true, .. }
    ));
    let RuleKind::RowByEntitlement { all, matches } = kind(
        "type: Row Restriction By User Entitlements\nconfig:\n  matches: [{type: group, column: c}, {type: attribute, tag: New, attribute: a, iam: ad}]",
    ) else {
        panic!()
    };
    assert!(!all);
    assert!(
        matches!(&matches[0], EntitlementMatch { held: Held::Groups, column: ColumnSelector::Name(name), iam: None } if name == "c")
    );
    assert!(
        matches!(&matches[1], EntitlementMatch { held: Held::Attribute(a), column: ColumnSelector::Tag(t), iam: Some(_) } if a == "a" && t == "New")
    );
}

#[test]
fn mistakes_in_row_rules() {
    let case = |text: &str, expected: &[&str]| wants("policies/p.yaml", &rule(text), expected);
    for bad in ["101", "-1", "1.5", "'15'", "half"] {
        case(
            &format!("type: Minimization\nconfig: {{percent: {bad}}}"),
            &["policies/p.yaml:7:23: `percent` must be a whole number from 0 to 100"],
        );
    }
    case(
        "type: Time Restriction\nconfig: {isOlderOrNewer: recent, time: 0}",
        &[
            "policies/p.yaml:7:30: `recent` is not a known side",
            "policies/p.yaml:7:44: `time` must be a whole number from 1",
        ],
    );
    case(
        "type: Row Restriction by Custom Where Clause\nconfig: {predicate: ''}",
        &["policies/p.yaml:7:25: the predicate is empty"],
    );
    case("type: Purpose Restriction\nconfig: {purposes: []}", &["policies/p.yaml:7:24: `purposes` is empty"]);
    case(
        "type: Purpose Restriction\nconfig: {purposes: ['<ANY PURPOSE>', Research]}",
        &["policies/p.yaml:7:24: `<ANY PURPOSE>` beside"],
    );
    case(
        "type: Row Restriction By User Entitlements\nconfig: {matches: {type: group}}",
        &["policies/p.yaml:7:23: a match needs either"],
    );
    case(
        "type: Row Restriction By User Entitlements\nconfig: {matches: {type: group, tag: New, attribute: a}}",
        &["policies/p.yaml:7:23: `attribute` in a match of type group"],
    );
    case(
        "type: Row Restriction By User Entitlements\nconfig: {matches: {type: attribute, tag: New}}",
        &["policies/p.yaml:7:23: a match of type attribute without"],
    );
    case(
        "type: Row Restriction By User Entitlements\nconfig: {matches: []}",
        &["policies/p.yaml:7:23: `matches` is empty"],
    );
    case(
        "type: Rows",
        &[
            "policies/p.yaml:6:11: `Rows` is not a known rule type",
            "policies/p.yaml:6:5: a rule lacks the key `config`",
        ],
    );
}

#[test]
fn owner_restrictions_and_certification_are_kept() {
    let declared = clean(
        "policies/p.yaml",
        &policy(
            "type: subscription\nactions: {type: manual}\nownerRestrictions: [{users: [{iamid: ad, username: u}]}, {groups: [g]}]\n\
                 certification: {text: I swear, label: ok, tags: [New], recertify: true}\nstaged: true\n",
        ),
    );
    let found = &declared.policies[0];
    assert!(found.staged);
    assert_eq!(
        found.owner_restrictions,
        [
            Owner { is_group: false, name: "u".into(), iam: Some("ad".into()) },
            Owner { is_group: true, name: "g".into(), iam: None },
        ]
    );
    assert_eq!(found.certification.as_ref().unwrap().text, "I swear");
    wants(
        "policies/p.yaml",
        &policy("type: subscription\nactions: {type: manual}\nownerRestrictions: {}\n"),
        &["policies/p.yaml:5:20: `ownerRestrictions` names nobody"],
    );
}

#[test]
fn data_documents() {
    let declared = clean(
        "data/d.yaml",
        "connectionKey: main
connection: {handler: PostgreSQL, hostname: h, port: 5433, database: d, username: u}
nameTemplate: {dataSourceFormat: <schema> <tablename>}
options: {tableTags: [New], hardDelete: true}
owners: [{type: group, name: stewards, iam: ad}]
sources:
- table: Orders
  schema: Sales
  naming: {schema: logical, table: orders}
  description: All orders
  columns: [{name: id, dataType: integer, primaryKey: true}, {name: at}]
  columnDescriptions: [{columnName: id, description: the key}]
  tags: {table: [Discovered.PCI], columns: [{columnName: id, tags: [Discovered.Key]}]}
  eventTime: at
  highCardinality: id
  createdAt: '2024-02-01T00:00:00Z'
  owners: {type: user, name: ann}
- all: true
",
    );
    let document = &declared.data[0];
    assert_eq!(document.server.as_deref(), Some("u@h:5433/d"));
    assert_eq!((document.table_tags.as_slice(), document.owners[0].is_group), (["New".to_owned()].as_slice(), true));
    let sources = document.sources.as_ref().unwrap();
    assert!(matches!(sources[1], Source::All { .. }));
    let Source::Table(table) = &sources[0] else { panic!() };
    assert_eq!(table.remote.to_string(), "Sales.Orders");
    assert_eq!(table.data_source_name(document, "d"), "sales orders");
    assert_eq!(table.columns.as_ref().unwrap()[0].data_type.as_deref(), Some("integer"));
    assert_eq!(table.column_tags, [("id".to_owned(), vec!["Discovered.Key".to_owned()])]);
    assert_eq!((table.event_time.as_deref(), table.high_cardinality.as_deref()), (Some("at"), Some("id")));
    assert_eq!(table.owners.as_ref().unwrap()[0].name, "ann");
    assert_eq!(table.origin.line, 7);
    let unnamed = clean(
        "data/d.yaml",
        "connectionKey: main\nnameTemplate: {schemaFormat: <Schema>_x}\nsources: [{table: T, schema: S, naming: {table: u}}]\n",
    );
    let Source::Table(table) = &unnamed.data[0].sources.as_ref().unwrap()[0] else { panic!() };
    assert_eq!(table.data_source_name(&unnamed.data[0], ""), "S_x.u");
    let every = clean("data/d.yaml", "connectionKey: main\n");
    assert!(every.data[0].sources.is_none());
    let query = clean(
        "data/d.yaml",
        "connectionKey: main\nconnection: {handler: PostgreSQL, schema: raw}\nsources:\n- query: |\n    select 1 as a\n  \
         naming: {datasource: One, table: one, schema: s}\n  columns: [{name: a, description: The one}]\n",
    );
    let Source::Table(table) = &query.data[0].sources.as_ref().unwrap()[0] else { panic!() };
    let declared = table.query.as_ref().unwrap();
    assert_eq!((declared.sql.trim(), declared.schema.as_str(), declared.origin.line), ("select 1 as a", "raw", 5));
    assert_eq!(table.logical_name(&query.data[0], "").to_string(), "s.one");
    assert_eq!(table.column_descriptions, [("a".to_owned(), "The one".to_owned())]);
    assert_eq!(query.data[0].schema.as_deref(), Some("raw"));
}

#[test]
fn mistakes_in_data_documents() {
    let case =
        |rest: &str, expected: &[&str]| wants("data/d.yaml", &format!("connectionKey: main\n{rest}\n"), expected);
    case("connection: {handler: Snowflake}", &["data/d.yaml:2:23: not supported yet: the handler `Snowflake`"]);
    case(
        "connection: {handler: PostgreSQL, password: x}",
        &["data/d.yaml:2:45: `password` of a data document is not used"],
    );
    case("nameTemplate: {tableFormat: <table>}", &["data/d.yaml:2:29: `<table>` is not a placeholder"]);
    case("nameTemplate: {nativeViewFormat: x}", &["data/d.yaml:2:34: not supported yet: `nativeViewFormat`"]);
    case("options: {domainCollectionId: x}", &["data/d.yaml:2:31: not supported yet: domains"]);
    case("sources: []", &["data/d.yaml:2:10: `sources` is empty"]);
    case("sources:\n- query: select 1", &["data/d.yaml:3:3: a query without `naming`"]);
    case(
        "sources:\n- query: select 1\n  naming: {datasource: q, table: q}",
        &["data/d.yaml:3:3: the `naming` of a query lacks `schema` or `table`"],
    );
    case(
        "sources:\n- {query: select 1, schema: s, naming: {table: q, schema: s}}",
        &["data/d.yaml:3:29: `schema` beside `query`"],
    );
    case("sources:\n- all: false", &["data/d.yaml:3:3: `all: false` registers nothing"]);
    case("sources:\n- {all: true}\n- {all: true}", &["data/d.yaml:4:3: the source `all` is declared twice"]);
    case("sources:\n- {all: true, table: t}", &["data/d.yaml:3:15: unknown key `table`"]);
    case("sources:\n- table: t", &["data/d.yaml:3:3: a source lacks the key `schema`"]);
    case(
        "sources:\n- {table: t, schema: s}\n- {table: t, schema: s, naming: {datasource: other}}",
        &["data/d.yaml:4:3: the table `s.t` is declared twice"],
    );
    case(
        "sources:\n- {table: t, schema: s}\n- {table: u, schema: s, naming: {datasource: s.t}}",
        &["data/d.yaml:4:3: the data source `s.t` is declared twice"],
    );
    case(
        "sources:\n- {table: t, schema: s, columns: [{name: a}, {name: a}]}",
        &["data/d.yaml:3:46: the column `a` is listed twice"],
    );
    case(
        "sources:\n- {table: t, schema: s, columns: [{name: a}], eventTime: b}",
        &["data/d.yaml:3:58: `b` is not among the `columns`"],
    );
    case(
        "sources:\n- {table: t, schema: s, tags: {columns: [{columnName: a}]}}",
        &["data/d.yaml:3:42: no tags for the column `a`"],
    );
    case(
        "sources:\n- {table: t, schema: s, tags: {table: [Nope]}}",
        &["data/d.yaml:3:40: the tag `Nope` is not declared"],
    );
    case("sources:\n- {table: t, schema: s, createdAt: 5}", &["data/d.yaml:3:36: expected text, found the number 5"]);
    case("owners: [{type: person, name: x}]", &["data/d.yaml:2:17: `person` is not a known kind of principal"]);
    wants(
        "data/d.yaml",
        "connectionKey: a\n---\nconnectionKey: a\n",
        &["data/d.yaml:3:1: the connectionKey `a` is declared twice"],
    );
}

#[test]
fn templates_are_filled_where_nobody_sees_them() {
    let load_one = |connection: &str| {
        let text = format!("connectionKey: main\nsources: []\nconnection:\n  handler: PostgreSQL\n{connection}");
        let (loaded, dir) = load(&[
            ("data/d.yaml", &text),
            ("data/keys/host.txt", "db.example\n"),
            ("user.txt", "reader"),
            ("data/blank.txt", " \n"),
        ]);
        let mut found = short(&loaded, dir.path());
        found.retain(|problem| !problem.contains("`sources` is empty"));
        (loaded.declared.data.first().and_then(|d| d.server.clone()), found)
    };
    let (server, found) = load_one(
        "  hostname: '{{ReadFile \"keys/host.txt\"}}'\n  username: 'a-{{ ReadFile \"../user.txt\" }}'\n  database: '{{EnvVar \"CARGO_PKG_NAME\"}}'\n  port: 99\n",
    );
    assert_eq!((server.as_deref(), found), (Some("a-reader@db.example:99/sqlveil"), Vec::<String>::new()));
    let (_, found) = load_one("  password: '{{EnvVar \"PATH\"}}'\n");
    assert_eq!(found, ["data/d.yaml:5:13: `password` of a data document is not used"]);
    let value = std::env::var("CARGO_PKG_LICENSE").unwrap();
    for (connection, wanted) in [
        (
            "  hostname: '{{EnvVar \"SQLVEIL_NO_SUCH\"}}'\n",
            "5:14: the environment variable `SQLVEIL_NO_SUCH` is not set",
        ),
        ("  hostname: 'a-{{ReadFile \"none\"}}'\n", "5:16: the file `none` cannot be read: No such file"),
        ("  hostname: '{{ReadFile \"/etc/hostname\"}}'\n", "5:14: the file `/etc/hostname` is outside the governance"),
        (
            "  hostname: '{{ReadFile \"../../../../../../../etc/passwd\"}}'\n",
            "5:14: the file `../../../../../../../etc/passwd` is out",
        ),
        ("  hostname: '{{ReadFile \"blank.txt\"}}'\n", "5:13: the filled value is empty"),
        ("  hostname: '{{ReadFile \"keys\"}}'\n", "5:14: `keys` is not a file of at most 64 kB"),
        ("  hostname: '{{EnvVar SQLVEIL}}'\n", "5:14: `EnvVar` in a template lacks its argument"),
        ("  hostname: '{{EnvVar \"PATH\"'\n", "5:14: a `{{` without its `}}`"),
        ("  port: '{{EnvVar \"CARGO_PKG_LICENSE\"}}'\n", "5:9: the filled value is no port"),
        ("  schema: '{{EnvVar \"CARGO_PKG_LICENSE\"}}'\n", "5:11: a template outside the `connection`"),
    ] {
        let (_, found) = load_one(connection);
        assert!(found[0].starts_with(&format!("data/d.yaml:{wanted}")), "{connection}: {found:?}");
        assert!(!found.iter().any(|f| f.contains(&value)), "a value is shown: {found:?}");
    }
    let (_, found) =
        load_one("  password: '{{EnvVar \"SQLVEIL_NO_SUCH\"}}'\n  userFiles: [{content: '{{ReadFile \"none\"}}'}]\n");
    assert_eq!(found.len(), 4, "{found:?}");
    wants(
        "policies/p.yaml",
        &mask("type: Constant, constant: '{{EnvVar \"PATH\"}}'"),
        &["policies/p.yaml:9:49: a template outside the `connection`"],
    );
}

#[test]
fn tags_purposes_projects_and_grants() {
    let (loaded, dir) = load(&[
        ("data/d.yaml", "connectionKey: main\nsources: [{table: t, schema: s, tags: {table: [Finance.Card]}}]\n"),
        ("tags/t.yaml", "tags: [Finance.Card.Number, PCI]\n"),
        (
            "purposes/p.yaml",
            "name: Audit\nacknowledgement: I will\nkAnonNoiseReduction: null\nsubpurposes:\n- {name: Audit.Tax, acknowledgement: own}\n- name: Audit.Tax.Vat\n",
        ),
        (
            "projects/p.yaml",
            "projectKey: k\nname: n\npurposes: [Audit.Tax]\ndatasources: [s.t]\nallowedMaskedJoins: true\nequalization: false\n\
             tags: [PCI]\nworkspace: null\nsubscriptionPolicy: {type: entitlements, entitlements: {groups: [g]}}\n\
             members: [{type: user, name: ann, iam: ad}, {type: group, name: g}]\n",
        ),
        (
            "grants/g.yaml",
            "dataSource: s.t\nuser: ann\niam: ad\n---\ndataSource: s.t\ngroup: g\nstate: denied\naccessGrant: write\nexpiration: 2030-01-01\n",
        ),
    ]);
    assert_eq!(short(&loaded, dir.path()), Vec::<String>::new());
    let declared = loaded.declared;
    assert!(declared.tags.contains("Finance.Card.Number"));
    let texts: Vec<_> = declared.purposes.iter().map(|p| (p.name.as_str(), p.acknowledgement.as_deref())).collect();
    assert_eq!(texts, [("Audit", Some("I will")), ("Audit.Tax", Some("own")), ("Audit.Tax.Vat", Some("I will"))]);
    let project = &declared.projects[0];
    assert!(project.allow_masked_joins && !project.open_to_anyone && project.entitlements.is_some());
    assert_eq!(project.members.len(), 2);
    let (first, second) = (&declared.grants[0], &declared.grants[1]);
    assert_eq!((first.state, first.write, first.expiration), (GrantState::Subscribed, false, None));
    assert_eq!((second.state, second.write, second.grantee.is_group), (GrantState::Denied, true, true));
    assert_eq!(second.expiration.unwrap().to_string(), "2030-01-01T00:00:00Z");
    assert_eq!(second.origin.line, 5);
}

#[test]
fn mistakes_in_the_small_documents() {
    wants(
        "tags/t.yaml",
        "tags: [A..B, C, C]\n",
        &["tags/t.yaml:1:17: `C` is listed twice", "tags/t.yaml:1:8: `A..B` is not a tag"],
    );
    wants(
        "tags/t.yaml",
        "tag: [A]\n",
        &["tags/t.yaml:1:1: a tags document lacks the key `tags`", "tags/t.yaml:1:1: unknown key `tag`"],
    );
    wants("purposes/p.yaml", "name: Research\n", &["purposes/p.yaml:1:1: the purpose `Research` is declared twice"]);
    wants(
        "purposes/p.yaml",
        "name: A\nsubpurposes: [{name: B.C}]\n",
        &["purposes/p.yaml:2:22: the sub-purpose `B.C` does not begin with `A.`"],
    );
    wants("purposes/p.yaml", "name: <ANY PURPOSE>\n", &["purposes/p.yaml:1:7: `<ANY PURPOSE>` cannot be the name"]);
    wants(
        "purposes/p.yaml",
        "name: A\nkAnonNoiseReduction: Medium\n",
        &["purposes/p.yaml:2:22: `kAnonNoiseReduction` has no effect"],
    );
    let project = |rest: &str, expected: &[&str]| {
        wants("projects/p.yaml", &format!("projectKey: k\nname: n\n{rest}\n"), expected)
    };
    project("purposes: [Nope]", &["projects/p.yaml:3:12: the purpose `Nope` is not declared"]);
    project("datasources: [nope]", &["projects/p.yaml:3:15: the data source `nope` is not declared"]);
    project("equalization: {groups: []}", &["projects/p.yaml:3:15: `equalization` names nothing"]);
    project("workspace: {type: snowflake}", &["projects/p.yaml:3:12: no workspace is made"]);
    project("allowMaskedJoins: true\nallowedMaskedJoins: true", &["projects/p.yaml:1:1: both `allowMaskedJoins`"]);
    project(
        "subscriptionPolicy: {type: approval}",
        &[
            "projects/p.yaml:3:21: `approvals` are missing",
            "projects/p.yaml:3:28: membership by `approval`, and nobody",
        ],
    );
    project(
        "subscriptionPolicy: {type: anyone, automaticSubscription: false}",
        &["projects/p.yaml:3:21: without automatic subscription"],
    );
    project("members: [{type: user}]", &["projects/p.yaml:3:11: a member lacks the key `name`"]);
    wants(
        "projects/p.yaml",
        "{projectKey: k, name: a}\n---\n{projectKey: k, name: b}\n",
        &["projects/p.yaml:3:1: the projectKey `k` is declared twice"],
    );
    let grant = |rest: &str, expected: &[&str]| {
        let files = [("data/d.yaml", "connectionKey: main\n"), ("grants/g.yaml", rest)];
        let (loaded, dir) = load(&files);
        let found = short(&loaded, dir.path());
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(found.iter().zip(expected).all(|(f, e)| f.starts_with(e)), "{found:?}");
    };
    grant("dataSource: x\n", &["grants/g.yaml:1:1: a grant needs either `user` or `group`"]);
    grant("{dataSource: x, user: u, group: g}\n", &["grants/g.yaml:1:1: a grant needs either"]);
    grant("{dataSource: x, user: u, state: maybe}\n", &["grants/g.yaml:1:33: `maybe` is not a known state"]);
    grant("{dataSource: x, user: u, expiration: never}\n", &["grants/g.yaml:1:38: `never` is not an instant"]);
    grant(
        "- {dataSource: x, user: u}\n- {dataSource: x, user: u, state: denied}\n",
        &["grants/g.yaml:2:3: the grant of `READ on x to user u` is declared twice"],
    );
}

#[test]
fn nothing_in_the_directory_is_overlooked() {
    let (loaded, dir) = load(&[
        ("policy/p.yaml", "x: 1\n"),
        ("stray.yaml", "x: 1\n"),
        ("README.md", "# hello\n"),
        (".git/config.yaml", "x: 1\n"),
        ("policies/.draft.yaml", "x: 1\n"),
        ("policies/notes.txt", "x"),
        ("policies/empty.yaml", "# nothing\n"),
        ("policies/deep/er/p.yml", "policyKey: k\nname: n\ntype: subscription\nactions: {type: manual}\n"),
        ("policies/broken.yaml", "a: [\n"),
    ]);
    let found = short(&loaded, dir.path());
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].starts_with("policy:0:0: is not a folder of governance documents"), "{found:?}");
    assert!(found[1].starts_with("stray.yaml:0:0: is a document outside"), "{found:?}");
    assert!(found[2].starts_with("policies/broken.yaml:1:4: not valid YAML or JSON"), "{found:?}");
    assert!(found[3].starts_with("policies/empty.yaml:0:0: holds no document"), "{found:?}");
    assert_eq!(loaded.problems[3].severity, Severity::Warning);
    assert_eq!(loaded.declared.policies.len(), 1);
}

#[test]
fn a_missing_directory_or_folder_is_an_error() {
    assert!(store::load(Path::new("/nonexistent/governance")).into_result().is_err());
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    let loaded = store::load(dir.path());
    assert_eq!(short(&loaded, dir.path()), ["policies:0:0: the folder is missing"]);
    assert!(loaded.into_result().is_err());
}

#[test]
fn problems_of_all_files_come_at_once() {
    let (loaded, _dir) = load(&[
        ("data/a.yaml", "connectionKey: 5\nwrong: 1\n"),
        ("policies/a.yaml", "name: [\n"),
        (
            "policies/b.yaml",
            "policyKey: k\nname: n\ntype: data\nactions: [{rules: [{type: Minimization, config: {percent: 200}}]}]\n",
        ),
        ("policies/c.yaml", "policyKey: k\nname: n\ntype: data\nactions: []\n"),
    ]);
    let files: std::collections::BTreeSet<_> = loaded.problems.iter().map(|p| p.origin.file.clone()).collect();
    assert_eq!(files.len(), 4);
    assert_eq!(loaded.problems.len(), 5, "{:#?}", loaded.problems);
}

/// Text that is mostly a policy, with pieces broken.
fn almost_a_policy() -> impl Strategy<Value = String> {
    let sample = include_str!("../../tests/data/governance/v2-policies.yaml");
    let lines: Vec<String> = sample.lines().map(str::to_owned).collect();
    let noise = prop_oneof![
        Just(""),
        Just("---"),
        Just("  - {"),
        Just("]"),
        Just("x: &a *a"),
        Just("type: null"),
        Just("\u{0}"),
        Just("é: 'ß")
    ];
    (0..lines.len(), 5..60usize, prop::collection::vec((0..60usize, noise), 0..4)).prop_map(
        move |(start, count, edits)| {
            let mut part: Vec<String> = lines.iter().skip(start).take(count).cloned().collect();
            for (at, text) in edits {
                let at = at.min(part.len());
                part.insert(at, text.to_owned());
            }
            part.join("\n")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands in the files, loading ends, and every problem points into an existing line.
    #[test]
    fn the_loader_never_panics(text in prop_oneof![almost_a_policy(), "[ -~\\n]{0,300}"], folder in prop::sample::select(&store::FOLDERS[..])) {
        let path = format!("{folder}/f.yaml");
        let (loaded, _dir) = load(&[(path.as_str(), text.as_str())]);
        let lines = text.lines().count() + 1;
        for problem in &loaded.problems {
            prop_assert!(problem.origin.line <= lines, "{problem}");
            prop_assert!(!problem.message.is_empty());
        }
        super::problem::render(&loaded.problems, false);
    }
}

#[test]
fn rules_that_nobody_of_an_equalized_project_meets_are_told() {
    let policy = "policyKey: strict\nname: n\ntype: data\nactions:\n- rules:\n  - {type: Minimization, config: {percent: 10}, inclusions: {groups: [Interns]}}\n";
    let warnings = |equalization: &str| {
        let project = format!("projectKey: eq\nname: n\nequalization: {equalization}\n");
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        for (folder, text) in [("policies", policy), ("projects", project.as_str())] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join("d.yaml"), text).unwrap();
        }
        let (_, warnings) = store::load(dir.path()).into_result().unwrap();
        warnings.into_iter().filter(|w| w.message.contains("equalized")).count()
    };
    assert_eq!(warnings("true"), 1);
    assert_eq!(warnings("{groups: [Staff]}"), 1);
    assert_eq!(warnings("{groups: [Interns]}"), 0);
    assert_eq!(warnings("false"), 0);
}

#[test]
fn bare_names_as_columns_are_told_once() {
    wants(
        "data/d.yaml",
        "connectionKey: c\nsources:\n- table: t\n  schema: s\n  columns: [id, name]\n  tags: {columns: [{columnName: id, tags: [Discovered.A]}]}\n",
        &["data/d.yaml:5:13: a column must be an object, found text"],
    );
}
