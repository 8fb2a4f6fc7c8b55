use super::*;

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
    fn certificate(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        self.write("server.crt", &made.cert.pem());
        self.write("server.key", &made.signing_key.serialize_pem());
    }
    fn load(&self, text: &str) -> Result<Config, Vec<String>> {
        let path = self.write("sqlveil.yaml", text);
        let environment = |name: &str| (name == "MASTER").then(|| "0123456789abcdef".into());
        load(&path, &environment, &Overrides::default()).map_err(|problems| {
            let base = format!("{}/", self.0.path().display());
            problems.iter().map(|p| p.to_string().replace(&base, "")).collect()
        })
    }
}

const SMALLEST: &str = "\
governance: ./governance
identity: identity.yaml
secret: {env: MASTER}
connections:
  warehouse: {host: 127.0.0.1, database: demo, user: svc}
";

#[test]
fn the_smallest_file_and_its_defaults() {
    let fixture = Fixture::new();
    let config = fixture.load(SMALLEST).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:6432".parse().unwrap()]);
    assert!(config.tls.is_none());
    assert_eq!(config.governance, fixture.0.path().join("./governance"));
    assert_eq!(config.limits, Limits::default());
    let connection = config.connection_of("demo").unwrap();
    assert_eq!((&*connection.key, connection.port, connection.tls.mode), ("warehouse", 5432, SslMode::Prefer));
    assert_eq!((connection.query_timeout, connection.connect_timeout), (None, Duration::from_secs(5)));
    assert!(config.connection_of("other").is_none());
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn everything_set() {
    let fixture = Fixture::new();
    fixture.certificate();
    fixture.write("password", "pässword\n");
    let config = fixture
        .load(
            "
listen: [\"0.0.0.0:6432\", '[::1]:7000']
threads: 3
tls: {certificate: server.crt, key: server.key, required: true}
governance: /etc/g
identity: identity.yaml
secret: {env: MASTER}
connections:
  warehouse:
    host: db.example.com
    port: 5433
    database: demo
    user: svc
    password: {file: password}
    sslmode: verify-full
    sslrootcert: server.crt
    pool: {mode: transaction, min: 1, max: 7, idle: 2, max_lifetime: 2h, idle_timeout: 1m, wait: 0}
    connect_timeout: 2s
    query_timeout: 30s
    temporary_tables: false
  other: {host: /run/postgresql, database: demo, user: svc, pooler: session}
databases: {sales: warehouse, sales_too: warehouse}
catalog: {refresh: 5m}
limits:
  message_bytes: 16MB
  statement_bytes: 100kB
  sessions: 5
  sessions_per_user: 4
  prepared_statements: 3
  portals: 2
  handshake_timeout: 5s
  idle_timeout: 1h
",
        )
        .unwrap();
    assert_eq!(config.listen.len(), 2);
    let tls = config.tls.as_ref().unwrap().now();
    assert!(tls.required && tls.end_point.is_some());
    assert_eq!(config.governance, Path::new("/etc/g"));
    let warehouse = config.connection_of("sales_too").unwrap();
    assert_eq!(warehouse.password, Some(Secret::new("pässword")));
    assert_eq!(warehouse.tls.mode, SslMode::VerifyFull);
    assert_eq!((warehouse.pool.max, warehouse.pool.idle, warehouse.pool.wait), (7, 2, Duration::ZERO));
    assert_eq!((warehouse.pool.mode, warehouse.pool.min), (PoolMode::Transaction, 1));
    assert_eq!(warehouse.query_timeout, Some(Duration::from_secs(30)));
    let other = config.connection_of("demo").unwrap();
    assert_eq!((warehouse.pooler, other.pooler), (None, Some(Pooler::Session)));
    assert_eq!((warehouse.temporary_tables, other.temporary_tables), (false, true));
    assert_eq!((&*other.key, &other.host), ("other", &Host::Unix("/run/postgresql".into())));
    assert_eq!(other.tls.mode, SslMode::Disable);
    assert_eq!(config.limits.message_bytes, 16 << 20);
    assert_eq!(config.limits.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!((config.catalog_refresh, config.threads), (Duration::from_secs(300), Some(3)));
    let shown = format!("{config:?}");
    assert!(!shown.contains("pässword") && !shown.contains("0123456789abcdef"), "{shown}");
    // The password file is readable by others: worth a look, not an error.
    assert!(config.warnings.iter().all(|w| !w.is_error()));
}

#[test]
fn json_is_read_too() {
    let fixture = Fixture::new();
    let json = r#"{"governance": "g", "identity": "i", "secret": {"env": "MASTER"},
        "connections": {"w": {"host": "::1", "database": "d", "user": "u", "port": 5432}}}"#;
    assert_eq!(fixture.load(json).unwrap().connection_of("d").unwrap().host, Host::Tcp("::1".into()));
}

#[test]
fn every_problem_at_once_with_its_line() {
    let fixture = Fixture::new();
    let problems = fixture
        .load(
            "\
listen: [\"localhost\"]
tsl: {}
governance: g
secret: {env: NOT_SET}
connections:
  a: {host: 'postgres://x', database: d, user: u, sslmode: on}
  b: {host: /tmp, database: d, user: u, sslmode: require, pool: {max: 2, idle: 3}}
  c: {host: h, database: d, usr: u, password: hunter2}
databases: {x: nowhere}
",
        )
        .unwrap_err();
    for expected in [
        "sqlveil.yaml:1:10: error: not an address to listen on",
        "sqlveil.yaml:2:1: error: unknown key `tsl` (did you mean `tls`?)",
        "sqlveil.yaml:1:1: error: missing key `identity`",
        "sqlveil.yaml:4:15: error: environment variable NOT_SET is not set",
        "sqlveil.yaml:6:13: error: not a host name",
        "sqlveil.yaml:6:60: error: unknown sslmode",
        "sqlveil.yaml:7:50: error: TLS over a Unix socket does not exist",
        "sqlveil.yaml:7:80: error: `idle` is above `max`",
        "sqlveil.yaml:8:6: error: missing key `user`",
        "sqlveil.yaml:8:29: error: unknown key `usr` (did you mean `user`?)",
        "sqlveil.yaml:8:47: error: where the secret is kept is expected here",
        "sqlveil.yaml:9:16: error: connection `nowhere` is not declared",
    ] {
        assert!(problems.iter().any(|p| p.starts_with(expected)), "{expected}\n{problems:#?}");
    }
    assert_eq!(problems.len(), 12, "{problems:#?}");
    assert!(problems.iter().all(|p| !p.contains("hunter2")));
}

#[test]
fn single_mistakes() {
    let fixture = Fixture::new();
    fixture.write("short", "abc\n");
    fixture.write("empty", "\n");
    fixture.write("garbage.pem", "not a certificate");
    for (from, to, expected) in [
        ("secret: {env: MASTER}", "secret: {file: short}", "fewer than 16 bytes"),
        ("secret: {env: MASTER}", "secret: {file: empty}", "empty"),
        ("secret: {env: MASTER}", "secret: {env: MASTER}\nproxy_protocol: {from: []}", "no network"),
        ("secret: {env: MASTER}", "secret: {env: MASTER}\nproxy_protocol: {from: [10.0.0.1/8]}", "not a network"),
        ("secret: {env: MASTER}", "secret: {env: MASTER}\nproxy_protocol: {}", "missing key `from`"),
        (
            "secret: {env: MASTER}",
            "secret: {env: MASTER}\nproxy_protocol: {from: [10.0.0.1], to: [10.0.0.2]}",
            "unknown key `to`",
        ),
        ("secret: {env: MASTER}", "secret: {file: missing}", "missing cannot be read: No such file or directory"),
        ("secret: {env: MASTER}", "secret: {env: MASTER, file: short}", "one of `env` and `file`"),
        ("secret: {env: MASTER}", "secret: {}", "one of `env` and `file`"),
        ("secret: {env: MASTER}", "secret: {env: MASTER}\nsecret: {env: MASTER}", "given twice"),
        ("user: svc", "user: svc, port: 0", "whole number from 1 to 65535"),
        ("user: svc", "user: svc, port: 70000", "whole number from 1 to 65535"),
        ("user: svc", "user: \"a\\u0001\"", "control characters"),
        ("user: svc", "user: svc, query_timeout: 30", "a duration is expected"),
        ("user: svc", "user: svc, query_timeout: 30d", "24 days"),
        ("user: svc", "user: svc, pooler: transaction", "behind a pooler in transaction mode"),
        ("user: svc", "user: svc, pooler: statement", "behind a pooler in statement mode"),
        ("user: svc", "user: svc, pooler: true", "unknown pooler"),
        ("user: svc", "user: svc, pool: {mode: statement}", "unknown pool mode"),
        ("user: svc", "user: svc, pool: {min: 3, max: 2}", "`min` is above `max`"),
        ("user: svc", "user: svc, pool: {min: 3, idle: 2}", "`idle` is below `min`"),
        ("user: svc", "user: svc, sslmode: verify-ca, sslrootcert: garbage.pem", "no certificate"),
        ("user: svc", "user: svc, sslrootcert: garbage.pem", "no effect"),
        ("governance: ./governance", "governance:", "no value"),
        ("governance: ./governance", "governance: g\ntls: {certificate: garbage.pem, key: short}", "certificate"),
        ("  warehouse:", "  b: {host: h, database: demo, user: u}\n  warehouse:", "already leads to"),
        ("governance: ./governance", "governance: g\nlimits: {sessions: 0}", "whole number"),
        ("governance: ./governance", "governance: g\nthreads: 0", "whole number"),
        ("governance: ./governance", "governance: g\nlisten: []", "no address"),
        ("governance: ./governance", "governance: g\nlisten: ['[::1]:1', '[::1]:1']", "twice"),
    ] {
        let text = SMALLEST.replace(from, to);
        assert_ne!(text, SMALLEST, "{from}");
        let problems = fixture.load(&text).unwrap_err();
        assert!(problems.iter().any(|p| p.contains(expected)), "{to}: {problems:?}");
    }
}

#[test]
fn engines_and_shards_are_named() {
    let fixture = Fixture::new();
    let with = |lines: &str| SMALLEST.replace("user: svc}", &format!("user: svc, {lines}}}"));
    let config = fixture.load(SMALLEST).unwrap();
    let plain = config.connection_of("demo").unwrap();
    assert_eq!((plain.engine, plain.shards.len()), (Engine::Postgresql, 0));
    let config = fixture.load(&with("engine: compatible, shards: [a, b]")).unwrap();
    let other = config.connection_of("demo").unwrap();
    assert_eq!((other.engine, other.shards.iter().map(String::as_str).collect()), (Engine::Compatible, vec!["a", "b"]));
    let problems = fixture.load(&with("engine: oracle")).unwrap_err();
    assert!(problems.iter().any(|p| p.contains("unknown engine")), "{problems:?}");
}
