//! What people type, statement by statement: the same answers, errors and notices on both ways, but for what is written down here.

use crate::stage::both;

/// What is answered otherwise, and the line that the proxy says first. What it refuses reaches other sessions, the server, or definitions
/// that are not the caller's.
const OTHERWISE: &[(&str, &str)] = &[
    // The connection that the server knows is the proxy's.
    ("SELECT inet_server_port() IS NULL AND inet_client_addr() IS NULL", "t"),
    ("SELECT count(*) FROM pg_stat_activity", "0"),
    // Settings: those of the client's own session.
    ("SELECT age('3'::xid) IS NULL AND age(xid('3')) IS NULL AND age((SELECT '3'::xid)) IS NULL", "t"),
    ("SHOW nothing_like_it", "ERROR:  permission denied to examine \"nothing_like_it\""),
    (
        "SET client_min_messages = 'debug1'",
        "ERROR:  parameter \"client_min_messages\" is pinned and cannot be changed to that value",
    ),
    (
        "SET client_encoding = 'LATIN1'",
        "ERROR:  parameter \"client_encoding\" is pinned and cannot be changed to that value",
    ),
    ("SET my.own = 'x'", "ERROR:  permission denied to set parameter \"my.own\""),
    ("SET role postgres", "ERROR:  permission denied to set parameter \"role\""),
    ("SELECT count(*) > 300 FROM pg_settings", "f"),
    // A string is refused as a whole before anything of it runs.
    ("SELECT 1; SELECT * FROM nowhere", "ERROR:  relation \"nowhere\" does not exist"),
    ("PREPARE p AS SELECT 1; DEALLOCATE p; EXECUTE p", "ERROR:  prepared statement \"p\" does not exist"),
    ("PREPARE q AS SELECT 1; SELECT count(*) FROM pg_prepared_statements", "PREPARE"),
    // Which part of a table a row lies in.
    ("SELECT tableoid FROM sale", "ERROR:  column \"tableoid\" does not exist"),
    // The server's own path is pinned.
    ("SELECT 0::positive", "ERROR:  value for domain public.positive violates check constraint \"positive_check\""),
    // Who reads cannot write, and nobody changes what there is.
    ("INSERT INTO region VALUES (9, 'x')", "ERROR:  permission denied for table region"),
    ("UPDATE region SET name = 'x'", "ERROR:  permission denied for table region"),
    ("DELETE FROM region", "ERROR:  permission denied for table region"),
    ("TRUNCATE region", "ERROR:  permission denied for table region"),
    ("COPY region FROM STDIN", "ERROR:  permission denied for table region"),
    ("CREATE TABLE public.t (a int)", "ERROR:  CREATE TABLE is supported for temporary tables only"),
    ("CREATE TEMP VIEW v AS SELECT * FROM region", "ERROR:  CREATE VIEW is not supported"),
    ("DROP TABLE region", "ERROR:  must be owner of table region"),
    ("ALTER TABLE region ADD x int", "ERROR:  ALTER TABLE is supported for temporary tables only"),
    ("CREATE INDEX ON region (name)", "ERROR:  CREATE INDEX is supported for temporary tables only"),
    ("GRANT SELECT ON region TO PUBLIC", "ERROR:  GRANT is not supported"),
    ("VACUUM region", "ERROR:  VACUUM is not supported"),
    ("ANALYZE region", "ERROR:  ANALYZE is supported for temporary tables only"),
    ("REFRESH MATERIALIZED VIEW totals", "ERROR:  REFRESH MATERIALIZED VIEW is not supported"),
    ("COMMENT ON TABLE region IS 'x'", "ERROR:  COMMENT is not supported"),
    ("LOCK TABLE region", "ERROR:  LOCK TABLE is supported IN ACCESS SHARE MODE"),
    ("CHECKPOINT", "ERROR:  CHECKPOINT is not supported"),
    ("COPY region TO '/tmp/file'", "ERROR:  permission denied to COPY to a file or program"),
    ("SELECT * FROM pg_authid", "ERROR:  permission denied by the warehouse"),
    ("SELECT pg_read_file('/etc/passwd')", "ERROR:  permission denied for function pg_read_file"),
    ("SELECT pg_sleep(0.01)", "ERROR:  permission denied for function pg_sleep"),
    ("SELECT txid_current_if_assigned()", "ERROR:  permission denied for function txid_current_if_assigned"),
    ("LISTEN something", "ERROR:  LISTEN is not supported"),
    ("NOTIFY something", "ERROR:  NOTIFY is not supported"),
    ("DO 'BEGIN END'", "ERROR:  DO is not supported"),
    ("CALL nothing()", "ERROR:  CALL is not supported"),
    // Definitions of views, and the sequences of columns.
    ("SELECT pg_get_viewdef('rich'::regclass) IS NULL, pg_get_serial_sequence('customer', 'id') IS NULL", "t|t"),
];

async fn alike(lines: &str) {
    let both = both().await;
    let mut wrong = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty() && !line.starts_with("--")) {
        wrong.extend(both.same_psql(&["-X", "-c", line]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_typed() {
    alike(include_str!("typed.sql")).await;
}

/// What tools that are not run here ask for when they connect and show their trees.
#[tokio::test(flavor = "multi_thread")]
async fn as_tools_ask() {
    alike(include_str!("tools.sql")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn otherwise() {
    let both = both().await;
    for (sql, wanted) in OTHERWISE {
        let said = both.proxy.psql(&both.role(), &["-X", "-At", "-c", sql]);
        let first = format!("{}{}", said.out, said.err).lines().next().map(str::to_owned).unwrap_or_default();
        assert_eq!(&first, wanted, "{sql}");
        // As long as it is otherwise: what becomes the same belongs to the other list.
        assert!(both.same_psql(&["-X", "-At", "-c", sql]).is_some(), "{sql}");
    }
}
