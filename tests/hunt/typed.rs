//! Random statements over a caller's whole catalog: expressions of every type, from every function and operator, nested, in every clause.
//!
//! They raise freely, on visible values too: only pairs whose plans are the same can be compared on them.

use crate::lexicon::{ARRAYS, ELEMENTS, Function, Lexicon, Relation, any_type};
use crate::literals::known;
use crate::session::Case;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// A FROM item in scope: its name, its columns.
type Item = (String, Vec<(String, u32)>);

/// Makes statements.
pub struct Typed<'l> {
    lexicon: &'l Lexicon,
    rng: &'l mut StdRng,
    items: usize,
    /// Literals become parameters.
    parameters: Option<Vec<String>>,
}

const BOOL: u32 = 16;
const INT4: u32 = 23;
const INT8: u32 = 20;
const TEXT: u32 = 25;

impl<'l> Typed<'l> {
    /// A maker over a lexicon.
    pub fn new(lexicon: &'l Lexicon, rng: &'l mut StdRng) -> Self {
        Self { lexicon, rng, items: 0, parameters: None }
    }

    /// The next statement. With parameters it has values of its own.
    pub fn case(&mut self, parameters: bool) -> Case {
        self.items = 0;
        self.parameters = parameters.then(Vec::new);
        let sql = self.select(&[], 0);
        Case { sql, values: self.parameters.take().unwrap_or_default() }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.rng.random_range(0..sides)
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        of.choose(self.rng).cloned()
    }

    fn word(&mut self, of: &[&'static str]) -> &'static str {
        of[self.roll(of.len())]
    }

    fn any_type(&mut self) -> u32 {
        any_type(self.rng.random_range(0..1000))
    }

    /// Types that statements are mostly about.
    fn common_type(&mut self) -> u32 {
        const COMMON: &[u32] = &[16, 20, 23, 23, 25, 25, 25, 701, 1043, 1082, 1184, 1186, 1700, 1700, 3802, 1007, 1009];
        if self.one_in(5) { self.any_type() } else { COMMON[self.roll(COMMON.len())] }
    }

    fn literal(&mut self, oid: u32) -> String {
        let Some(t) = known(oid) else { return "NULL".to_owned() };
        if self.one_in(12) {
            return format!("NULL::{}", t.name);
        }
        let text = self.word(t.literals);
        if let Some(values) = &mut self.parameters
            && self.rng.random_ratio(1, 3)
            && values.len() < 20
        {
            values.push(text.to_owned());
            return format!("${}::{}", values.len(), t.name);
        }
        format!("'{}'::{}", text.replace('\'', "''"), t.name)
    }

    fn column(&mut self, scope: &[Item], oid: u32) -> Option<String> {
        let fitting: Vec<String> = scope
            .iter()
            .flat_map(|(item, columns)| columns.iter().filter(|c| c.1 == oid).map(move |c| format!("{item}.{}", c.0)))
            .collect();
        self.pick(&fitting)
    }

    /// An expression of a type.
    fn expression(&mut self, oid: u32, scope: &[Item], depth: usize) -> String {
        if depth > 3 || self.one_in(4) {
            return match self.column(scope, oid) {
                Some(column) if !self.one_in(5) => column,
                _ if depth <= 4 && self.one_in(2) => self.cast(oid, scope),
                _ => self.literal(oid),
            };
        }
        match self.roll(13) {
            0..=2 => self.column(scope, oid).unwrap_or_else(|| self.literal(oid)),
            3..=6 => self.call(oid, scope, depth),
            7..=8 => self.operation(oid, scope, depth),
            9 => self.cast(oid, scope),
            10 => {
                let (test, a, b) =
                    (self.condition(scope, depth + 2), self.expression(oid, scope, depth + 1), self.literal(oid));
                match self.roll(4) {
                    0 => format!("coalesce({a}, {b})"),
                    1 => format!("nullif({a}, {b})"),
                    _ => format!("CASE WHEN {test} THEN {a} ELSE {b} END"),
                }
            }
            11 if depth < 2 => format!("({})", self.scalar(oid, scope, depth)),
            _ if oid == BOOL => self.condition(scope, depth + 1),
            _ => self.operation(oid, scope, depth),
        }
    }

    /// From another type, through text or directly.
    fn cast(&mut self, oid: u32, scope: &[Item]) -> String {
        let Some(t) = known(oid) else { return "NULL".to_owned() };
        let from = if self.one_in(2) { TEXT } else { self.common_type() };
        let value = self.column(scope, from).unwrap_or_else(|| self.literal(TEXT));
        let direct = from == TEXT || self.one_in(4);
        if direct { format!("({value})::{}", t.name) } else { format!("(({value})::text)::{}", t.name) }
    }

    fn args(&mut self, function: &Function, scope: &[Item], depth: usize, bound: Option<u32>) -> String {
        let element = bound.unwrap_or_else(|| [INT4, TEXT, 1700][self.roll(3)]);
        let args: Vec<String> = function
            .args
            .iter()
            .map(|oid| {
                let oid = match *oid {
                    any if ELEMENTS.contains(&any) => element,
                    any if ARRAYS.contains(&any) => {
                        known(element).map_or(1007, |t| if t.array == 0 { 1007 } else { t.array })
                    }
                    other => other,
                };
                self.expression(oid, scope, depth + 1)
            })
            .collect();
        args.join(", ")
    }

    fn call(&mut self, oid: u32, scope: &[Item], depth: usize) -> String {
        let lexicon = self.lexicon;
        let mut candidates: Vec<&Function> = lexicon.functions.get(&oid).map_or(Vec::new(), |f| f.iter().collect());
        let mut bound = None;
        if self.one_in(8) {
            let poly = ELEMENTS.iter().filter_map(|e| lexicon.functions.get(e)).flatten();
            candidates = poly.collect();
            bound = Some(oid);
        }
        let Some(function) = candidates.choose(self.rng) else { return self.literal(oid) };
        let args = self.args(function, scope, depth, bound);
        format!("{}({args})", crate::lexicon::quoted(&function.name))
    }

    fn operation(&mut self, oid: u32, scope: &[Item], depth: usize) -> String {
        let lexicon = self.lexicon;
        let Some(operator) = lexicon.operators.get(&oid).and_then(|o| o.choose(self.rng)) else {
            return self.literal(oid);
        };
        let right = self.expression(operator.right, scope, depth + 1);
        if operator.left == 0 {
            return format!("({} {right})", operator.name);
        }
        let left = self.expression(operator.left, scope, depth + 1);
        format!("({left} {} {right})", operator.name)
    }

    fn condition(&mut self, scope: &[Item], depth: usize) -> String {
        if depth > 3 {
            return self.column(scope, BOOL).unwrap_or_else(|| self.operation(BOOL, scope, depth));
        }
        let oid = self.common_type();
        let (a, b) = (self.expression(oid, scope, depth + 1), self.expression(oid, scope, depth + 2));
        match self.roll(16) {
            0..=3 => format!("{a} {} {b}", self.word(&["=", "<", ">", "<=", "<>", ">="])),
            4..=6 => self.operation(BOOL, scope, depth),
            7 => format!("({a}) IS {}NULL", self.word(&["", "NOT "])),
            8 => format!("{a} IS {}DISTINCT FROM {b}", self.word(&["", "NOT "])),
            9 => format!("{a} {}IN ({b}, {a})", self.word(&["", "NOT "])),
            10 => format!("{a} BETWEEN {}{b} AND {a}", self.word(&["", "SYMMETRIC "])),
            11 => format!("({}) OR ({})", self.condition(scope, depth + 1), self.condition(scope, depth + 2)),
            12 => format!("NOT ({})", self.condition(scope, depth + 1)),
            13 if depth < 2 => format!("EXISTS ({})", self.select(scope, depth + 2)),
            14 if depth < 2 => {
                format!("{a} {} ({})", self.word(&["IN", "NOT IN", "= ANY", "<> ALL"]), self.scalar(oid, scope, depth))
            }
            _ => {
                let (t, p) = (self.expression(TEXT, scope, depth + 1), self.expression(TEXT, scope, depth + 2));
                format!("{t} {} {p}", self.word(&["LIKE", "~", "NOT ILIKE", "SIMILAR TO", "~*"]))
            }
        }
    }

    /// A sub-select of one column.
    fn scalar(&mut self, oid: u32, scope: &[Item], depth: usize) -> String {
        let (from, items) = self.from(scope, depth + 2);
        let inner: Vec<Item> = items.iter().chain(scope).cloned().collect();
        let value = self.aggregate(oid, &inner, depth + 1).filter(|_| true);
        let value = match value {
            Some(aggregate) if self.one_in(2) => aggregate,
            _ => self.expression(oid, &inner, depth + 2),
        };
        let condition =
            if self.one_in(2) { format!(" WHERE {}", self.condition(&inner, depth + 2)) } else { String::new() };
        let limit = if self.one_in(2) { " LIMIT 1" } else { "" };
        format!("SELECT {value} FROM {from}{condition}{limit}")
    }

    fn aggregate(&mut self, oid: u32, scope: &[Item], depth: usize) -> Option<String> {
        let lexicon = self.lexicon;
        let function = lexicon.aggregates.get(&oid)?.choose(self.rng)?;
        if function.args.is_empty() {
            return Some(format!("{}(*)", function.name));
        }
        let args = self.args(function, scope, depth + 1, None);
        let distinct = if self.one_in(6) { "DISTINCT " } else { "" };
        let filter = if self.one_in(5) {
            format!(" FILTER (WHERE {})", self.condition(scope, depth + 2))
        } else {
            String::new()
        };
        Some(format!("{}({distinct}{args}){filter}", crate::lexicon::quoted(&function.name)))
    }

    fn relation(&mut self) -> Relation {
        let lexicon = self.lexicon;
        let own = !lexicon.relations.is_empty() && (lexicon.system.is_empty() || !self.one_in(6));
        let from = if own { &lexicon.relations } else { &lexicon.system };
        from[self.rng.random_range(0..from.len())].clone()
    }

    /// One FROM item; `scope` is what LATERAL sees.
    fn item(&mut self, scope: &[Item], depth: usize) -> (String, Item) {
        self.items += 1;
        let alias = format!("q{}", self.items);
        let kind = if depth < 2 { self.roll(14) } else { self.roll(8) };
        match kind {
            8 | 9 => {
                let relation = self.relation();
                let inner = [("r".to_owned(), relation.columns.clone())];
                let (oid, mut columns) = (self.common_type(), relation.columns.clone());
                let (value, test) = (self.expression(oid, &inner, depth + 2), self.condition(&inner, depth + 2));
                columns.push(("made".to_owned(), oid));
                let fence = self.word(&["", " OFFSET 0", " ORDER BY 1 LIMIT 20", ""]);
                (
                    format!("(SELECT r.*, {value} AS made FROM {} r WHERE {test}{fence}) {alias}", relation.name),
                    (alias, columns),
                )
            }
            10 => {
                let lexicon = self.lexicon;
                let sets: Vec<&Function> = lexicon.sets.iter().filter(|f| known(f.result).is_some()).collect();
                match sets.choose(self.rng) {
                    Some(function) => {
                        let args = self.args(function, scope, depth + 2, None);
                        let result = function.result;
                        (format!("{}({args}) AS {alias}(v)", function.name), (alias, vec![("v".to_owned(), result)]))
                    }
                    None => self.plain(alias),
                }
            }
            11 => {
                let (a, b) = (self.common_type(), self.common_type());
                let rows: Vec<String> =
                    (0..1 + self.roll(3)).map(|_| format!("({}, {})", self.literal(a), self.literal(b))).collect();
                (
                    format!("(VALUES {}) {alias}(a, b)", rows.join(", ")),
                    (alias, vec![("a".to_owned(), a), ("b".to_owned(), b)]),
                )
            }
            12 => {
                let relation = self.relation();
                let method = self.word(&["SYSTEM (60)", "BERNOULLI (50)"]);
                let seed = self.roll(9);
                let (name, columns) = (relation.name, relation.columns);
                (format!("{name} {alias} TABLESAMPLE {method} REPEATABLE ({seed})"), (alias, columns))
            }
            13 => {
                let oid = self.common_type();
                let value = self.expression(oid, scope, depth + 2);
                (
                    format!("LATERAL (SELECT {value} AS v{}) {alias}", self.word(&["", " OFFSET 0"])),
                    (alias, vec![("v".to_owned(), oid)]),
                )
            }
            _ => self.plain(alias),
        }
    }

    fn plain(&mut self, alias: String) -> (String, Item) {
        let relation = self.relation();
        (format!("{} {alias}", relation.name), (alias, relation.columns))
    }

    fn from(&mut self, outer: &[Item], depth: usize) -> (String, Vec<Item>) {
        let count = if depth == 0 { 1 + self.roll(3) } else { 1 };
        let mut text = String::new();
        let mut items: Vec<Item> = Vec::new();
        for at in 0..count {
            let visible: Vec<Item> = items.iter().chain(outer).cloned().collect();
            let (item, named) = self.item(&visible, depth);
            if at == 0 {
                text = item;
                items.push(named);
                continue;
            }
            let left = items[self.roll(items.len())].clone();
            items.push(named.clone());
            let shared: Vec<String> = left
                .1
                .iter()
                .flat_map(|l| {
                    named.1.iter().filter(|r| r.1 == l.1).map(|r| format!("{}.{} = {}.{}", left.0, l.0, named.0, r.0))
                })
                .collect();
            let pair = [left, named];
            let on = match self.pick(&shared) {
                Some(on) if !self.one_in(5) => on,
                _ => self.condition(&pair, depth + 2),
            };
            let join =
                self.word(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", "NATURAL JOIN"]);
            match join {
                "CROSS JOIN" | "NATURAL JOIN" => text = format!("{text} {join} {item}"),
                _ => text = format!("{text} {join} {item} ON {on}"),
            }
        }
        (text, items)
    }

    /// A whole SELECT.
    fn select(&mut self, outer: &[Item], depth: usize) -> String {
        let mut with = String::new();
        let (from, mut items) = self.from(outer, depth);
        let mut from = from;
        if depth == 0 && self.one_in(7) {
            let relation = self.relation();
            let hint = self.word(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
            let inner = [("w".to_owned(), relation.columns.clone())];
            let test = self.condition(&inner, 2);
            with = format!("WITH c AS {hint}(SELECT * FROM {} w WHERE {test}) ", relation.name);
            from = format!("{from} CROSS JOIN c");
            items.push(("c".to_owned(), relation.columns));
        }
        let scope: Vec<Item> = items.iter().chain(outer).cloned().collect();
        let conditions: Vec<String> =
            (0..self.roll(3)).map(|_| format!("({})", self.condition(&scope, depth))).collect();
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let grouped = depth == 0 && self.one_in(4);
        let mut targets = Vec::new();
        let mut tail = String::new();
        if grouped {
            let oid = self.common_type();
            let by = self.expression(oid, &items, 2);
            targets.push(by.clone());
            for _ in 0..1 + self.roll(3) {
                let oid = self.common_type();
                targets.push(self.aggregate(oid, &items, 1).unwrap_or_else(|| "count(*)".to_owned()));
            }
            tail = match self.roll(5) {
                0 => format!(" GROUP BY ROLLUP ({by})"),
                1 => format!(" GROUP BY GROUPING SETS (({by}), ())"),
                _ => format!(" GROUP BY {by}"),
            };
            if self.one_in(3) {
                let condition = self.aggregate(BOOL, &items, 1).unwrap_or_else(|| "count(*) > 0".to_owned());
                tail.push_str(&format!(" HAVING {condition}"));
            }
        } else {
            for _ in 0..1 + self.roll(4) {
                let oid = self.common_type();
                let target = match self.roll(12) {
                    0 => format!("{}.*", items[0].0),
                    1 => items[0].0.clone(),
                    2 if depth == 0 => {
                        let (value, by, order) = (
                            self.aggregate(INT8, &items, 2),
                            self.expression(oid, &items, 2),
                            self.expression(INT4, &items, 3),
                        );
                        let value =
                            value.filter(|v| !v.contains("DISTINCT")).unwrap_or_else(|| "row_number()".to_owned());
                        format!("{value} OVER (PARTITION BY {by} ORDER BY {order})")
                    }
                    3 => format!("ARRAY[{}]", self.expression(TEXT, &scope, depth + 1)),
                    4 => format!("to_jsonb({})", items[0].0),
                    _ => self.expression(oid, &scope, depth),
                };
                targets.push(target);
            }
        }
        if depth == 0 && self.one_in(3) {
            tail.push_str(&format!(
                " ORDER BY {}{}",
                1 + self.roll(targets.len()),
                self.word(&["", " DESC", " NULLS FIRST"])
            ));
        }
        if self.one_in(5) {
            tail.push_str(&format!(" LIMIT {}", self.roll(9)));
        }
        let distinct = if depth == 0 && self.one_in(9) { "DISTINCT " } else { "" };
        let select = format!("{with}SELECT {distinct}{} FROM {from}{filter}{tail}", targets.join(", "));
        if depth == 0 && with.is_empty() && self.one_in(14) {
            return format!("({select}) {} ({select})", self.word(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT ALL"]));
        }
        select
    }
}
