//! The engine against a model of PostgreSQL: whatever a client sends, in whatever pieces, it hears what it would hear from the model
//! itself.

use super::model::{client_message, directly, engine, frame, survive, through_a_moving_engine, through_the_engine};
use crate::wire::backend;
use bytes::BytesMut;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Any sequence, cut anywhere, with the warehouse as slow as it likes.
    #[test]
    fn a_client_hears_what_it_would_hear_directly(
        messages in prop::collection::vec(any::<(u8, u8)>(), 1..24),
        cuts in prop::collection::vec((1..40_usize, any::<bool>(), 0..30_usize), 1..40),
    ) {
        let mut sent: Vec<u8> = messages.into_iter().flat_map(|(kind, names)| client_message(kind, names)).collect();
        sent.extend(frame(b'S', b""));
        prop_assert_eq!(through_the_engine(&sent, &cuts), directly(&sent));
    }

    /// The same where the session of the warehouse goes to others in between.
    #[test]
    fn a_client_that_takes_turns_hears_the_same(
        messages in prop::collection::vec(any::<(u8, u8)>(), 1..24),
        cuts in prop::collection::vec((1..40_usize, any::<bool>(), 0..30_usize), 1..40),
    ) {
        let mut sent: Vec<u8> = messages.into_iter().flat_map(|(kind, names)| client_message(kind, names)).collect();
        sent.extend(frame(b'S', b""));
        prop_assert_eq!(through_a_moving_engine(&sent, &cuts), directly(&sent));
    }

    /// Frames of any content: the engine refuses or goes on, and never panics; what goes upstream is well formed.
    #[test]
    fn any_bytes_are_survived(
        tag in prop::sample::select(b"QPBDCEHSXdcfFpz".to_vec()),
        body in prop::collection::vec(any::<u8>(), 0..40),
        answers in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        survive(&frame(tag, &body), &answers);
    }
}

#[test]
fn answers_nobody_asked_for_end_the_session() {
    for answer in
        [frame(b'D', b"\0\0"), frame(b'G', b"\0\0\0"), frame(b'1', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")]
    {
        let mut client = BytesMut::new();
        let ended = engine().upstream(&mut BytesMut::from(&answer[..]), &mut client);
        assert!(ended.is_err(), "{answer:?}");
        assert!(client.is_empty());
    }
}

#[test]
fn settings_of_the_service_login_are_not_shown_and_pinned_ones_are_watched() {
    let status = |name: &str, value: &str| {
        let mut out = BytesMut::new();
        backend::parameter_status(&mut out, name, value);
        let mut client = BytesMut::new();
        engine().upstream(&mut out, &mut client).map(|()| client.len())
    };
    assert_eq!(status("session_authorization", "service"), Ok(0));
    assert_eq!(status("is_superuser", "on"), Ok(0));
    assert!(status("TimeZone", "UTC").unwrap() > 0);
    assert!(status("standard_conforming_strings", "off").is_err());
    assert!(status("client_encoding", "LATIN1").is_err());
    assert!(status("client_encoding", "UTF8").unwrap() > 0);
}

/// `exec_parse_message` drops the unnamed statement before it looks at the new one.
#[test]
fn a_parse_that_fails_leaves_no_unnamed_statement() {
    let bind = frame(b'B', b"\0\0\0\0\0\0\0\0");
    for second in [&b"\0s\0\0\0"[..], b"\0deny\0\0\0", b"\0s;s\0\0\0"] {
        let sent = [
            frame(b'Q', b"begin\0"),
            frame(b'P', b"\0commit\0\0\0"),
            frame(b'S', b""),
            frame(b'B', b"\0a\0\0\0\0\0\0\0"),
            frame(b'P', b"\0skipped\0\0\0"),
            frame(b'S', b""),
            bind.clone(),
            frame(b'S', b""),
            frame(b'P', second),
            frame(b'S', b""),
            bind.clone(),
            frame(b'S', b""),
        ]
        .concat();
        for turns in [&[(400, true, 400)][..], &[(9, false, 0), (11, true, 7)]] {
            let heard = directly(&sent);
            assert_eq!(
                heard.iter().map(String::as_str).collect::<Vec<_>>()[2..],
                ["1", "ZT", "E", "ZE", "2", "ZE", "E", "ZE", "E", "ZE"]
            );
            assert_eq!(through_the_engine(&sent, turns), heard);
            assert_eq!(through_a_moving_engine(&sent, turns), heard);
        }
    }
}

/// What once found something.
#[test]
fn findings_of_the_fuzzer_stay_mended() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions/session");
    for file in std::fs::read_dir(folder).expect("regressions") {
        super::model::run(&std::fs::read(file.expect("a file").path()).expect("its bytes"));
    }
}
