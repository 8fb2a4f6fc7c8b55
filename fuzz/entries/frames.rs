//! Frames after login, of both sides: headers, bodies, errors as they are relayed.

use bytes::BytesMut;
use sqlveil::relay::errors::{ended, relay};
use sqlveil::wire::errors::{Fields, byte_offset, character_position};
use sqlveil::wire::frontend::sasl_initial;
use sqlveil::wire::{Frontend, Header, Limits, TransactionStatus};

/// Reads `bytes` as a row of frames.
pub fn run(bytes: &[u8]) {
    let mut rest = bytes;
    let limits = Limits::default();
    while let Ok(Some(header)) = Header::scan(rest) {
        // A header is the same however much of the frame has come.
        assert_eq!(Header::scan(&rest[..Header::LEN]).unwrap().unwrap().total(), header.total());
        for cut in 0..Header::LEN {
            assert!(matches!(Header::scan(&rest[..cut]), Ok(None)), "{cut} bytes are no header");
        }
        let allowed = limits.check(header).is_ok();
        if rest.len() < header.total() {
            break;
        }
        let (frame, others) = rest.split_at(header.total());
        let body = &frame[Header::LEN..];
        if allowed {
            let _ = Frontend::parse(header.tag, body);
        }
        let _ = sasl_initial(body);
        if let Some(byte) = body.first().and_then(|b| TransactionStatus::from_byte(*b)) {
            assert_eq!(Some(byte.byte()), body.first().copied());
        }
        if matches!(header.tag, b'E' | b'N') {
            error(header.tag, body);
        }
        rest = others;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        positions(text);
    }
}

/// An error is relayed as one well-formed frame that quotes no SQL and no context.
fn error(tag: u8, body: &[u8]) {
    let Ok(fields) = Fields::parse(body) else { return };
    let _ = ended(Some(&fields));
    let mut out = BytesMut::new();
    relay(&mut out, tag, &fields, None);
    if out.is_empty() {
        assert_eq!(tag, b'N', "errors are never dropped");
        return;
    }
    let header = Header::scan(&out).expect("a frame").expect("a whole header");
    assert_eq!((header.tag, header.total()), (tag, out.len()), "one frame");
    let shown = Fields::parse(&out[Header::LEN..]).expect("well formed");
    for (kind, _) in shown.iter() {
        assert!(!b"pqW".contains(&kind), "field {} is dropped", kind as char);
    }
}

/// Characters and bytes are counted the same way in both directions.
fn positions(text: &str) {
    for (offset, _) in text.char_indices().take(64) {
        let position = character_position(text, offset).expect("an offset of the text");
        assert_eq!(byte_offset(text, position), Some(offset));
    }
    let _ = (byte_offset(text, usize::MAX), character_position(text, usize::MAX));
}
