//! Rows of one text column that a client gets in place of the warehouse's.
//!
//! In: the lines, and how many of them an Execute asks for. Out: DataRow messages. Must never: be said together with a row of the
//! warehouse.

use crate::wire::backend;
use bytes::{BufMut, BytesMut};
use std::sync::Arc;

/// One answer's share of the rows.
#[derive(Debug, Clone)]
pub struct Instead {
    rows: Arc<[String]>,
    from: usize,
    to: usize,
    /// The client's row limit was reached: PortalSuspended (PostgreSQL manual, 55.2.3), even when no row is left.
    pub suspended: bool,
}

impl Instead {
    /// All rows.
    pub fn all(rows: Arc<[String]>) -> Self {
        let to = rows.len();
        Self { rows, from: 0, to, suspended: false }
    }

    /// At most `most` rows from `from` on; 0 or less is no limit.
    pub fn some(rows: Arc<[String]>, from: usize, most: i32) -> Self {
        let from = from.min(rows.len());
        match usize::try_from(most) {
            Ok(most) if most > 0 && rows.len() - from >= most => Self { rows, from, to: from + most, suspended: true },
            _ => Self { to: rows.len(), rows, from, suspended: false },
        }
    }

    /// Where the next share begins.
    pub fn next(&self) -> usize {
        self.to
    }

    /// Appends the rows; text, json and xml have the same bytes in both formats.
    pub fn say(&self, out: &mut BytesMut) {
        for row in self.rows.get(self.from..self.to).unwrap_or_default() {
            backend::message(out, b'D', |b| {
                b.put_i16(1);
                b.put_i32(i32::try_from(row.len()).unwrap_or(i32::MAX));
                b.put_slice(row.as_bytes());
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_each_other_as_a_portals_do() {
        let rows: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        let first = Instead::some(Arc::clone(&rows), 0, 2);
        let second = Instead::some(Arc::clone(&rows), first.next(), 2);
        assert_eq!((first.from, first.to, first.suspended), (0, 2, true));
        assert_eq!((second.from, second.to, second.suspended), (2, 3, false));
        // Exactly as many as there are: the server does not know yet that it was the last.
        let exact = Instead::some(Arc::clone(&rows), 0, 3);
        assert!(exact.suspended);
        let none = Instead::some(Arc::clone(&rows), exact.next(), 3);
        assert_eq!((none.from, none.to, none.suspended), (3, 3, false));
        assert!(!Instead::some(Arc::clone(&rows), 0, 0).suspended);
        let mut out = BytesMut::new();
        Instead::all(rows).say(&mut out);
        assert_eq!(&out[..12], b"D\0\0\0\x0b\0\x01\0\0\0\x01a");
    }
}
