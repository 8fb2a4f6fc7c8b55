//! Errors and notices of the warehouse, made fit for the caller (threat model, row 5).
//!
//! In: the fields the warehouse sent and the plan of the statement. Out: an ErrorResponse or NoticeResponse with fewer fields, its
//! position in the caller's own text. Must never: pass context or internal-query fields (they hold rewritten SQL), detail of a relation
//! that hides something, or a text that may quote a hidden value.

use super::writes::{self, Said};
use crate::catalog::scratch::Change;
use crate::error::{Family, Refusal, SqlState};
use crate::plan::{Effect, ErrorPolicy, Plan, Quotable, Writing};
use crate::policy::decision::ROW_ALIAS;
use crate::seal::{Parametrized, Values};
use crate::wire::errors::{Fields, Severity, byte_offset, character_position, error_response, write_fields};
use bytes::BytesMut;

/// The text of every error that might quote a value while a policy's own expressions may raise.
pub const DATA_ERROR: &str = "data error in a policy-protected relation";
/// The text of 42501 of the warehouse: its own names the service account's view of things.
pub const NO_PERMISSION: &str = "permission denied by the warehouse";

/// How 42501 of the warehouse begins when its database lets the service account make no temporary tables.
pub const NO_TEMPORARY: &str = "permission denied to create temporary tables";

/// What the warehouse says of temporary tables by the schema that the proxy wrote, in the words it has for what the caller wrote.
fn of_temporaries(text: &str, plan: &Plan) -> Option<String> {
    let Effect::Scratch(change) = &plan.effect else { return None };
    if let Change::Drop(names) = change
        && text == "schema \"pg_temp\" does not exist, skipping"
    {
        return names.first().map(|name| format!("table \"{name}\" does not exist, skipping"));
    }
    text.contains("\"pg_temp.").then(|| text.replace("\"pg_temp.", "\""))
}

/// The text of errors that name a relation or a column as the warehouse does: what was resolved a moment ago is not there any more.
pub const CHANGED: &str = "a relation of the statement has changed in the warehouse";

/// The text of errors of another server that the warehouse reads from: theirs name it.
pub const FAR: &str = "a server behind the warehouse does not answer";

/// Whether an error in the middle of a session is about another server (manual, Appendix A: connection exceptions, foreign data).
fn of_another_server(code: &str) -> bool {
    // 08P01 is about the caller's own messages.
    (code.starts_with("08") && code != "08P01") || code.starts_with("HV")
}

/// Whether an error of the warehouse is about names that the proxy itself wrote: a relation that is not there, a column under our own
/// alias. Callers' own mistakes in names of relations never come so far.
fn names_the_warehouse(code: &str, text: &str) -> bool {
    match code {
        "42P01" => {
            !text.starts_with("missing FROM-clause entry") && !text.starts_with("invalid reference to FROM-clause")
        }
        "42703" => text.contains(&format!("{ROW_ALIAS}.")),
        _ => false,
    }
}

/// Whether a hint mentions a name that the rewriter made.
fn ours(text: &str) -> bool {
    text.contains(ROW_ALIAS)
}

/// What an error is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The caller's whole text.
    pub caller_sql: &'a str,
    /// What was sent for it.
    pub sent: &'a str,
    /// Where in `sent` the statement begins.
    pub start: usize,
    /// The statement's plan.
    pub plan: &'a Plan,
    /// How its errors are shown: the plan's own, and those of what it executes.
    pub errors: ErrorPolicy,
    /// What it writes, or what it executes does.
    pub writing: Option<&'a Writing>,
    /// Functions whose words are for the caller: the plan's, or those of what it executes.
    pub quotable: &'a Quotable,
    /// What was sent in place of the text.
    pub repeated: Option<Sent<'a>>,
}

/// A statement that was sent with parameters.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Its text.
    pub text: &'a Parametrized,
    /// Their values.
    pub values: &'a Values,
}

/// How errors are shown that belong to no statement: closed.
const UNKNOWN: ErrorPolicy = ErrorPolicy { hides: true, canonical_data_errors: true };

/// Whether a text under this code can quote values of rows: everything but the classes known not to (PostgreSQL manual, Appendix A).
fn may_quote_values(code: &str) -> bool {
    match code.get(..2) {
        // Connection, invalid transaction state, rollback, syntax and names, resources, object state, operator intervention.
        Some("08" | "0A" | "25" | "26" | "28" | "34" | "3D" | "3F" | "40" | "42" | "53" | "55" | "57") => false,
        _ => true,
    }
}

/// The class of a code as a code of its own (`22P02` → `22000`): which error it was is itself a signal.
fn class_code(code: &str) -> String {
    match code.get(..2) {
        Some("00" | "01") => code.get(..2).map(|c| format!("{c}000")).unwrap_or_default(),
        Some(class) if class.bytes().all(|b| b.is_ascii_alphanumeric()) => format!("{class}000"),
        _ => SqlState::INTERNAL_ERROR.0.to_owned(),
    }
}

impl About<'_> {
    /// 1-based character position in the sent text → the same in the caller's text.
    fn position(&self, position: &str) -> Option<usize> {
        let position = position.parse().ok()?;
        let offset = match self.repeated {
            Some(Sent { text, values }) => text.filled(byte_offset(text.text().as_str(), position)?, values),
            None => byte_offset(self.sent, position)?.checked_sub(self.start)?,
        };
        character_position(self.caller_sql, self.plan.positions.to_caller(offset)?)
    }
}

/// Severities of notices that are about the caller's own statement (manual, 20.8); `DEBUG1` to `DEBUG5` and `LOG` quote what was sent.
const TOLD: [&str; 3] = ["NOTICE", "WARNING", "INFO"];

/// Appends an error (`E`) or notice (`N`) of the warehouse as the caller may see it. A notice that may quote hidden values is dropped, as
/// is one that the server writes for its own log.
pub fn relay(out: &mut BytesMut, tag: u8, fields: &Fields<'_>, about: Option<&About<'_>>) {
    #[cfg(feature = "disarm")]
    if crate::disarm::is_off(crate::disarm::Defence::Errors) {
        return write_fields(out, tag, fields.iter());
    }
    let policy = about.map_or(UNKNOWN, |a| a.errors);
    let code = fields.sqlstate();
    let canonical = policy.canonical_data_errors && may_quote_values(code);
    let reads = about.is_some_and(|a| a.writing.is_none());
    match writes::said(tag, fields, about) {
        Said::Nothing => return,
        Said::Refusal(refusal) => return error_response(out, &refusal, Severity::Error, None),
        Said::Otherwise(text) if !(reads && canonical) => {
            let kept = fields.iter().filter(|(kind, _)| matches!(kind, b'S' | b'V' | b'C'));
            return write_fields(out, tag, kept.chain(std::iter::once((b'M', text.as_str()))));
        }
        Said::Otherwise(_) | Said::Plainly => {}
    }
    let told = fields.get(b'V').is_some_and(|severity| TOLD.contains(&severity));
    if tag == b'N' && (canonical || !told) {
        return;
    }
    let shown_code = if canonical { class_code(code) } else { code.to_owned() };
    let position = fields.get(b'P').and_then(|p| about?.position(p)).map(|p| p.to_string());
    let reworded = fields.get(b'M').and_then(|text| of_temporaries(text, about?.plan));
    let mut shown: Vec<(u8, &str)> = Vec::with_capacity(16);
    for (kind, text) in fields.iter() {
        match kind {
            b'S' | b'V' => shown.push((kind, text)),
            b'C' => shown.push((kind, &shown_code)),
            b'M' if canonical => shown.push((kind, DATA_ERROR)),
            b'M' if of_another_server(code) => shown.push((kind, FAR)),
            b'D' | b'H' if of_another_server(code) => {}
            b'M' if code == SqlState::INSUFFICIENT_PRIVILEGE.0 => {
                let temporary = text.starts_with(NO_TEMPORARY);
                shown.push((kind, if temporary { NO_TEMPORARY } else { NO_PERMISSION }));
            }
            b'M' if reworded.is_some() => shown.extend(reworded.as_deref().map(|text| (kind, text))),
            b'M' if names_the_warehouse(code, text) => shown.push((kind, CHANGED)),
            b'M' => shown.push((kind, text)),
            b'P' => shown.extend(position.as_deref().map(|p| (kind, p))),
            // Detail, hint, schema, table, column, type, constraint.
            b'D' | b'H' if code == SqlState::FEATURE_NOT_SUPPORTED.0 && about.is_some_and(|a| a.writing.is_some()) => {}
            // Where in the client's own rows.
            b'W' if !policy.hides
                && !canonical
                && text.starts_with("COPY ")
                && about.is_some_and(|a| a.writing.is_some()) =>
            {
                shown.push((kind, text));
            }
            b'D' | b'H' | b's' | b't' | b'c' | b'd' | b'n'
                if !policy.hides && !canonical && code != SqlState::INSUFFICIENT_PRIVILEGE.0 =>
            {
                shown.push((kind, text));
            }
            // What analysis suggests before a row is read, about names and types that the caller wrote or sees.
            b'H' if code.starts_with("42") && code != SqlState::INSUFFICIENT_PRIVILEGE.0 && !ours(text) => {
                shown.push((kind, text));
            }
            // Source file, line, routine; which routine raised is as telling as the code.
            b'F' | b'L' | b'R' if !canonical => shown.push((kind, text)),
            // `p`, `q`, `W` always, and whatever later versions add.
            _ => {}
        }
    }
    write_fields(out, tag, shown.into_iter());
}

/// The end of the warehouse's session, as the client is told: 57P01 and its like stay, anything else is 08006.
pub fn ended(fields: Option<&Fields<'_>>) -> Refusal {
    let fatal = |code, message: &'static str| Refusal::new(Family::Upstream, SqlState(code), message);
    match fields.map(Fields::sqlstate) {
        Some("57P01") => fatal("57P01", "terminating connection due to administrator command"),
        Some("57P05") => fatal("57P05", "terminating connection due to idle-session timeout"),
        Some("25P03") => fatal("25P03", "terminating connection due to idle-in-transaction timeout"),
        _ => Refusal::upstream("the warehouse closed the connection"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PositionMap;
    use crate::seal::Sealed;

    fn plan(errors: ErrorPolicy, pairs: &[(u32, u32)]) -> Plan {
        Plan {
            holds_pid: false,
            leaves: crate::plan::Leaves::Nothing,
            sealed: Sealed::empty(),
            effect: Effect::None,
            tag: None,
            positions: PositionMap::new(pairs.to_vec()),
            errors,
            notices: Vec::new(),
            instead: None,
            touched: Default::default(),
            returns_rows: true,
            quotable: Quotable::default(),
            gives: None,
            writing: None,
            world_version: 1,
            lacks_column: false,
            valid_until: None,
            table: None,
            repeated: None,
        }
    }

    fn shown(tag: u8, code: &str, plan: Option<(&Plan, &str, &str, usize)>) -> Vec<(u8, String)> {
        shown_in("JSON data, line 1: 7", tag, code, plan)
    }

    fn shown_in(context: &str, tag: u8, code: &str, plan: Option<(&Plan, &str, &str, usize)>) -> Vec<(u8, String)> {
        let mut raw = BytesMut::new();
        let fields = [
            (b'S', "ERROR"),
            (b'V', "ERROR"),
            (b'C', code),
            (b'M', "value \"secret\""),
            (b'D', "row (secret)"),
            (b'H', "try secret"),
            (b'P', "16"),
            (b'p', "3"),
            (b'q', "rewritten"),
            (b'W', context),
            (b't', "emp"),
            (b'n', "emp_pkey"),
            (b'R', "int4in"),
            (b'Z', "later"),
        ];
        write_fields(&mut raw, b'E', fields.into_iter());
        let fields = Fields::parse(&raw[5..]).unwrap();
        let about = plan.map(|(plan, caller_sql, sent, start)| About {
            caller_sql,
            sent,
            start,
            plan,
            errors: plan.errors,
            writing: None,
            quotable: &plan.quotable,
            repeated: None,
        });
        let mut out = BytesMut::new();
        relay(&mut out, tag, &fields, about.as_ref());
        if out.is_empty() {
            return Vec::new();
        }
        Fields::parse(&out[5..]).unwrap().iter().map(|(k, t)| (k, t.to_owned())).collect()
    }

    fn keys(fields: &[(u8, String)]) -> String {
        fields.iter().map(|(k, _)| *k as char).collect()
    }

    #[test]
    fn names_of_the_warehouse_are_not_told() {
        assert!(names_the_warehouse("42P01", "relation \"raw.t_cust\" does not exist"));
        assert!(names_the_warehouse("42703", "column _sv.ssn does not exist"));
        assert!(!names_the_warehouse("42P01", "missing FROM-clause entry for table \"x\""));
        assert!(!names_the_warehouse("42P01", "invalid reference to FROM-clause entry for table \"x\""));
        assert!(!names_the_warehouse("42703", "column e.nope does not exist"));
    }

    fn value(fields: &[(u8, String)], key: u8) -> Option<&str> {
        fields.iter().find(|(k, _)| *k == key).map(|(_, t)| t.as_str())
    }

    #[test]
    fn open_plans_keep_what_the_caller_may_know() {
        let p = plan(ErrorPolicy::default(), &[(10, 8)]);
        // Character 16 of the sent text is byte 16 behind the two-byte "é": 10 within the statement.
        let got = shown(b'E', "22P02", Some((&p, "sélect ß x", "'é';\nxxx select 'y'", 6)));
        assert_eq!(keys(&got), "SVCMDHPtnR");
        assert_eq!(value(&got, b'P'), Some("8"), "byte 8 of the caller's text is its 8th character");
        assert_eq!(value(&got, b'C'), Some("22P02"));
    }

    #[test]
    fn hiding_plans_drop_detail_and_unmapped_positions() {
        let p = plan(ErrorPolicy { hides: true, canonical_data_errors: false }, &[]);
        let got = shown(b'E', "22P02", Some((&p, "select", "select", 0)));
        assert_eq!(keys(&got), "SVCMR");
    }

    #[test]
    fn canonical_plans_say_the_class_only() {
        let p = plan(ErrorPolicy { hides: true, canonical_data_errors: true }, &[]);
        for code in ["22P02", "23505", "P0001", "XX000", "21000"] {
            let got = shown(b'E', code, Some((&p, "select", "select", 0)));
            assert_eq!(keys(&got), "SVCM", "{code}");
            assert_eq!(value(&got, b'M'), Some(DATA_ERROR));
            assert_eq!(value(&got, b'C'), Some(format!("{}000", &code[..2]).as_str()));
        }
        assert_eq!(value(&shown(b'E', "57014", Some((&p, "", "", 0))), b'C'), Some("57014"));
        assert!(shown(b'N', "00000", Some((&p, "", "", 0))).is_empty());
    }

    #[test]
    fn the_servers_own_log_is_not_relayed() {
        for (severity, passes) in
            [("NOTICE", true), ("WARNING", true), ("INFO", true), ("LOG", false), ("DEBUG2", false)]
        {
            let mut raw = BytesMut::new();
            write_fields(
                &mut raw,
                b'N',
                [(b'S', severity), (b'V', severity), (b'C', "00000"), (b'M', "x")].into_iter(),
            );
            let p = plan(ErrorPolicy::default(), &[]);
            let (errors, quotable) = (p.errors, &p.quotable);
            let about =
                About { caller_sql: "", sent: "", start: 0, plan: &p, errors, writing: None, quotable, repeated: None };
            let mut out = BytesMut::new();
            relay(&mut out, b'N', &Fields::parse(&raw[5..]).unwrap(), Some(&about));
            assert_eq!(!out.is_empty(), passes, "{severity}");
        }
    }

    #[test]
    fn functions_of_the_warehouse_are_not_quoted() {
        let (open, canonical) =
            (plan(ErrorPolicy::default(), &[]), plan(ErrorPolicy { hides: true, canonical_data_errors: true }, &[]));
        for context in
            ["PL/pgSQL function f() line 1 at RAISE", "SQL function \"f\" statement 1", "COPY t, line 1\nsecret"]
        {
            for code in ["22P02", "42P01", "0A000", "57014", "23505", "40001", "XX000"] {
                let got = shown_in(context, b'E', code, Some((&open, "select", "select", 0)));
                assert_eq!((keys(&got).as_str(), value(&got, b'C')), ("SVCM", Some(code)), "{context}");
                assert!(!value(&got, b'M').unwrap().contains("secret"), "{code}");
                let got = shown_in(context, b'E', code, Some((&canonical, "select", "select", 0)));
                assert_eq!(keys(&got), "SVCM", "{code} {context}");
                assert!(!value(&got, b'M').unwrap().contains("secret"), "{code}");
            }
            assert!(shown_in(context, b'N', "01000", Some((&open, "", "", 0))).is_empty());
        }
    }

    #[test]
    fn errors_of_no_statement_are_closed_and_42501_is_ours() {
        assert_eq!(value(&shown(b'E', "22P02", None), b'M'), Some(DATA_ERROR));
        // Of a constraint that was deferred to the end of the transaction.
        let deferred = shown(b'E', "23503", None);
        assert_eq!((keys(&deferred).as_str(), value(&deferred, b'C')), ("SVCM", Some("23503")));
        assert_eq!(value(&deferred, b'M'), Some("the statement violates a constraint of the warehouse"));
        let p = plan(ErrorPolicy::default(), &[]);
        let got = shown(b'E', "42501", Some((&p, "", "", 0)));
        assert_eq!(keys(&got), "SVCMR");
        assert_eq!(value(&got, b'M'), Some(NO_PERMISSION));
    }

    #[test]
    fn the_end_of_the_warehouse_is_told_in_our_words() {
        assert_eq!(ended(None).code.0, "08006");
        let mut raw = BytesMut::new();
        write_fields(&mut raw, b'E', [(b'V', "FATAL"), (b'C', "57P01"), (b'M', "x")].into_iter());
        assert_eq!(ended(Some(&Fields::parse(&raw[5..]).unwrap())).code.0, "57P01");
    }
}
