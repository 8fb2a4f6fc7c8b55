//! Behind a balancer that says from where clients come: TLS, certificates and rules by address go on as ever.

use crate::papers::Papers;
use crate::stage::{answer, error, stage};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// A balancer in small: each connection begins with this header. Where it listens.
async fn balancer(proxy: u16, header: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut proxy = TcpStream::connect(("127.0.0.1", proxy)).await.unwrap();
            proxy.write_all(header).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut proxy).await });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_comes_behind_the_header_and_rules_look_at_the_address_that_it_says() {
    let papers = Papers::new();
    papers.client("tom", |_| ());
    let running = stage(&format!(
        "{}\nproxy_protocol: {{from: [127.0.0.1]}}\nauthentication:\n- {{connection: tls, network: 192.0.2.0/24, method: cert}}\n",
        papers.tls()
    ))
    .await;
    let psql = |port: u16| {
        let conninfo = papers.conninfo(running.database(), Some("tom"), &format!("port={port}"));
        running.psql_as("tom", "", &conninfo, &["-At", "-c", "SELECT current_user"])
    };
    let near = balancer(running.port, b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 6432\r\n").await;
    assert_eq!(answer(&psql(near)), "tom");
    let far = balancer(running.port, b"PROXY TCP4 198.51.100.7 10.0.0.1 40000 6432\r\n").await;
    let refused = error(&psql(far));
    assert!(refused.starts_with("no login is permitted from host \"198.51.100.7\" as user \"tom\""), "{refused}");
    assert!(!psql(running.port).ok);
    let plain = format!("dbname={} sslmode=disable", running.database());
    let told = error(&running.psql_as("tom", "", &plain, &["-c", ""]));
    assert_eq!(told, "connections from this address begin with a header of the PROXY protocol");
}
