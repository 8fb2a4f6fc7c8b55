//! The configuration as it is in force, defaults included, for administrators to read.
//!
//! In: a [`Config`]. Out: JSON in the words of the configuration file. Must never: show a secret: where one is set it says `***`.

use super::audit::{Audit, Mode, Otlp};
use super::authentication::{Network, Rules, Transport};
use super::directories::{Kind, Register};
use super::log::{Format, Log};
use super::{
    Admin, Config, Connection, Engine, Host, Limits, PoolLimits, PoolMode, Pooler, Replica, Secret, Shutdown, tls,
};
use crate::identity::Actor;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A duration as the configuration file has it.
fn span(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis > 0 && millis.is_multiple_of(factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    if millis == 0 { "0".to_owned() } else { format!("{millis}ms") }
}

/// `0` stands for none.
fn spans(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "0".to_owned(), span)
}

fn hidden(secret: Option<&Secret>) -> Value {
    secret.map_or(Value::Null, |_| json!("***"))
}

impl Config {
    /// All of it as JSON, secrets hidden.
    pub fn effective(&self) -> Value {
        // Destructured so that a new setting cannot be forgotten here.
        let Self {
            file,
            listen,
            reuse_port,
            proxy_protocol,
            threads,
            tls,
            authentication,
            directories,
            governance,
            identity,
            accounts,
            accounts_named: _,
            acknowledgements,
            secret,
            connections,
            databases,
            catalog_refresh,
            limits,
            shutdown,
            replica,
            impersonation,
            telling,
            audit,
            traces,
            log,
            admin,
            warnings,
        } = self;
        let connections: BTreeMap<_, _> = connections.iter().map(|(key, c)| (key, connection(c))).collect();
        let logins: Vec<Value> = impersonation.values().map(|login| actor(login)).collect();
        json!({
            "file": file,
            "listen": listen,
            "reuse_port": reuse_port,
            "proxy_protocol": announced(proxy_protocol),
            "threads": threads,
            "tls": tls.as_deref().map(|tls| server_tls(&tls.now())),
            "authentication": authentication.as_ref().map(rules),
            "directories": directories.iter().map(|register| directory(register)).collect::<Vec<_>>(),
            "governance": governance,
            "identity": identity,
            "accounts": accounts,
            "acknowledgements": acknowledgements,
            "secret": hidden(Some(secret)),
            "connections": connections,
            "databases": databases,
            "catalog": {"refresh": span(*catalog_refresh)},
            "limits": bounds(limits),
            "shutdown": end(*shutdown),
            "replica": replica.as_ref().map(one_of_several),
            "impersonation": logins,
            "my_access": {"policies": telling.policies, "conditions": telling.conditions},
            "audit": audit.as_ref().map(trail),
            "telemetry": traces.as_ref().map(|traces| json!({"otlp": collector(&traces.otlp), "ratio": traces.ratio})),
            "log": logged(log),
            "admin": admin.as_deref().map(interface),
            "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

fn announced(from: &[Network]) -> Value {
    let from: Vec<String> = from.iter().map(ToString::to_string).collect();
    if from.is_empty() { Value::Null } else { json!({"from": from}) }
}

fn server_tls(tls: &tls::ServerTls) -> Value {
    json!({"required": tls.required, "client_certificates": tls.asks_for_certificates})
}

fn interface(admin: &Admin) -> Value {
    let Admin { listen, token, tls, certificates, open_metrics } = admin;
    json!({
        "listen": listen,
        "token": hidden(token.as_ref()),
        "tls": tls.is_some(),
        "client_certificates": certificates,
        "open_metrics": open_metrics,
    })
}

fn collector(otlp: &Otlp) -> Value {
    let headers: BTreeMap<_, _> = otlp.headers.iter().map(|(name, secret)| (name, hidden(Some(secret)))).collect();
    // Some collectors take their key there.
    let (place, query) = otlp.endpoint.split_once('?').unwrap_or((&otlp.endpoint, ""));
    let endpoint = if query.is_empty() { place.to_owned() } else { format!("{place}?***") };
    json!({"endpoint": endpoint, "headers": headers})
}

fn one_of_several(replica: &Replica) -> Value {
    let Replica { id, listen, peers, timeout } = replica;
    json!({"id": id, "listen": listen, "peers": peers, "timeout": span(*timeout)})
}

fn trail(audit: &Audit) -> Value {
    let Audit { origin: _, folder, mode, with_literals, rotate_bytes, rotate_age, keep, queue, stdout, table, otlp } =
        audit;
    let mode = match mode {
        Mode::BestEffort => "best_effort",
        Mode::Required => "required",
    };
    let table = table.as_ref().map(|table| {
        let connection = connection(&table.connection);
        json!({"connection": connection, "table": table.name.to_string(), "keep": spans(table.keep)})
    });
    let otlp = otlp.as_ref().map(collector);
    json!({
        "folder": folder,
        "mode": mode,
        "statements": if *with_literals { "kept" } else { "redacted" },
        "rotate": {"bytes": rotate_bytes, "age": span(*rotate_age)},
        "keep": spans(*keep),
        "queue": queue,
        "stdout": stdout,
        "table": table,
        "otlp": otlp,
    })
}

fn logged(log: &Log) -> Value {
    let Log { format, levels } = log;
    let format = match format {
        Format::Text => "text",
        Format::Json => "json",
    };
    json!({"format": format, "levels": levels})
}

fn end(shutdown: Shutdown) -> Value {
    let Shutdown { linger, deadline } = shutdown;
    json!({"linger": span(linger), "deadline": span(deadline)})
}

fn rules(rules: &Rules) -> Value {
    let rule = |rule: &super::authentication::Rule| {
        let connection = match rule.connection {
            Transport::Any => "any",
            Transport::Local => "local",
            Transport::Tls => "tls",
            Transport::Plain => "plain",
        };
        json!({"line": rule.origin.line, "connection": connection, "method": rule.method.name(), "in_clear": rule.in_clear})
    };
    let issuers: Vec<Value> =
        rules.issuers.iter().map(|i| json!({"name": i.name, "issuer": i.issuer, "audience": i.audience})).collect();
    let ldap: Vec<Value> = rules.ldap.iter().map(|server| json!({"name": server.name, "url": server.url})).collect();
    json!({"rules": rules.iter().map(rule).collect::<Vec<_>>(), "issuers": issuers, "ldap": ldap})
}

fn directory(register: &Register) -> Value {
    let kind = match &register.kind {
        Kind::Ldap(_) => "ldap",
        Kind::Sql(_) => "sql",
    };
    json!({
        "name": register.name,
        "kind": kind,
        "iam": register.iam,
        "refresh": span(register.refresh),
        "grace": span(register.grace),
        "timeout": span(register.timeout),
        "lookups": register.lookups,
    })
}

fn connection(connection: &Connection) -> Value {
    let Connection {
        key: _,
        host,
        port,
        database,
        user,
        password,
        tls,
        pool,
        pooler,
        connect_timeout,
        query_timeout,
        query_timeout_max,
        temporary_tables,
        functions,
        engine,
        shards,
    } = connection;
    let host = match host {
        Host::Tcp(name) => json!(name),
        Host::Unix(folder) => json!(folder),
    };
    let sslmode = match tls.mode {
        tls::SslMode::Disable => "disable",
        tls::SslMode::Prefer => "prefer",
        tls::SslMode::Require => "require",
        tls::SslMode::VerifyCa => "verify-ca",
        tls::SslMode::VerifyFull => "verify-full",
    };
    let pooler = pooler.map(|Pooler::Session| "session");
    let engine = match engine {
        Engine::Postgresql => "postgresql",
        Engine::Compatible => "compatible",
    };
    let functions: Vec<Value> = functions
        .iter()
        .map(|(_, vouching)| json!({"function": vouching.function, "vouched_by": vouching.vouched_by, "total": vouching.total}))
        .collect();
    let PoolLimits { mode, min, max, idle, idle_timeout, max_lifetime, wait } = *pool;
    let mode = match mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
    };
    json!({
        "host": host,
        "port": port,
        "database": database,
        "user": user,
        "password": hidden(password.as_ref()),
        "sslmode": sslmode,
        "pool": {
            "mode": mode, "min": min, "max": max, "idle": idle, "idle_timeout": span(idle_timeout),
            "max_lifetime": span(max_lifetime), "wait": span(wait),
        },
        "pooler": pooler,
        "connect_timeout": span(*connect_timeout),
        "query_timeout": spans(*query_timeout),
        "query_timeout_max": spans(*query_timeout_max),
        "temporary_tables": temporary_tables,
        "functions": functions,
        "engine": engine,
        "shards": shards,
    })
}

fn actor(actor: &Actor) -> Value {
    json!({"login": actor.login, "key": hidden(actor.key.as_ref()), "longest": span(actor.longest)})
}

fn bounds(limits: &Limits) -> Value {
    let Limits {
        message_bytes,
        statement_bytes,
        sessions,
        sessions_per_user,
        failed_logins,
        directory_users,
        relations,
        bindings,
        result_rows,
        result_bytes,
        prepared_statements,
        portals,
        handshake_timeout,
        idle_timeout,
    } = *limits;
    json!({
        "message_bytes": message_bytes,
        "statement_bytes": statement_bytes,
        "sessions": sessions,
        "sessions_per_user": sessions_per_user,
        "failed_logins": failed_logins,
        "directory_users": directory_users,
        "relations": relations,
        "bindings": bindings,
        "result_rows": result_rows,
        "result_bytes": result_bytes,
        "prepared_statements": prepared_statements,
        "portals": portals,
        "handshake_timeout": span(handshake_timeout),
        "idle_timeout": spans(idle_timeout),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        for (seconds, text) in [(0, "0"), (1, "1s"), (60, "1m"), (90, "90s"), (3600, "1h"), (86_400, "1d")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(Duration::from_millis(1500)), "1500ms");
    }
}
