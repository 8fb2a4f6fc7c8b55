//! The first packet of a connection, and the settings and names in it.

use sqlveil::session::login::Wish;
use sqlveil::sql::{self, NodeEnum};
use sqlveil::wire::startup::{Startup, command_line, packet_length};

/// Reads `bytes` as the first packet; whole, and as its body.
pub fn run(bytes: &[u8]) {
    for cut in 0..bytes.len().min(4) {
        assert!(matches!(packet_length(&bytes[..cut]), Ok(None)), "a length has four bytes");
    }
    if let Ok(Some(length)) = packet_length(bytes)
        && bytes.len() >= length
    {
        packet(&bytes[4..length]);
    }
    packet(bytes);
    // A session's, whatever its parameters.
    packet(&[&[0, 3, 0, 0], bytes].concat());
    if let Ok(options) = std::str::from_utf8(bytes) {
        let _ = command_line(options);
    }
}

fn packet(bytes: &[u8]) {
    if let Ok(Startup::Session(message)) = Startup::parse(bytes)
        && let Ok(wish) = Wish::read(&message)
    {
        assert!(!wish.login.is_empty(), "nobody logs in without a name");
        assert!(!wish.database.is_empty(), "the database defaults to the name");
        let set = sql::parse(&wish.as_sql()).expect("settings become statements");
        assert_eq!(set.statements.len(), wish.settings.len(), "one a setting");
        for statement in set.statements {
            assert!(matches!(statement.node, NodeEnum::VariableSetStmt(_)), "and nothing else: {}", wish.as_sql());
        }
        assert!(!wish.login.contains('\0') && !wish.application.contains('\0'));
    }
}
