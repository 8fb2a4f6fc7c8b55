//! What `docker/` holds, where no engine runs: files that are mounted exist, containers are confined, and every metric that a panel or an
//! alert asks for is one that a running proxy tells.

use crate::metrics::{of, stage};
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn docker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(docker().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every text below a key of that name.
fn below<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == key => found.push(text),
            _ => below(value, key, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| below(item, key, found)),
        _ => {}
    }
}

#[tokio::test]
async fn metrics_of_the_dashboard_and_of_alerts_are_told_by_a_running_proxy() {
    let stage = stage().await;
    let (user, _) = stage.service();
    let directories = format!(
        "directories:\n  hr:\n    kind: sql\n    iam: hr\n    connection: {{host: 127.0.0.1, port: {}, database: {}, user: {user}, \
         password: {{file: secrets/warehouse}}, sslmode: disable}}\n    groups: \"SELECT name FROM emp WHERE name = $1\"\naudit: {{folder: trail}}\n",
        stage.server().port(),
        stage.database
    );
    let running = stage.config(&directories).start().await;
    let client = running.client("ana").await;
    client.batch_execute("BEGIN; SELECT name FROM emp").await.unwrap();
    client.cancel_token().cancel_query(tokio_postgres::NoTls).await.unwrap();
    running.try_client("ana", "wrong", running.database()).await.unwrap_err();
    running.eventually("the cancel request is counted", async |r| of(r).keys().any(|k| k.contains("cancel"))).await;
    let told: BTreeSet<String> =
        of(&running).keys().map(|name| name.split('{').next().unwrap_or_default().to_owned()).collect();
    let dashboard: Value = serde_json::from_str(&text("grafana/dashboards/sqlveil.json")).unwrap();
    let rules = yaml("prometheus/rules.yaml");
    let mut asked = Vec::new();
    below(&dashboard, "expr", &mut asked);
    below(&dashboard, "query", &mut asked);
    assert!(asked.len() > 40, "panels ask for something");
    let panels = asked.len();
    below(&rules, "expr", &mut asked);
    assert!(asked.len() > panels + 5, "alerts ask for something");
    let name = Regex::new(r"\b(?:sqlveil|process)_[a-z_]+").unwrap();
    let mut names = BTreeSet::new();
    for expression in asked {
        let balanced = |open, close| expression.matches(open).count() == expression.matches(close).count();
        assert!(balanced('(', ')') && balanced('{', '}') && balanced('[', ']'), "{expression}");
        names.extend(name.find_iter(expression).map(|found| found.as_str().to_owned()));
    }
    assert!(names.len() > 25, "{names:?}");
    let missing: Vec<&String> = names.difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?} of {told:#?}");
}

#[test]
fn containers_are_confined_and_what_they_mount_is_there() {
    let compose = yaml("compose.yaml");
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        if let Some(image) = service["image"].as_str() {
            let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image} has no version"));
            assert_ne!(tag, "latest", "{name}");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let parts: Vec<&str> = volume.as_str().unwrap().split(':').collect();
            if parts[0].starts_with('.') {
                assert!(docker().join(parts[0]).exists(), "{name} mounts {}", parts[0]);
                assert_eq!(parts.get(2), Some(&"ro"), "{name} mounts {} to be written", parts[0]);
            } else {
                assert!(compose["volumes"].get(parts[0]).is_some(), "{name}: no volume {}", parts[0]);
            }
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} is published to everybody");
        }
        for network in service["networks"].as_array().into_iter().flatten() {
            assert!(compose["networks"].get(network.as_str().unwrap()).is_some(), "{name}: no network {network}");
        }
    }
    let proxy = &services["sqlveil"];
    assert_eq!((&proxy["read_only"], &proxy["cap_drop"][0]), (&Value::Bool(true), &Value::from("ALL")));
    let reached: Vec<&String> = services
        .iter()
        .filter(|(_, s)| s["networks"].as_array().unwrap().contains(&"warehouse".into()))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(reached, ["sqlveil", "warehouse"], "the warehouse is for the proxy alone");
    // Variables that are needed are named where people read how to start it.
    let whole = text("compose.yaml");
    let variable = Regex::new(r"\$\{([A-Z_]+):\?").unwrap();
    for needed in variable.captures_iter(&whole) {
        assert!(whole.contains(&format!("{}=$(openssl", &needed[1])), "{}", &needed[1]);
    }
}

#[test]
fn linters_find_nothing() {
    let lint = |program: &str, args: &[&str], file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/lint/bin").join(program);
        let output = Command::new(&path).args(args).arg(docker().join(file)).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}; .ci/setup --test installs it", path.display()));
        let told = [&*output.stdout, &*output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
    };
    lint("hadolint", &["--failure-threshold", "style"], "Dockerfile");
    lint("check-jsonschema", &["--builtin-schema", "vendor.compose-spec"], "compose.yaml");
}

#[test]
fn the_image_runs_without_root_and_with_a_health_check() {
    let file = text("Dockerfile");
    let stages: Vec<&str> = file.split("\nFROM ").collect();
    let last = stages.last().unwrap();
    assert!(stages.len() == 3 && !last.contains("RUN "), "two stages, and the last has nothing to run");
    assert!(last.contains("\nUSER 65532:65532\n") && last.contains("\nHEALTHCHECK "), "{last}");
    // Copied paths exist, and the exec form needs no shell.
    for line in file.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for path in &words[..words.len() - 1] {
            assert!(docker().join("..").join(path).exists(), "{line}");
        }
    }
    for instruction in ["CMD", "ENTRYPOINT"] {
        for line in file.lines().filter(|line| line.trim_start().starts_with(instruction)) {
            assert!(line.contains(&format!("{instruction} [\"")), "{line}");
        }
    }
    let config = yaml("sqlveil/config.yaml");
    let port = |key: &Value| key.as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let (clients, admins) = (port(&config["listen"][0]), port(&config["admin"]["listen"]));
    assert!(
        last.contains(&format!("EXPOSE {clients} {admins}")) && last.contains(&format!("127.0.0.1:{admins}/ready"))
    );
    let scraped = &yaml("prometheus/prometheus.yaml")["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(scraped, &Value::from(format!("sqlveil:{admins}")));
    let grafana = yaml("grafana/provisioning/dashboards/sqlveil.yaml");
    let path = grafana["providers"][0]["options"]["path"].as_str().unwrap();
    assert!(text("compose.yaml").contains(&format!("./grafana/dashboards:{path}:ro")));
}
