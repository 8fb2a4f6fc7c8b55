//! A world as governance documents: the V2 shapes, several documents a file, files and documents in an order by chance.

use crate::dice::Dice;
use crate::spec::*;
use serde_json::{Map, Value, json};
use sqlveil::identity::scram::Verifier;

/// Files below the configuration's folder: path and text. `order` shuffles documents and file names.
pub fn files(world: &World, database: &str, password: &str, order: u64) -> Vec<(String, String)> {
    let mut dice = Dice::new(order);
    let mut out = Vec::new();
    let mut folder = |folder: &str, mut documents: Vec<Value>| {
        dice.shuffle(&mut documents);
        let mut number = 0;
        while !documents.is_empty() {
            let rest = documents.split_off(documents.len().min(1 + dice.roll(4)));
            let as_list = dice.percent(30);
            let name = dice.roll(1000);
            let (text, extension) = if as_list {
                (Value::Array(std::mem::replace(&mut documents, rest)).to_string(), "json")
            } else {
                let each: Vec<String> = std::mem::replace(&mut documents, rest).iter().map(Value::to_string).collect();
                (each.join("\n---\n"), "yaml")
            };
            out.push((format!("governance/{folder}/{name:03}-{number}.{extension}"), text));
            number += 1;
        }
    };
    folder("policies", world.policies.iter().map(policy).collect());
    folder("grants", world.grants.iter().map(grant).collect());
    folder("projects", world.projects.iter().map(project).collect());
    folder("purposes", world.purposes.iter().map(|name| json!({ "name": name })).collect());
    folder("tags", vec![json!({ "tags": world.tags })]);
    folder("data", vec![data(world, database)]);
    out.push(("governance/policies/.keep".into(), String::new()));
    out.push(("identity.yaml".into(), identity(world, password)));
    out
}

fn principal(principal: &Principal) -> Value {
    let mut out = Map::new();
    out.insert("type".into(), json!(if principal.is_group { "group" } else { "user" }));
    out.insert("name".into(), json!(principal.name));
    put(&mut out, "iam", principal.iam.as_ref().map(|iam| json!(iam)));
    Value::Object(out)
}

fn put(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.into(), value);
    }
}

fn instant(seconds: i64) -> Value {
    json!(jiff::Timestamp::from_second(seconds).unwrap().to_string())
}

fn operator(all: Option<bool>) -> Option<Value> {
    all.map(|all| json!(if all { "ALL" } else { "any" }))
}

fn data(world: &World, database: &str) -> Value {
    let sources = world.sources.iter().map(|(name, source)| {
        let columns: Vec<Value> =
            source.column_tags.iter().map(|(column, tags)| json!({ "columnName": column, "tags": tags })).collect();
        let mut out = Map::new();
        out.insert("table".into(), json!(name));
        out.insert("schema".into(), json!("public"));
        out.insert("tags".into(), json!({ "table": source.tags, "columns": columns }));
        let owners: Vec<Value> = source.owners.iter().map(principal).collect();
        put(&mut out, "owners", (!owners.is_empty()).then(|| json!(owners)));
        put(&mut out, "createdAt", source.created_at.map(instant));
        put(&mut out, "eventTime", source.event_time.map(|c| json!(c)));
        put(&mut out, "highCardinality", source.high_cardinality.map(|c| json!(c)));
        Value::Object(out)
    });
    json!({ "connectionKey": database, "nameTemplate": { "dataSourceFormat": "<tablename>" },
        "sources": sources.collect::<Vec<_>>() })
}

fn identity(world: &World, password: &str) -> String {
    let verifier = Verifier::from_password(password.as_bytes(), 1, b"salt").to_string();
    let groups: Vec<Value> =
        world.groups.iter().map(|g| json!({ "name": g.name, "iam": g.iam, "attributes": g.attributes })).collect();
    let users = world.users.iter().map(|user| {
        let groups: Vec<Value> = user.groups.iter().map(|(name, iam)| json!({ "name": name, "iam": iam })).collect();
        json!({ "name": user.name, "iam": user.iam, "verifier": verifier, "groups": groups, "attributes": user.attributes })
    });
    json!({ "groups": groups, "users": users.collect::<Vec<_>>() }).to_string()
}

fn project(project: &Project) -> Value {
    let mut out = Map::new();
    out.insert("projectKey".into(), json!(project.key));
    out.insert("name".into(), json!(project.key));
    out.insert("purposes".into(), json!(project.purposes));
    put(&mut out, "datasources", (!project.sources.is_empty()).then(|| json!(project.sources)));
    out.insert("members".into(), project.members.iter().map(principal).collect());
    out.insert("allowMaskedJoins".into(), json!(project.masked_joins));
    Value::Object(out)
}

fn grant(grant: &Grant) -> Value {
    let mut out = Map::new();
    out.insert("dataSource".into(), json!(grant.source));
    out.insert(if grant.to.is_group { "group" } else { "user" }.into(), json!(grant.to.name));
    put(&mut out, "iam", grant.to.iam.as_ref().map(|iam| json!(iam)));
    out.insert("state".into(), json!(grant.state));
    put(&mut out, "accessGrant", grant.write.then(|| json!("WRITE")));
    put(&mut out, "expiration", grant.expires.map(instant));
    Value::Object(out)
}

/// One policy document.
pub fn policy(policy: &Policy) -> Value {
    let mut out = Map::new();
    out.insert("policyKey".into(), json!(policy.key));
    out.insert("name".into(), json!(policy.key));
    put(&mut out, "staged", policy.staged.then_some(json!(true)));
    match &policy.circumstances {
        Circumstances::Absent => {}
        Circumstances::Null => drop(out.insert("circumstances".into(), Value::Null)),
        Circumstances::List { all, list } => {
            put(&mut out, "circumstanceOperator", operator(*all));
            out.insert("circumstances".into(), list.iter().map(circumstance).collect());
        }
    }
    if !policy.owners.is_empty() {
        let (groups, users): (Vec<_>, Vec<_>) = policy.owners.iter().partition(|o| o.is_group);
        let users = users.into_iter().map(|o| {
            let mut user = Map::new();
            user.insert("username".into(), json!(o.name));
            put(&mut user, "iamid", o.iam.as_ref().map(|iam| json!(iam)));
            Value::Object(user)
        });
        let groups: Vec<Value> = groups.into_iter().map(|o| group(&(o.name.clone(), o.iam.clone()))).collect();
        out.insert("ownerRestrictions".into(), json!({ "users": users.collect::<Vec<_>>(), "groups": groups }));
    }
    match &policy.body {
        Body::Subscription(subscription) => {
            out.insert("type".into(), json!("subscription"));
            out.insert("actions".into(), actions(subscription));
        }
        Body::Data(chains) => {
            out.insert("type".into(), json!("data"));
            let chain = |rules: &Vec<Rule>| json!({ "rules": rules.iter().map(rule).collect::<Vec<_>>() });
            out.insert("actions".into(), chains.iter().map(chain).collect());
        }
    }
    Value::Object(out)
}

fn circumstance(circumstance: &Circumstance) -> Value {
    match circumstance {
        Circumstance::Tag(tag) => json!({ "type": "tags", "tag": tag }),
        Circumstance::ColumnTag(tag) => json!({ "type": "columnTags", "columnTag": tag }),
        Circumstance::ColumnRegex(regex, insensitive) => {
            json!({ "type": "columnRegex", "regex": regex, "caseInsensitive": insensitive })
        }
        Circumstance::AnyTag => json!({ "type": "anyTag" }),
        Circumstance::NoTags => json!({ "type": "noTags" }),
        Circumstance::Time(start, end) => {
            let mut out = Map::new();
            out.insert("type".into(), json!("time"));
            put(&mut out, "startDate", start.map(instant));
            put(&mut out, "endDate", end.map(instant));
            Value::Object(out)
        }
    }
}

fn actions(subscription: &Subscription) -> Value {
    let mut out = Map::new();
    let kind = match &subscription.kind {
        SubscriptionKind::Anyone => "anyone",
        SubscriptionKind::Manual => "manual",
        SubscriptionKind::Entitlements(audience) => {
            out.insert("entitlements".into(), conditions(audience));
            "entitlements"
        }
    };
    out.insert("type".into(), json!(kind));
    put(&mut out, "automaticSubscription", subscription.automatic.map(|a| json!(a)));
    put(&mut out, "allowDiscovery", subscription.discovery.then_some(json!(true)));
    put(&mut out, "shareResponsibility", subscription.share.then_some(json!(true)));
    put(&mut out, "accessGrant", subscription.write.then(|| json!("WRITE")));
    Value::Object(out)
}

fn group((name, iam): &(String, Option<String>)) -> Value {
    match iam {
        None => json!(name),
        Some(iam) => json!({ "name": name, "iam": iam }),
    }
}

fn conditions(audience: &Audience) -> Value {
    let mut out = Map::new();
    put(&mut out, "operator", operator(audience.all));
    out.insert("groups".into(), audience.groups.iter().map(group).collect());
    let attributes = audience.attributes.iter().map(|(name, value, iam)| {
        let mut out = Map::new();
        out.insert("name".into(), json!(name));
        out.insert("value".into(), json!(value));
        put(&mut out, "iam", iam.as_ref().map(|iam| json!(iam)));
        Value::Object(out)
    });
    out.insert("attributes".into(), attributes.collect());
    put(&mut out, "purposes", (!audience.purposes.is_empty()).then(|| json!(audience.purposes)));
    Value::Object(out)
}

fn rule(rule: &Rule) -> Value {
    let (kind, config) = match &rule.kind {
        Kind::Masking { fields, mask, conditional } => {
            let mut config = Map::new();
            config.insert("fields".into(), fields.iter().map(field).collect());
            config.insert("maskingConfig".into(), masking(mask));
            put(&mut config, "conditionalPredicate", conditional.as_ref().map(|p| json!(p.text())));
            ("Masking", Value::Object(config))
        }
        Kind::Entitlement { all, matches } => {
            let mut config = Map::new();
            put(&mut config, "operator", operator(*all));
            config.insert("matches".into(), matches.iter().map(matching).collect());
            ("Row Restriction By User Entitlements", Value::Object(config))
        }
        Kind::Where(predicate) => ("Row Restriction by Custom Where Clause", json!({ "predicate": predicate.text() })),
        Kind::Time { newer, seconds } => {
            let side = if *newer { "newer" } else { "older" };
            ("Time Restriction", json!({ "isOlderOrNewer": side, "time": seconds }))
        }
        Kind::Minimization(percent) => ("Minimization", json!({ "percent": percent })),
        Kind::Purpose { all, purposes } => {
            let mut config = Map::new();
            put(&mut config, "operator", operator(*all));
            config.insert("purposes".into(), json!(purposes));
            ("Purpose Restriction", Value::Object(config))
        }
    };
    let mut out = Map::new();
    out.insert("type".into(), json!(kind));
    out.insert("config".into(), config);
    put(&mut out, "exceptions", rule.exceptions.as_ref().map(conditions));
    put(&mut out, "inclusions", rule.inclusions.as_ref().map(conditions));
    Value::Object(out)
}

fn field(field: &Field) -> Value {
    match field {
        Field::ColumnTag(tag) => json!({ "type": "columnTags", "columnTag": tag }),
        Field::ColumnRegex(regex, insensitive) => {
            json!({ "type": "columnRegex", "regex": regex, "caseInsensitive": insensitive })
        }
        Field::AnyTag => json!({ "type": "anyTag" }),
        Field::NoTags => json!({ "type": "noTags" }),
        Field::All => json!({ "type": "allColumns" }),
    }
}

fn masking(mask: &Mask) -> Value {
    match mask {
        Mask::Null => json!({ "type": "Null" }),
        Mask::Constant(text) => json!({ "type": "Constant", "constant": text }),
        Mask::Hash => json!({ "type": "Hash" }),
        Mask::Regex { regex, replacement, insensitive, global } => json!({
            "type": "Regular Expression", "regex": regex, "replacement": replacement, "caseInsensitive": insensitive,
            "global": global
        }),
        Mask::Anonymous(level, probability) => {
            let mut out = Map::new();
            out.insert("type".into(), json!("K-Anonymization"));
            put(&mut out, "kLevel", level.map(|k| json!(k)));
            put(&mut out, "reIdProbability", probability.map(|p| json!(p)));
            Value::Object(out)
        }
        Mask::Bucket(size) => {
            // A number as written: a decimal fraction must not pass through a float.
            let number: Value = serde_json::from_str(size).unwrap();
            json!({ "type": "Grouping", "bucketSize": number })
        }
        Mask::Truncate(precision) => json!({ "type": "Grouping", "timePrecision": precision }),
    }
}

fn matching(one: &Match) -> Value {
    let mut out = Map::new();
    out.insert("type".into(), json!(if one.attribute.is_some() { "attribute" } else { "group" }));
    put(&mut out, "attribute", one.attribute.as_ref().map(|a| json!(a)));
    match &one.by {
        By::Tag(tag) => out.insert("tag".into(), json!(tag)),
        By::Column(name) => out.insert("column".into(), json!(name)),
    };
    put(&mut out, "iam", one.iam.as_ref().map(|iam| json!(iam)));
    Value::Object(out)
}
