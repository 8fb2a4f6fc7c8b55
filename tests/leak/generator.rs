//! Random SELECTs over what the caller sees, made of expressions that raise on hidden values and on no others.
//!
//! Everything is seeded: a statement that shows a difference can be made again.

use std::fmt;

/// xorshift64*: no more chance than is needed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % sides
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.roll(n) == 0
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.roll(of.len())]
    }
}

/// Tables and their columns, each with what it is like.
const TABLES: &[(&str, &[(&str, Kind)])] = &[
    (
        "emp",
        &[
            ("id", Kind::Int),
            ("boss", Kind::Int),
            ("name", Kind::Text),
            ("dept", Kind::Text),
            ("note", Kind::Digits),
            ("amount", Kind::Numeric),
            ("salary", Kind::Int),
            ("big", Kind::Big),
            ("ratio", Kind::Float),
            ("small", Kind::Float),
            ("hired", Kind::Date),
            ("seen", Kind::Instant),
            ("local", Kind::Instant),
            ("span", Kind::Span),
            ("doc", Kind::Json),
            ("arr", Kind::Array),
            ("code", Kind::Digits),
            ("kind", Kind::Digits),
            ("c1", Kind::Digits),
            ("c2", Kind::Digits),
            ("plus", Kind::Int),
            ("raw", Kind::Bytes),
            ("ssn", Kind::Digits),
            ("email", Kind::Digits),
            ("pin", Kind::Int),
            ("score", Kind::Numeric),
            ("born", Kind::Date),
            ("blob", Kind::Json),
            ("badge", Kind::Digits),
        ],
    ),
    (
        "peek",
        &[("id", Kind::Int), ("note", Kind::Digits), ("n", Kind::Int), ("nick", Kind::Text), ("c1", Kind::Digits)],
    ),
    (
        "orders",
        &[
            ("id", Kind::Int),
            ("emp_id", Kind::Int),
            ("item", Kind::Text),
            ("qty", Kind::Int),
            ("note", Kind::Digits),
            ("price", Kind::Numeric),
        ],
    ),
    ("pay", &[("id", Kind::Int), ("amount", Kind::Numeric), ("note", Kind::Digits), ("owner", Kind::Text)]),
    ("ev", &[("id", Kind::Int), ("at", Kind::Instant), ("note", Kind::Digits)]),
    ("part", &[("id", Kind::Int), ("note", Kind::Digits), ("dept", Kind::Text)]),
    (
        "log",
        &[("id", Kind::Int), ("msg", Kind::Text), ("secret", Kind::Digits), ("code", Kind::Int), ("kind", Kind::Text)],
    ),
    ("dept", &[("id", Kind::Int), ("name", Kind::Text), ("code", Kind::Text)]),
];

/// What a column's visible values are like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Small, not zero.
    Int,
    Big,
    Numeric,
    Float,
    /// Text that is a small number.
    Digits,
    Text,
    Date,
    Instant,
    Span,
    /// An object with `a`.
    Json,
    Array,
    Bytes,
}

impl Kind {
    /// Expressions that raise on some values, as text around `{}`: of a number, or of a truth value.
    fn leaky(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Kind::Int => (
                &[
                    "10/{}",
                    "{} + 2147482600",
                    "-{} * 100000",
                    "ascii(chr({}))",
                    "length(lpad('x', {}))",
                    "({}::int2)",
                    "mod(7, {})",
                    "factorial({} % 20)",
                    "10 % {}",
                ],
                &[
                    "100/{} >= 0",
                    "substring('abc', 1, {}) <> 'q'",
                    "split_part('a,b', ',', {}) <> 'q'",
                    "{}::int2 > 0",
                    "1.0/{} < 2",
                    "{} * 2000000 > 0",
                ],
            ),
            Kind::Big => {
                (&["{} * 1000", "{} + 1", "1000/{}", "{}::int"], &["{}::int > 0", "{} * 2 <> 7", "abs({}) > 0"])
            }
            Kind::Numeric => (
                &["{}::int", "10/{}", "width_bucket({}, 0, 1000, 4)", "ln({})", "({}::float8)::int", "sqrt({})"],
                &[
                    "1/{} < 5",
                    "{} ^ 3 > 0",
                    "{}::float8 > 0",
                    "{}::int8 > 3",
                    "round({} * 1e100, 2) > 1",
                    "{}::money > 0::money",
                ],
            ),
            Kind::Float => (
                &["{}::int", "({} * 1e300 / 1e300)::int", "floor(exp({}))::int", "{}::float4"],
                &["1/{} < 100", "{} * 1e200 > 0", "{}::int > -5", "{}::numeric > 0", "sqrt({}) >= 0"],
            ),
            Kind::Digits => (
                &[
                    "{}::int",
                    "{}::numeric",
                    "{}::float8",
                    "length({}::xml::text)",
                    "to_number({}, '99999')",
                    "1/length({})",
                    "({}::jsonb)::int",
                ],
                &[
                    "{}::int > 3",
                    "{}::numeric < 1e9",
                    "{}::float8 > 0",
                    "{} ~ {}",
                    "{} LIKE '_E%-\\'",
                    "1/length({}) >= 0",
                    "{}::jsonb IS NOT NULL",
                    "regexp_replace('a', {}, 'b') <> 'q'",
                    "{} SIMILAR TO {}",
                    "'x' LIKE {} || '\\'",
                ],
            ),
            Kind::Text => (
                &["1/length({})", "ascii({}) / (ascii({}) - 83)", "length({})"],
                &[
                    "{} LIKE 'SE_RE%\\'",
                    "{} || '' LIKE '_ECRET\\'",
                    "1/(ascii({}) - 83) <= 1",
                    "{} > 'a' COLLATE \"C\"",
                    "{} NOT LIKE '%_CRET\\'",
                ],
            ),
            Kind::Date => (
                &["({} - date '2020-01-01')", "extract(epoch from {}::timestamp)::int8", "extract(julian from {} + 1)"],
                &[
                    "{}::timestamp > '2000-01-01'",
                    "{} + 1 > date '2000-01-01'",
                    "{}::timestamptz IS NOT NULL",
                    "date_trunc('year', {}) > '1999-01-01'",
                ],
            ),
            Kind::Instant => (
                &[
                    "extract(epoch from {} + interval '1 day')::int8 % 1000",
                    "extract(day from {} - timestamp '2000-01-01')",
                ],
                &[
                    "{} + interval '900 years' > '2000-01-01'",
                    "({} AT TIME ZONE 'UTC') > '2000-01-01'",
                    "date_trunc('century', {}) > '1900-01-01'",
                    "age({}) IS NOT NULL",
                ],
            ),
            Kind::Span => (
                &["extract(epoch from {} * 10)::int8 % 1000"],
                &[
                    "{} * 100 > '0'",
                    "{} + {} > '0'",
                    "timestamp '2000-01-01' + {} > '1999-01-01'",
                    "justify_interval({}) > '0'",
                ],
            ),
            Kind::Json => (
                &[
                    "({}->'a')::int",
                    "({}->>'a')::int",
                    "jsonb_array_length({}->'l')",
                    "(SELECT count(*) FROM jsonb_each({}))",
                ],
                &[
                    "({}->'a')::int > 0",
                    "({} - 'b') <> '{}'::jsonb",
                    "jsonb_set({}, '{z}', '1') IS NOT NULL",
                    "({}->>'a')::int > 0",
                    "jsonb_path_exists({}, 'strict $.a')",
                    "jsonb_path_query_first({}, 'strict $.a') IS NOT NULL",
                ],
            ),
            Kind::Array => (
                &[
                    "10/({})[1]",
                    "array_position({}, 3)",
                    "cardinality(array_remove({}, 7))",
                    "array_length({} || ARRAY[1], 1)",
                ],
                &[
                    "10/({})[1] >= 0",
                    "array_position({}, 99) IS NULL",
                    "({} || ARRAY[1,2])[1] <> 0",
                    "cardinality(trim_array({}, 1)) >= 0",
                ],
            ),
            Kind::Bytes => (
                &["get_byte({}, 1)", "get_bit({}, 12)"],
                &["get_byte({}, 1) > 0", "get_byte({}, 1) / 300 = 0", "substring({} from 1 for length({}) - 1) <> ''"],
            ),
        }
    }

    /// Conditions that never raise.
    fn tame(self) -> &'static [&'static str] {
        match self {
            Kind::Int | Kind::Big => &[
                "{} > 2",
                "{} IN (1, 2, 3, 5, 1003)",
                "{} <> 7",
                "{} BETWEEN 2 AND 1010",
                "{} IS NOT NULL",
                "{} = ANY ('{1,2,3,1001}')",
                "NOT {} < 3",
            ],
            Kind::Numeric | Kind::Float => &["{} > 2", "{} IS NOT NULL", "{} < 1000", "{} IS DISTINCT FROM 5"],
            Kind::Digits | Kind::Text => &[
                "{} > '1'",
                "{} IS NOT NULL",
                "{} LIKE '%1%'",
                "length({}) < 90",
                "lower({}) <> 'x'",
                "{} IN ('11', '12', '7', 'blue', 'm1')",
                "{} <> 'SECRET-x'",
            ],
            Kind::Date | Kind::Instant => &["{} > '2020-01-05'", "{} IS NOT NULL", "{} < '2200-01-01'"],
            Kind::Span => &["{} > '1 hour'", "{} IS NOT NULL"],
            Kind::Json => &["{} IS NOT NULL", "{} @> '{\"a\": 3}'", "{} ? 'a'", "{}->>'a' <> '9'"],
            Kind::Array => &["{} IS NOT NULL", "{} @> '{3}'", "{} && '{2,4}'"],
            Kind::Bytes => &["{} IS NOT NULL", "{} > '\\x00'"],
        }
    }
}

/// A statement in parts, so that it can be made smaller.
#[derive(Clone, Default)]
pub struct Statement {
    with: Option<String>,
    distinct: bool,
    targets: Vec<String>,
    items: Vec<String>,
    conditions: Vec<String>,
    groups: Vec<String>,
    having: Vec<String>,
    ordered: bool,
    limit: bool,
    /// UNION and the like with another.
    other: Option<(&'static str, Box<Statement>)>,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(with) = &self.with {
            write!(f, "{with} ")?;
        }
        write!(f, "SELECT {}{}", if self.distinct { "DISTINCT " } else { "" }, self.targets.join(", "))?;
        for (at, item) in self.items.iter().enumerate() {
            let join = if at == 0 {
                " FROM "
            } else if item.contains(" JOIN ") {
                " "
            } else {
                ", "
            };
            write!(f, "{join}{item}")?;
        }
        for (word, list, between) in [
            (" WHERE ", &self.conditions, " AND "),
            (" GROUP BY ", &self.groups, ", "),
            (" HAVING ", &self.having, " AND "),
        ] {
            if !list.is_empty() {
                write!(f, "{word}{}", list.join(between))?;
            }
        }
        if let Some((word, other)) = &self.other {
            write!(f, " {word} {other}")?;
        }
        if self.ordered || self.limit {
            let columns: Vec<String> = (1..=self.targets.len()).map(|n| n.to_string()).collect();
            write!(f, " ORDER BY {}", columns.join(", "))?;
        }
        if self.limit {
            write!(f, " LIMIT 3")?;
        }
        Ok(())
    }
}

impl Statement {
    /// Statements with one part less.
    pub fn smaller(&self) -> Vec<Statement> {
        let mut out = Vec::new();
        let mut with = |change: &dyn Fn(&mut Statement)| {
            let mut less = self.clone();
            change(&mut less);
            out.push(less);
        };
        if self.other.is_some() {
            with(&|s| s.other = None);
        }
        if self.with.is_some() {
            with(&|s| s.with = None);
        }
        for at in 0..self.conditions.len() {
            with(&|s| drop(s.conditions.remove(at)));
        }
        for at in 1..self.items.len() {
            with(&|s| drop(s.items.remove(at)));
        }
        for at in 0..self.having.len() {
            with(&|s| drop(s.having.remove(at)));
        }
        for at in 0..self.targets.len() {
            if self.targets.len() > 1 && self.groups.is_empty() && self.other.is_none() {
                with(&|s| drop(s.targets.remove(at)));
            }
        }
        if self.limit || self.ordered {
            with(&|s| (s.limit, s.ordered) = (false, false));
        }
        if self.distinct {
            with(&|s| s.distinct = false);
        }
        out
    }
}

type Item = (String, &'static [(&'static str, Kind)]);

/// The generator.
pub struct Generator {
    dice: Dice,
    aliases: usize,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1), aliases: 0 }
    }

    /// The next statement.
    pub fn statement(&mut self) -> Statement {
        self.aliases = 0;
        let mut statement = self.select(&[], 0);
        if self.dice.one_in(12) && statement.groups.is_empty() && !statement.limit && !statement.ordered {
            let mut other = self.select(&[], 1);
            (other.limit, other.ordered, other.groups, other.having, other.distinct) =
                (false, false, vec![], vec![], false);
            let width = 2;
            for s in [&mut statement, &mut other] {
                let item = s.items[0].split(' ').next_back().unwrap_or("x").to_owned();
                s.targets = vec![format!("{item}.id"); width];
                s.items.truncate(1);
                s.conditions.retain(|c| !mentions_other(c, &item));
            }
            let word = *self.dice.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
            statement.other = Some((word, Box::new(other)));
        }
        statement
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    fn fill(&mut self, template: &str, item: &str, column: &str) -> String {
        template.replace("'{}'", "\u{1}").replace("{}", &format!("{item}.{column}")).replace('\u{1}', "'{}'")
    }

    fn column(&mut self, items: &[Item]) -> (String, &'static str, Kind) {
        let (item, columns) = self.dice.pick(items).clone();
        let (column, kind) = *self.dice.pick(columns);
        (item, column, kind)
    }

    fn number(&mut self, items: &[Item]) -> String {
        let (item, column, kind) = self.column(items);
        let template = *self.dice.pick(kind.leaky().0);
        self.fill(template, &item, column)
    }

    fn plain(&mut self, items: &[Item]) -> String {
        let (item, column, _) = self.column(items);
        format!("{item}.{column}")
    }

    /// A condition over the items in scope.
    fn condition(&mut self, items: &[Item], depth: usize) -> String {
        let (item, column, kind) = self.column(items);
        match self.dice.roll(if depth < 2 { 17 } else { 10 }) {
            0..=3 => {
                let template = *self.dice.pick(kind.tame());
                self.fill(template, &item, column)
            }
            4..=7 => {
                let template = *self.dice.pick(kind.leaky().1);
                self.fill(template, &item, column)
            }
            8 => {
                let (tame, leaky) = (*self.dice.pick(kind.tame()), *self.dice.pick(kind.leaky().1));
                let (a, b) = (self.fill(tame, &item, column), self.fill(leaky, &item, column));
                (*self.dice.pick(&[
                    "({a} OR {b})",
                    "({b} OR {a})",
                    "NOT ({a} AND NOT {b})",
                    "CASE WHEN {a} THEN {b} ELSE {b} END",
                ]))
                .replace("{a}", &a)
                .replace("{b}", &b)
            }
            9 => format!("{} > {}", self.number(items), self.number(items)),
            10 => format!("EXISTS ({})", self.select(items, depth + 1)),
            11 => format!("NOT EXISTS ({})", self.select(items, depth + 1)),
            12 => {
                let inner = self.one_column(items, depth + 1);
                format!("{item}.id {} ({inner})", self.dice.pick(&["IN", "NOT IN", "= ANY", "> ALL"]))
            }
            13 => {
                let number = self.number(items);
                let inner = self.one_column(items, depth + 1);
                format!("{number} IN ({inner})")
            }
            14 => {
                let inner = self.one_column(items, depth + 1).to_string();
                format!("(SELECT count(*) FROM ({inner}) s) >= 0")
            }
            15 => {
                let (other, number) = (self.plain(items), self.number(items));
                format!("coalesce({other} IS NULL, {number} > 0)")
            }
            _ => {
                let inner = self.one_column(items, depth + 1);
                format!("{item}.id + 1 > (SELECT max(x) FROM ({inner}) s(x))")
            }
        }
    }

    /// A SELECT of one number.
    fn one_column(&mut self, outer: &[Item], depth: usize) -> Statement {
        let mut select = self.select(outer, depth);
        let item = select.items[0].split(' ').next_back().unwrap_or("x").to_owned();
        select.targets = vec![format!("{item}.id")];
        select.groups.clear();
        select.having.clear();
        select
    }

    fn item(&mut self, depth: usize) -> (String, Item) {
        let alias = self.alias();
        let (table, columns) = *self.dice.pick(TABLES);
        let text = match self.dice.roll(if depth < 2 { 8 } else { 5 }) {
            0..=4 => format!("{table} {alias}"),
            5 => {
                let leaky = self.number(&[("x".to_owned(), columns)]);
                let condition = self.condition(&[("x".to_owned(), columns)], 2);
                format!("(SELECT x.*, {leaky} AS lk FROM {table} x WHERE {condition}) {alias}")
            }
            6 => format!("(SELECT * FROM {table} OFFSET 0) {alias}"),
            _ => format!("(SELECT y.* FROM (SELECT * FROM {table}) y LIMIT 1000) {alias}"),
        };
        (text, (alias, columns))
    }

    fn select(&mut self, outer: &[Item], depth: usize) -> Statement {
        let mut statement = Statement::default();
        let mut items: Vec<Item> = Vec::new();
        let count = if depth == 0 { 1 + self.dice.roll(3) } else { 1 };
        for at in 0..count {
            let (text, item) = self.item(depth);
            let text = if at == 0 {
                text
            } else {
                let left = items[self.dice.roll(items.len())].clone();
                let pair = [left.clone(), item.clone()];
                let mut on = format!("{}.id = {}.id", left.0, item.0);
                if self.dice.one_in(3) {
                    on = format!("{} AND {on}", self.condition(&pair, 2));
                } else if self.dice.one_in(6) {
                    on = format!("{on} AND {} = {}", self.number(&[left]), self.number(std::slice::from_ref(&item)));
                }
                match self.dice.roll(9) {
                    0..=2 => format!("JOIN {text} ON {on}").replacen("JOIN", "INNER JOIN", 1),
                    3..=4 => format!("LEFT JOIN {text} ON {on}"),
                    5 => format!("RIGHT JOIN {text} ON {on}"),
                    6 => format!("FULL JOIN {text} ON {}.id = {}.id", pair[0].0, pair[1].0),
                    _ => {
                        statement.conditions.push(on);
                        format!("CROSS JOIN {text}")
                    }
                }
            };
            statement.items.push(text);
            items.push(item);
        }
        if depth == 0 && self.dice.one_in(5) {
            let number = self.number(&items);
            let alias = self.alias();
            statement.items.push(match self.dice.roll(3) {
                0 => format!("CROSS JOIN LATERAL generate_series(1, least(({number})::int8, 3)) {alias}(id)"),
                1 => format!("CROSS JOIN LATERAL (SELECT ({number})::int8 AS id OFFSET 0) {alias}"),
                _ => format!("LEFT JOIN LATERAL (SELECT ({number})::int8 AS id) {alias} ON true"),
            });
        }
        let visible: Vec<Item> = items.iter().chain(outer).cloned().collect();
        for _ in 0..self.dice.roll(4) {
            let condition = self.condition(&visible, depth);
            statement.conditions.push(condition);
        }
        if !outer.is_empty() && self.dice.one_in(2) {
            let other = &outer[self.dice.roll(outer.len())].0;
            statement.conditions.push(format!("{}.id = {other}.id", items[0].0));
        }
        if depth == 0 && self.dice.one_in(3) {
            self.grouped(&mut statement, &items);
        } else {
            for _ in 0..=self.dice.roll(3) {
                let target = match self.dice.roll(7) {
                    0..=2 => self.plain(&items),
                    3..=4 => self.number(&items),
                    5 if depth == 0 => format!("({})", self.condition(&items, 1)),
                    _ => format!("{}.id", items[0].0),
                };
                statement.targets.push(target);
            }
            if depth == 0 && self.dice.one_in(8) {
                let (by, of) = (self.plain(&items), self.number(&items));
                statement.targets.push(format!("count({of}) OVER (PARTITION BY {by})"));
            }
            let comparable = statement.targets.iter().all(|t| !t.ends_with(".tags"));
            statement.distinct = comparable && self.dice.one_in(7);
            statement.ordered = depth == 0 && comparable && self.dice.one_in(5);
            statement.limit = depth == 0 && comparable && self.dice.one_in(6);
        }
        statement
    }

    fn grouped(&mut self, statement: &mut Statement, items: &[Item]) {
        let by = if self.dice.one_in(4) { self.number(items) } else { self.plain(items) };
        statement.targets = vec![by.clone(), "count(*)".to_owned()];
        for _ in 0..self.dice.roll(3) {
            let number = self.number(items);
            let condition = self.condition(items, 2);
            let target = match self.dice.roll(4) {
                0 => format!("sum({number})"),
                1 => format!("max({number}) FILTER (WHERE {condition})"),
                2 => format!("count(*) FILTER (WHERE {condition})"),
                _ => format!("bool_and({condition})"),
            };
            statement.targets.push(target);
        }
        statement.groups = vec![by.clone()];
        if self.dice.one_in(2) {
            let condition = self.condition(items, 2);
            statement.having.push(match self.dice.roll(3) {
                0 => format!("({by}) IS NOT NULL"),
                1 => "count(*) > 0".to_owned(),
                _ => format!("bool_or({condition})"),
            });
        }
    }
}

/// Whether a condition mentions an item other than one.
fn mentions_other(condition: &str, item: &str) -> bool {
    let rest = condition.replace(&format!("{item}."), "");
    (1..40).any(|n| rest.contains(&format!("t{n}.")))
}
