//! Who may ask what.

use crate::http::{TOKEN, send, start, with_token};
use crate::metrics::stage;
use crate::papers::Papers;
use sqlveil::cli::health;
use sqlveil::config::Config;
use std::sync::Arc;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

const ASKED: [&str; 5] = ["/metrics", "/version", "/config", "/sessions", "/nothing/of/that/name"];
const ORDERED: [&str; 6] = ["/sessions/1/cancel", "/sessions/1/end", "/cache/flush", "/reload", "/drain", "/explain"];

#[tokio::test]
async fn without_the_token_nothing_is_told_but_health() {
    let administered = start(with_token(stage().await, "")).await;
    let live = administered.ask_unknown("GET", "/live").await;
    assert_eq!((live.status, live.text.as_str()), (200, "{\"live\":true}"));
    let ready = administered.ask_unknown("GET", "/ready").await;
    assert_eq!((ready.status, ready.text.as_str()), (200, "{\"ready\":true,\"reasons\":[],\"degraded\":[]}"));
    let wrong = format!("Bearer {TOKEN}x");
    let short = format!("Bearer {}", &TOKEN[1..]);
    for headers in [
        vec![],
        vec![("authorization", wrong.as_str())],
        vec![("authorization", &short)],
        vec![("authorization", TOKEN)],
    ] {
        for path in ASKED {
            send(administered.address(), "GET", path, &headers, None).await.is_problem(401);
        }
        for path in ORDERED {
            send(administered.address(), "POST", path, &headers, Some("{}".to_owned())).await.is_problem(401);
        }
    }
    assert!(!administered.running.proxy().draining());
    for path in ["/metrics", "/version", "/config", "/sessions"] {
        assert_eq!(administered.ask("GET", path, None).await.status, 200, "{path}");
        administered.ask("POST", path, None).await.is_problem(405);
    }
    administered.ask("GET", "/nothing/of/that/name", None).await.is_problem(404);
    administered.ask("GET", "/reload", None).await.is_problem(405);
}

#[tokio::test]
async fn metrics_can_be_opened_and_nothing_else_with_them() {
    let administered = start(with_token(stage().await, "  open_metrics: true\n")).await;
    let answer = administered.ask_unknown("GET", "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.kind.starts_with("application/openmetrics-text"), "{}", answer.kind);
    assert!(answer.text.contains("sqlveil_sessions 0.0\n") && answer.text.ends_with("# EOF\n"));
    administered.ask_unknown("GET", "/metrics/").await.is_problem(401);
    administered.ask_unknown("GET", "/sessions").await.is_problem(401);
}

#[tokio::test]
async fn a_page_in_an_administrators_browser_orders_nothing() {
    let administered = start(with_token(stage().await, "")).await;
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str()), ("origin", "https://example.org")];
    send(administered.address(), "POST", "/drain", &headers, None).await.is_problem(403);
    assert!(!administered.running.proxy().draining());
}

fn agent(papers: &Papers, client: Option<&str>) -> ureq::Agent {
    let pem = |name: &str| std::fs::read(papers.folder().join(name)).unwrap();
    let roots = RootCerts::Specific(Arc::new(vec![Certificate::from_pem(&pem("ca.crt")).unwrap()]));
    let mut tls = TlsConfig::builder().root_certs(roots);
    if let Some(client) = client {
        let chain = vec![Certificate::from_pem(&pem(&format!("{client}.crt"))).unwrap()];
        let key = PrivateKey::from_pem(&pem(&format!("{client}.key"))).unwrap();
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    let tls = tls.unversioned_rustls_crypto_provider(sqlveil::config::tls::provider()).build();
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).tls_config(tls).build().into()
}

#[tokio::test]
async fn a_certificate_of_client_ca_is_as_good_as_the_token() {
    let (papers, others) = (Papers::new(), Papers::new());
    papers.client("admin", |_| {});
    others.client("stranger", |_| {});
    others.write("ca.crt", &std::fs::read_to_string(papers.folder().join("ca.crt")).unwrap());
    let path = |name: &str| papers.folder().join(name).display().to_string();
    let tls = format!(
        "admin:\n  listen: \"127.0.0.1:0\"\n  tls: {{certificate: {}, key: {}, client_ca: {}}}\n",
        path("server.crt"),
        path("server.key"),
        path("ca.crt")
    );
    let administered = start(stage().await.config(&tls)).await;
    let port = administered.address().port();
    let ca = papers.folder().join("ca.crt");
    let asked = tokio::task::spawn_blocking(move || {
        let status = |agent: ureq::Agent, path: &str| {
            agent.get(format!("https://localhost:{port}{path}")).call().map(|response| response.status().as_u16())
        };
        assert_eq!(status(agent(&papers, Some("admin")), "/sessions").unwrap(), 200);
        assert_eq!(status(agent(&papers, None), "/sessions").unwrap(), 401);
        assert_eq!(status(agent(&papers, None), "/ready").unwrap(), 200);
        assert!(status(agent(&others, Some("stranger")), "/ready").is_err(), "of another authority");
        // Plain HTTP to a port that speaks TLS.
        assert!(ureq::get(format!("http://localhost:{port}/live")).call().is_err());
        let args = |path: &str, ca| health::Args { url: format!("https://localhost:{port}{path}"), ca, timeout: 5 };
        let mut out = Vec::new();
        assert!(health::run(&args("/ready", Some(ca.clone())), &mut out).unwrap());
        assert!(String::from_utf8(out).unwrap().contains("\"ready\":true"));
        assert!(!health::run(&args("/sessions", Some(ca)), &mut Vec::new()).unwrap());
        assert!(health::run(&args("/ready", None), &mut Vec::new()).is_err(), "of no authority of the system");
    });
    asked.await.unwrap();
}

#[tokio::test]
async fn an_interface_that_would_be_open_is_refused() {
    let refused = |stage: crate::support::Stage| {
        let problems = Config::load(&stage.write()).expect_err("it is refused");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let text = refused(stage().await.config("admin: {listen: \"127.0.0.1:0\"}"));
    assert!(text.contains("nobody could be known here"), "{text}");
    let open =
        |plaintext: &str| format!("admin:\n  listen: \"0.0.0.0:0\"\n  token: {{file: secrets/admin}}\n{plaintext}");
    let text = refused(stage().await.config(&open("")).document("../secrets/admin", TOKEN));
    assert!(text.contains("can be reached from other machines") && !text.contains(TOKEN), "{text}");
    let text = refused(with_token(stage().await, "").document("../secrets/admin", "short"));
    assert!(text.contains("at least 16 bytes") && !text.contains("short\""), "{text}");
    let stage = stage().await.config(&open("  plaintext: true\n")).document("../secrets/admin", TOKEN);
    assert!(Config::load(&stage.write()).is_ok());
}
