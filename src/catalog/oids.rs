//! Sets of OIDs as SQL: whether an OID is in a set that may have as many members as the warehouse has relations.
//!
//! In: SQL of an OID, the members. Out: SQL of a boolean that never raises. Must never: hold for an OID that is not a member.
//!
//! The planner looks at every element of a constant array to guess how many rows an `= ANY` finds, and parses it from digits: a large set
//! that way costs more than what it is asked about. Few members stay an array, which indexes serve. Many that lie close together, as the
//! server hands OIDs out, become a map of bits (`get_bit`, PostgreSQL manual, 9.5), of which a row costs one look; the rest an array that
//! is hashed (PostgreSQL 14 and later) and out of the planner's sight.

use super::lookup::{Map, array_literal, oid_array};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most members of a plain array.
const FEW: usize = 48;
/// Most OIDs between two members of one map of bits.
const GAP: u32 = 4096;
/// Most bits for a member: a sixth of a byte of text each, against some seven for its digits.
const SPARSE: usize = 40;
/// Most maps of bits in one expression.
const MAPS: usize = 4;
/// `server_version_num` of the first release that hashes constant arrays.
const HASHED: u32 = 140_000;

/// How often an expression may be mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mention {
    /// Once: it may be volatile, or costly.
    Once,
    /// It is a column, a parameter or a constant.
    Freely,
}

/// SQL (boolean) for whether `key` (SQL of type oid) is one of `members`; not true for NULL.
pub(crate) fn holds(
    key: &str,
    members: impl IntoIterator<Item = u32>,
    mention: Mention,
    server_version: u32,
) -> String {
    let mut members: Vec<u32> = members.into_iter().collect();
    members.sort_unstable();
    members.dedup();
    if members.len() <= FEW {
        return format!("{key} = ANY ({})", oid_array(members));
    }
    let mut runs: Vec<&[u32]> = members.chunk_by(|a, b| b - a <= GAP).collect();
    if mention == Mention::Once {
        runs = vec![&members];
    }
    // The longest first: most rows are found there.
    runs.sort_by_key(|run| std::cmp::Reverse(run.len()));
    let (mut parts, mut rest) = (Vec::new(), Vec::new());
    for run in runs {
        let dense = run.len() > FEW && span(run) <= run.len().saturating_mul(SPARSE);
        if dense && parts.len() < MAPS { parts.push(bits(key, run)) } else { rest.extend_from_slice(run) }
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(listed(key, &rest, server_version));
    }
    if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join(" OR ")) }
}

fn span(run: &[u32]) -> usize {
    let (first, last) = (run.first().copied().unwrap_or_default(), run.last().copied().unwrap_or_default());
    usize::try_from(last - first).unwrap_or(usize::MAX).saturating_add(1)
}

/// The first and the last bit stand for all OIDs below and above, and are not set.
fn bits(key: &str, run: &[u32]) -> String {
    let first = run.first().copied().unwrap_or_default();
    let last = span(run).saturating_add(1);
    let mut map = vec![0_u8; last / 8 + 1];
    for oid in run {
        let at = usize::try_from(oid - first).unwrap_or_default().saturating_add(1);
        if let Some(byte) = map.get_mut(at / 8) {
            *byte |= 1 << (at % 8);
        }
    }
    // Base 64 is shorter than digits, and has no backslash that the parser would have to look into.
    format!(
        "pg_catalog.get_bit(pg_catalog.decode('{}', 'base64'), \
         LEAST(GREATEST({key}::pg_catalog.int8 - {}::pg_catalog.int8, 0), {last})::pg_catalog.int4) <> 0",
        STANDARD.encode(&map),
        i64::from(first) - 1,
    )
}

fn listed(key: &str, members: &[u32], server_version: u32) -> String {
    if server_version >= HASHED || members.len() <= FEW {
        return shielded(&format!("{key} = ANY ({})", oid_array(members.iter().copied())));
    }
    let mut map = Map::default();
    members.iter().for_each(|oid| map.add(oid.to_string(), true));
    map.holds(&format!("{key}::pg_catalog.text"))
}

/// A test that the planner takes to hold for most rows without looking into it.
fn shielded(test: &str) -> String {
    format!("(CASE WHEN {test} THEN 1 ELSE 0 END) <> 0")
}

/// SQL (boolean) for whether a relation and a number (SQL of types oid and of a whole number, each a column) are one of the pairs.
pub(crate) fn pair(relation: &str, number: &str, pairs: &Pairs, server_version: u32) -> String {
    let mut alike: std::collections::BTreeMap<&[u16], Vec<u32>> = std::collections::BTreeMap::new();
    pairs.0.iter().for_each(|(oid, numbers)| alike.entry(numbers).or_default().push(*oid));
    if alike.len() <= MAPS {
        let of = |(numbers, oids): (&[u16], Vec<u32>)| {
            let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
            format!(
                "({number}::pg_catalog.int4 = ANY ('{{{}}}'::pg_catalog.int4[]) AND {})",
                numbers.join(","),
                holds(relation, oids, Mention::Freely, server_version)
            )
        };
        let parts: Vec<String> = alike.into_iter().map(of).collect();
        return if parts.is_empty() { "false".to_owned() } else { format!("({})", parts.join(" OR ")) };
    }
    let key = |oid: u32, number: u16| (u64::from(oid) * 65536 + u64::from(number)).to_string();
    let keys: Vec<String> = pairs.0.iter().flat_map(|(oid, ns)| ns.iter().map(move |n| key(*oid, *n))).collect();
    let sought = format!("({relation}::pg_catalog.int8 * 65536::pg_catalog.int8 + {number}::pg_catalog.int8)");
    if server_version < HASHED && keys.len() > FEW {
        let mut map = Map::default();
        keys.into_iter().for_each(|key| map.add(key, true));
        return map.holds(&format!("{sought}::pg_catalog.text"));
    }
    let test = format!("{sought} = ANY ('{{{}}}'::pg_catalog.int8[])", keys.join(","));
    if keys.len() <= FEW { test } else { shielded(&test) }
}

/// Relations and numbers of some of their columns.
#[derive(Debug, Default)]
pub(crate) struct Pairs(Vec<(u32, Vec<u16>)>);

impl Pairs {
    /// Adds the numbers of a relation that is not in it.
    pub(crate) fn add(&mut self, relation: u32, numbers: impl Iterator<Item = i16>) {
        let numbers: Vec<u16> = numbers.map(i16::unsigned_abs).collect();
        if !numbers.is_empty() {
            self.0.push((relation, numbers));
        }
    }
}

/// SQL (boolean) for whether `key` (SQL of type name) is one of `names`.
pub(crate) fn named<'n>(key: &str, names: impl IntoIterator<Item = &'n str>, server_version: u32) -> String {
    words(key, "name", names, server_version)
}

/// SQL (boolean) for whether `key` (SQL of type text) is one of `texts`.
pub(crate) fn texts<'n>(key: &str, texts: impl IntoIterator<Item = &'n str>, server_version: u32) -> String {
    words(key, "text", texts, server_version)
}

fn words<'n>(key: &str, kind: &str, words: impl IntoIterator<Item = &'n str>, server_version: u32) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    let many = words.len() > FEW;
    if many && server_version < HASHED {
        let mut map = Map::default();
        words.iter().for_each(|word| map.add(*word, true));
        return map.holds(&format!("({key})::pg_catalog.text"));
    }
    let test = format!("{key} = ANY ({}::pg_catalog.{kind}[])", array_literal(words));
    if many { shielded(&test) } else { test }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: u32 = 150_000;

    /// What the map of bits says, read back from its text.
    fn read(sql: &str) -> Vec<u32> {
        let map = STANDARD.decode(sql.split('\'').nth(1).unwrap()).unwrap();
        let below: i64 = sql.split("int8 - ").nth(1).unwrap().split("::").next().unwrap().parse().unwrap();
        let last: usize = sql.split("0), ").nth(1).unwrap().split(')').next().unwrap().parse().unwrap();
        assert!(last / 8 < map.len() && map[0] & 1 == 0 && map[last / 8] & (1 << (last % 8)) == 0);
        let set = (0..=last).filter(|at| map[at / 8] & (1 << (at % 8)) != 0);
        set.map(|at| u32::try_from(below + i64::try_from(at).unwrap()).unwrap()).collect()
    }

    #[test]
    fn bits_are_the_members_and_no_others() {
        for members in
            [(0..60).collect::<Vec<u32>>(), (16_384..20_000).step_by(7).collect(), (u32::MAX - 70..=u32::MAX).collect()]
        {
            let sql = holds("k", members.clone(), Mention::Once, V);
            assert_eq!(read(&sql), members, "{sql}");
            assert_eq!(sql.matches('k').count(), 1, "{sql}");
        }
    }

    #[test]
    fn few_are_an_array_and_far_ones_a_list() {
        assert_eq!(holds("k", [3, 1, 3], Mention::Once, V), "k = ANY ('{1,3}'::pg_catalog.oid[])");
        let far: Vec<u32> = (0..100).map(|n| 20_000 + n * 50_000).collect();
        let sql = holds("k", far.clone(), Mention::Freely, V);
        assert!(sql.starts_with("(CASE WHEN k = ANY ('{20000,70000,") && sql.matches('k').count() == 1, "{sql}");
        assert!(holds("k", far, Mention::Once, 130_000).starts_with("pg_catalog.jsonb_exists("));
    }

    #[test]
    fn clusters_have_maps_of_their_own() {
        let members: Vec<u32> = (16_400..16_500).chain(90_000_000..90_000_200).chain([5_000_000]).collect();
        let sql = holds("k", members.clone(), Mention::Freely, V);
        let parts: Vec<&str> = sql.trim_matches(['(', ')']).split(" OR ").collect();
        assert_eq!(parts.len(), 3, "{sql}");
        assert_eq!(read(parts[0]), (90_000_000..90_000_200).collect::<Vec<_>>());
        assert_eq!(read(parts[1]), (16_400..16_500).collect::<Vec<_>>());
        assert!(parts[2].contains("'{5000000}'"));
        assert_eq!(holds("q", members, Mention::Once, V).matches('q').count(), 1);
    }

    #[test]
    fn pairs_of_relations_that_are_alike_stand_together() {
        let mut pairs = Pairs::default();
        assert_eq!(pair("r", "n", &pairs, V), "false");
        for oid in [20_000, 20_010] {
            pairs.add(oid, [1, 3].into_iter());
        }
        pairs.add(20_020, [2].into_iter());
        assert_eq!(
            pair("r", "n", &pairs, V),
            "((n::pg_catalog.int4 = ANY ('{1,3}'::pg_catalog.int4[]) AND r = ANY ('{20000,20010}'::pg_catalog.oid[])) \
             OR (n::pg_catalog.int4 = ANY ('{2}'::pg_catalog.int4[]) AND r = ANY ('{20020}'::pg_catalog.oid[])))"
        );
        (3_i16..9).for_each(|n| pairs.add(30_000 + u32::from(n.unsigned_abs()), [n].into_iter()));
        assert!(pair("r", "n", &pairs, V).contains(&(20_000_u64 * 65536 + 3).to_string()));
    }
}
