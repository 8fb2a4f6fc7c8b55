//! Local policies and policies that owners apply, beside global ones: what callers see, and what `explain` says of conflicts.

use crate::rows::seen;
use crate::support::{ANYONE, Running, Stage};
use sqlveil::cli::explain::{Args, Format, run};

const CARDS: &str = "CREATE TABLE cards (id int PRIMARY KEY, amount int, city text, note text, at timestamptz);
    INSERT INTO cards VALUES 
        (1, 17, 'Bonn', 'a', now()), (2, 23, 'Rome', 'b', now()), (3, 99, 'Bonn', 'c', now() - interval '1 day'), (4, NULL, NULL, NULL, now());
    CREATE TABLE other (id int PRIMARY KEY, amount int); INSERT INTO other VALUES (1, 17)";

const QUERY: &str = "SELECT id, amount, city, note FROM cards ORDER BY id";

async fn stage() -> Stage {
    Stage::new()
        .await
        .sql(CARDS)
        .await
        .sources(&[("cards", "{amount: [Money], city: [Place]}"), ("other", "{amount: [Money]}")])
        .policy(ANYONE)
        .purpose("Audit")
        .project("projectKey: audit\nname: audit\npurposes: [Audit]\nmembers: [{type: user, name: ana}]\n")
        .user("ana", &["Bonn", "Staff"], &[("site", &["Rome"])])
        .user("bob", &[], &[])
}

/// A local document of the data source `cards`: entries of `jsonPolicies`, as written in YAML.
fn local(entries: &str) -> String {
    format!("dataSource: cards\njsonPolicies:\n{entries}")
}

fn local_mask(config: &str) -> String {
    local(&format!(
        "- type: masking\n  rules: [{{type: masking, exceptions: null, config: {{fields: [amount], maskingConfig: {config}}}}}]\n"
    ))
}

fn global_mask(key: &str, config: &str) -> String {
    format!(
        "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {{fields: [{{type: columnTags, columnTag: Money}}], maskingConfig: {config}}}\n"
    )
}

async fn rows(running: &Running, user: &str) -> String {
    seen(&running.client(user).await, QUERY).await
}

#[tokio::test]
async fn each_type_of_local_policy() {
    for (entries, ana, bob) in [
        (
            "- {type: masking, rules: [{type: masking, config: {fields: [note], maskingConfig: {type: Consistent Value, metadata: {constant: x}}}, exceptions: {operator: and, conditions: [{type: groups, group: {name: Staff}}]}}]}",
            "1 | 17 | Bonn | a\n2 | 23 | Rome | b\n3 | 99 | Bonn | c\n4 | ∅ | ∅ | ∅\n",
            "1 | 17 | Bonn | x\n2 | 23 | Rome | x\n3 | 99 | Bonn | x\n4 | ∅ | ∅ | ∅\n",
        ),
        (
            "- {type: rowOrObjectRestriction, rules: [{type: visibility, config: {predicate: '(`city` in (@groups()))', qualifications: {operator: and, conditions: [{type: groups, field: city}]}}}]}",
            "1 | 17 | Bonn | a\n3 | 99 | Bonn | c\n",
            "(no rows)\n",
        ),
        (
            "- {type: visibility, rules: [{type: visibility, config: {qualifications: {operator: or, conditions: [{type: groups, field: city}, {type: authorizations, field: city, authorization: {auth: site}}]}}}]}",
            "1 | 17 | Bonn | a\n2 | 23 | Rome | b\n3 | 99 | Bonn | c\n",
            "(no rows)\n",
        ),
        (
            "- {type: customWhere, rules: [{type: customWhere, config: {predicate: amount > 20}}]}",
            "2 | 23 | Rome | b\n3 | 99 | Bonn | c\n",
            "2 | 23 | Rome | b\n3 | 99 | Bonn | c\n",
        ),
        (
            "- {type: time, rules: [{type: time, config: {time: 3600, eventTimeColumn: at}, exceptions: {conditions: [{type: groups, group: Staff}]}}]}",
            "1 | 17 | Bonn | a\n2 | 23 | Rome | b\n3 | 99 | Bonn | c\n4 | ∅ | ∅ | ∅\n",
            "1 | 17 | Bonn | a\n2 | 23 | Rome | b\n4 | ∅ | ∅ | ∅\n",
        ),
        (
            "- {type: minimization, rules: [{type: minimization, config: {percent: 0, hashPhrase: id}}]}",
            "(no rows)\n",
            "(no rows)\n",
        ),
        (
            "- {type: showRowsNever, rules: [{type: showRowsNever, exceptions: {conditions: [{type: groups, group: {name: Bonn}}]}}]}",
            "1 | 17 | Bonn | a\n2 | 23 | Rome | b\n3 | 99 | Bonn | c\n4 | ∅ | ∅ | ∅\n",
            "(no rows)\n",
        ),
        (
            "- {type: prerequisite, rules: [{type: prerequisite, config: {qualifications: {operator: and, conditions: [{type: purposes, value: Audit}]}}}]}",
            "(no rows)\n",
            "(no rows)\n",
        ),
    ] {
        let running = stage().await.policy(&local(&format!("{entries}\n"))).start().await;
        assert_eq!(rows(&running, "ana").await, ana, "{entries}");
        assert_eq!(rows(&running, "bob").await, bob, "{entries}");
        let elsewhere = seen(&running.client("bob").await, "SELECT * FROM other").await;
        assert_eq!(elsewhere, "1 | 17\n", "a local policy applies to one data source only: {entries}");
        if entries.contains("prerequisite") {
            let client = running.client("ana").await;
            client.batch_execute("SET sqlveil.project = 'audit'").await.unwrap();
            assert!(seen(&client, QUERY).await.starts_with("1 | 17"), "the purpose opens it");
        }
    }
}

/// The amounts that bob sees.
async fn amounts(stage: Stage) -> String {
    let running = stage.start().await;
    let client = running.client("bob").await;
    seen(&client, "SELECT amount FROM cards ORDER BY id").await.replace('\n', " ")
}

#[tokio::test]
async fn a_local_mask_beats_a_global_one_and_never_widens() {
    let null = "{type: 'Null'}";
    let constant = "{type: Constant, constant: 5}";
    let tens = "{type: Grouping, bucketSize: 10}";
    let hundreds = "{type: Grouping, bucketSize: 100}";
    for (global, local, wanted) in [
        (constant, null, "∅ ∅ ∅ ∅ "),
        // Alike: the local one counts, whatever the keys are.
        (constant, "{type: Constant, constant: 6}", "6 6 6 ∅ "),
        (tens, hundreds, "0 0 0 ∅ "),
        // The global one is more restrictive: no local policy lifts it.
        (null, tens, "∅ ∅ ∅ ∅ "),
        (constant, tens, "5 5 5 ∅ "),
        (hundreds, tens, "0 0 0 ∅ "),
    ] {
        let stage = stage().await.policy(&global_mask("a global one", global)).policy(&local_mask(local));
        assert_eq!(amounts(stage).await, wanted, "global {global}, local {local}");
    }
    let disabled = local_mask(null).replace("  rules", "  disabled: true\n  rules");
    assert_eq!(amounts(stage().await.policy(&disabled)).await, "17 23 99 ∅ ");
    let staged = local_mask(null).replace("  rules", "  staged: true\n  rules");
    assert_eq!(amounts(stage().await.policy(&staged)).await, "17 23 99 ∅ ");
}

#[tokio::test]
async fn the_conflict_is_reported() {
    let stage = stage().await.policy(&global_mask("hash", "{type: Hash}")).policy(&local_mask("{type: 'Null'}"));
    let args = Args {
        config: stage.write(),
        user: "bob".into(),
        project: None,
        connection: None,
        format: Format::Json,
        sql: "SELECT amount FROM cards".into(),
    };
    let mut out = Vec::new();
    assert!(run(&args, &mut out, false).await.unwrap());
    let told = String::from_utf8(out).unwrap();
    let conflict = r#"{"column":"amount","conflict":"existingMasking","disabled":true}"#;
    let squeezed: String = told.chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(squeezed.matches(conflict).count(), 1, "{told}");
    assert!(told.contains("amount is masked by local cards masking_0 (Null)"), "{told}");
}

#[tokio::test]
async fn a_policy_without_circumstances_waits_for_an_owner() {
    let waiting = global_mask("by owners", "{type: 'Null'}") + "circumstances: null\n";
    assert_eq!(amounts(stage().await.policy(&waiting)).await, "17 23 99 ∅ ");
    let applied = "policyKey: by owners\ndataSource: cards\nappliedBy: ann\nmerged: false\n";
    let stage_of_both = stage().await.policy(&waiting).document("applied/cards.yaml", applied);
    let running = stage_of_both.start().await;
    let client = running.client("bob").await;
    assert_eq!(seen(&client, "SELECT amount FROM cards WHERE id = 1").await, "∅\n");
    assert_eq!(seen(&client, "SELECT amount FROM other").await, "17\n", "applied to one of them");
    // Taken back while the proxy runs.
    running.write("applied/cards.yaml", "# nothing\n");
    running
        .eventually("the policy is no longer applied", async |_| {
            seen(&client, "SELECT amount FROM cards WHERE id = 1").await == "17\n"
        })
        .await;
}
