//! Generated queries: a seeded grammar over the schema of [`super::schema`].
//!
//! Every query has one answer: rows in any order (a multiset), or ordered by every output column where LIMIT or DISTINCT ON makes the
//! order matter. Expressions do not raise, save where [`Style::raising`] asks for divisions.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The types that expressions are generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    Int,
    Text,
    Varchar,
    Numeric,
    Date,
    Bool,
}

use Ty::{Bool, Date, Int, Numeric, Text, Varchar};

const ALL: [Ty; 6] = [Int, Text, Varchar, Numeric, Date, Bool];

/// The base tables: name, columns, primary key columns.
type Table = (&'static str, &'static [(&'static str, Ty)], &'static [&'static str]);

pub const TABLES: &[Table] = &[
    ("dept", &[("id", Int), ("name", Text), ("city", Varchar), ("budget", Numeric)], &["id"]),
    (
        "emp",
        &[
            ("id", Int),
            ("name", Text),
            ("ssn", Varchar),
            ("salary", Numeric),
            ("dept_id", Int),
            ("hired", Date),
            ("active", Bool),
            ("grade", Int),
            ("note", Text),
        ],
        &["id"],
    ),
    ("pay", &[("emp_id", Int), ("month", Date), ("amount", Numeric), ("kind", Text)], &["emp_id", "month"]),
    ("project", &[("id", Int), ("title", Text), ("dept_id", Int), ("started", Date), ("code", Varchar)], &["id"]),
    ("assign", &[("emp_id", Int), ("project_id", Int), ("hours", Int)], &["emp_id", "project_id"]),
];

/// What differs between the uses of the grammar.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// `GROUP BY` a primary key with other columns selected: views have no key.
    pub by_key: bool,
    /// Divisions and casts that may raise.
    pub raising: bool,
}

/// A generated statement.
#[derive(Debug)]
pub struct Query {
    pub sql: String,
    /// The order of the rows is fixed.
    pub ordered: bool,
}

#[derive(Debug, Clone)]
struct Item {
    alias: String,
    columns: Vec<(String, Ty)>,
    /// The base table it is, for `GROUP BY` its key.
    table: Option<&'static Table>,
}

type Scope = Vec<Item>;

pub struct Grammar {
    rng: StdRng,
    style: Style,
    aliases: usize,
    ctes: Vec<Item>,
}

/// A select list's expressions, and the clauses behind FROM.
struct Body {
    sql: String,
    width: usize,
}

/// The query of a seed.
pub fn query(seed: u64, style: Style) -> Query {
    Grammar { rng: StdRng::seed_from_u64(seed), style, aliases: 0, ctes: Vec::new() }.statement()
}

impl Grammar {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn alias(&mut self, stem: &str) -> String {
        self.aliases += 1;
        format!("{stem}{}", self.aliases)
    }

    fn statement(&mut self) -> Query {
        let with = if self.chance(25) { self.with() } else { String::new() };
        let body = if self.chance(15) { self.set_operation(2, &[]) } else { self.select(2, None, &[]) };
        let mut sql = format!("{with}{}", body.sql);
        let limit = self.chance(30);
        let ordered = limit || self.chance(20);
        if ordered {
            let all: Vec<String> = (1..=body.width)
                .map(|n| {
                    let how = *self.one(&["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
                    format!("{n}{how}")
                })
                .collect();
            sql.push_str(&format!(" ORDER BY {}", all.join(", ")));
        }
        if limit {
            let n = self.below(8);
            match self.below(3) {
                0 => sql.push_str(&format!(" LIMIT {n}")),
                1 => sql.push_str(&format!(" LIMIT {n} OFFSET {}", n % 3)),
                _ => sql.push_str(&format!(" OFFSET {} ROWS FETCH FIRST {n} ROWS ONLY", n % 4)),
            }
        }
        Query { sql, ordered }
    }

    fn with(&mut self) -> String {
        if self.chance(20) {
            let name = self.alias("r");
            let bound = 3 + self.below(5);
            let text = if self.chance(50) {
                format!("WITH RECURSIVE {name}(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM {name} WHERE n < {bound}) ")
            } else {
                format!(
                    "WITH RECURSIVE {name}(n) AS (SELECT min(e.id) FROM emp e UNION SELECT e.id FROM emp e JOIN {name} ON e.dept_id = {name}.n % 7) "
                )
            };
            self.ctes.push(Item { alias: name, columns: vec![("n".into(), Int)], table: None });
            return text;
        }
        let mut parts = Vec::new();
        for _ in 0..1 + self.below(2) {
            let name = self.alias("c");
            let types = self.types(3);
            let body = self.select(1, Some(&types), &[]);
            let columns: Vec<(String, Ty)> = types.iter().enumerate().map(|(n, ty)| (format!("x{n}"), *ty)).collect();
            let names: Vec<&str> = columns.iter().map(|(n, _)| n.as_str()).collect();
            let how = *self.one(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            parts.push(format!("{name}({}) AS {how}({})", names.join(", "), body.sql));
            self.ctes.push(Item { alias: name, columns, table: None });
        }
        format!("WITH {} ", parts.join(", "))
    }

    fn types(&mut self, most: usize) -> Vec<Ty> {
        (0..1 + self.below(most)).map(|_| *self.one(&ALL)).collect()
    }

    fn set_operation(&mut self, depth: usize, outer: &[Item]) -> Body {
        let types = self.types(3);
        let op = *self.one(&["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
        let left = self.select(depth - 1, Some(&types), outer);
        let right = self.select(depth - 1, Some(&types), outer);
        Body { sql: format!("({}) {op} ({})", left.sql, right.sql), width: types.len() }
    }

    /// One SELECT. `wanted`: the types of its columns, each of which then is of just that type.
    fn select(&mut self, depth: usize, wanted: Option<&[Ty]>, outer: &[Item]) -> Body {
        if depth < 2
            && outer.is_empty()
            && self.chance(4)
            && let Some(types) = wanted
        {
            let rows: Vec<String> = (0..1 + self.below(3))
                .map(|_| {
                    let row: Vec<String> = types.iter().map(|ty| self.literal(*ty)).collect();
                    format!("({})", row.join(", "))
                })
                .collect();
            return Body { sql: format!("VALUES {}", rows.join(", ")), width: types.len() };
        }
        let (from, own) = self.from(depth, outer);
        // Inner names hide outer ones; all are distinct anyway.
        let mut scope: Scope = own.clone();
        scope.extend(outer.iter().cloned());
        let condition = if self.chance(60) {
            let n = 1 + self.below(3);
            let all: Vec<String> = (0..n).map(|_| self.condition(&scope, depth)).collect();
            format!(" WHERE {}", all.join(" AND "))
        } else {
            String::new()
        };
        let tail = format!(" FROM {from}{condition}");
        match self.below(10) {
            0..=4 => self.plain(depth, wanted, &scope, &tail),
            5..=7 => self.grouped(depth, wanted, &own, &scope, &tail),
            8 => {
                let list: Vec<String> = match wanted {
                    Some(types) => types.iter().map(|ty| self.aggregate_of(*ty, &scope)).collect(),
                    None => (0..1 + self.below(4)).map(|_| self.aggregate(&scope)).collect(),
                };
                Body { sql: format!("SELECT {}{tail}", list.join(", ")), width: list.len() }
            }
            _ if self.style.by_key && wanted.is_none() => self.by_key(&own, &tail, depth),
            _ => self.plain(depth, wanted, &scope, &tail),
        }
    }

    fn plain(&mut self, depth: usize, wanted: Option<&[Ty]>, scope: &Scope, tail: &str) -> Body {
        let mut list: Vec<String> = match wanted {
            Some(types) => types.iter().map(|ty| self.expression(*ty, scope, depth)).collect(),
            None => (0..1 + self.below(4))
                .map(|_| {
                    let ty = *self.one(&ALL);
                    self.expression(ty, scope, depth)
                })
                .collect(),
        };
        if wanted.is_none() {
            if self.chance(20) {
                list.push(self.window(scope));
            }
            if self.chance(8) {
                let first = scope[0].alias.clone();
                let form = *self.one(&["row_to_json({})", "to_jsonb({})", "({}).*", "{}.*"]);
                if scope[0].columns.len() > 1 && !form.ends_with(".*") {
                    // Ordered and DISTINCT output needs types that compare.
                    list.push(format!("{}::text", form.replace("{}", &first)));
                } else if form.ends_with(".*") {
                    let width = list.len() + scope[0].columns.len();
                    list.push(form.replace("{}", &first));
                    return Body { sql: format!("SELECT {}{tail}", list.join(", ")), width };
                }
            }
        }
        let distinct = if self.chance(15) { "DISTINCT " } else { "" };
        let named: Vec<String> = list
            .iter()
            .map(|e| if self.chance(20) { format!("{e} AS \"out {}\"", self.below(100)) } else { e.clone() })
            .collect();
        if self.chance(6) && wanted.is_none() {
            let order: Vec<String> = (1..=list.len()).map(|n| n.to_string()).collect();
            let sql = format!(
                "SELECT * FROM (SELECT DISTINCT ON ({}) {}{tail} ORDER BY {}) AS o",
                list[0],
                named.join(", "),
                order.join(", ")
            );
            return Body { sql, width: list.len() };
        }
        Body { sql: format!("SELECT {distinct}{}{tail}", named.join(", ")), width: list.len() }
    }

    fn grouped(&mut self, depth: usize, wanted: Option<&[Ty]>, own: &Scope, scope: &Scope, tail: &str) -> Body {
        let keys: Vec<(String, Ty)> = (0..1 + self.below(2))
            .map(|_| {
                let item = self.one(own).clone();
                let (name, ty) = self.one(&item.columns).clone();
                (format!("{}.{name}", item.alias), ty)
            })
            .collect();
        let list: Vec<String> = match wanted {
            Some(types) => types
                .iter()
                .map(|ty| match keys.iter().find(|(_, k)| k == ty) {
                    Some((key, _)) if self.chance(60) => key.clone(),
                    _ => self.aggregate_of(*ty, scope),
                })
                .collect(),
            None => {
                let mut list: Vec<String> = keys.iter().map(|(k, _)| k.clone()).collect();
                for _ in 0..1 + self.below(3) {
                    list.push(self.aggregate(scope));
                }
                list
            }
        };
        let names: Vec<&str> = keys.iter().map(|(k, _)| k.as_str()).collect();
        let by = match self.below(8) {
            0 => format!("ROLLUP ({})", names.join(", ")),
            1 => format!("CUBE ({})", names.join(", ")),
            2 => format!("GROUPING SETS (({}), ())", names.join(", ")),
            _ => names.join(", "),
        };
        let having = if self.chance(30) {
            let op = *self.one(&[">", ">=", "<", "<>"]);
            let n = 1 + self.below(4);
            match self.below(3) {
                0 => format!(" HAVING count(*) {op} {n}"),
                1 => {
                    let what = self.column(Int, scope).unwrap_or_else(|| "1".into());
                    format!(" HAVING sum({what}) {op} {}", n * 10)
                }
                _ => {
                    let (sub, _) = self.scalar(Int, depth.saturating_sub(1), &Vec::new());
                    format!(" HAVING count(*) {op} {sub}")
                }
            }
        } else {
            String::new()
        };
        Body { sql: format!("SELECT {}{tail} GROUP BY {by}{having}", list.join(", ")), width: list.len() }
    }

    /// `GROUP BY` the primary key of a base table, other columns of it selected.
    fn by_key(&mut self, own: &Scope, tail: &str, depth: usize) -> Body {
        let keyed: Vec<Item> = own.iter().filter(|i| i.table.is_some()).cloned().collect();
        let Some(item) = keyed.first() else { return self.plain(depth, None, own, tail) };
        let key: Vec<String> =
            item.table.map_or(&[][..], |t| t.2).iter().map(|k| format!("{}.{k}", item.alias)).collect();
        let only = vec![Item { table: None, ..item.clone() }];
        let mut list: Vec<String> = (0..1 + self.below(3))
            .map(|_| {
                let ty = *self.one(&ALL);
                self.expression(ty, &only, 0)
            })
            .collect();
        list.push("count(*)".into());
        Body { sql: format!("SELECT {}{tail} GROUP BY {}", list.join(", "), key.join(", ")), width: list.len() }
    }

    fn source(&mut self, depth: usize, lateral: &[Item]) -> (String, Item) {
        if !self.ctes.is_empty() && self.chance(35) {
            let ctes = self.ctes.clone();
            let cte = self.one(&ctes).clone();
            let alias = self.alias("w");
            return (format!("{} AS {alias}", cte.alias), Item { alias, ..cte });
        }
        if depth > 0 && self.chance(20) {
            let types = self.types(3);
            let outer = if self.chance(40) { lateral } else { &[] };
            let word = if outer.is_empty() { "" } else { "LATERAL " };
            let body = if self.chance(15) && outer.is_empty() {
                self.set_operation(depth, &[])
            } else {
                self.select(depth - 1, Some(&types), outer)
            };
            let width = body.width;
            let types = if width == types.len() { types } else { vec![Int; width] };
            let alias = self.alias("s");
            if body.sql.starts_with('(') {
                // A set operation chose its own types: count its rows only.
                let columns = vec![("n".to_owned(), Int)];
                return (
                    format!("(SELECT count(*)::int FROM ({}) AS u) AS {alias}(n)", body.sql),
                    Item { alias, columns, table: None },
                );
            }
            let columns: Vec<(String, Ty)> = types.iter().enumerate().map(|(n, ty)| (format!("y{n}"), *ty)).collect();
            let names: Vec<&str> = columns.iter().map(|(n, _)| n.as_str()).collect();
            return (
                format!("{word}({}) AS {alias}({})", body.sql, names.join(", ")),
                Item { alias, columns, table: None },
            );
        }
        let table = self.one(TABLES);
        let alias = self.alias(&table.0[..1]);
        let columns = table.1.iter().map(|(n, ty)| ((*n).to_owned(), *ty)).collect();
        let as_ = if self.chance(30) { "AS " } else { "" };
        (format!("{} {as_}{alias}", table.0), Item { alias, columns, table: Some(table) })
    }

    fn from(&mut self, depth: usize, _outer: &[Item]) -> (String, Scope) {
        let (mut sql, first) = self.source(depth, &[]);
        let mut scope = vec![first];
        let joins = match self.below(10) {
            0..=4 => 0,
            5..=8 => 1,
            _ => 2,
        };
        for _ in 0..joins {
            let (right, item) = self.source(depth, &scope.clone());
            let lateral = right.starts_with("LATERAL");
            let shared = scope.last().and_then(|l| {
                l.columns.iter().find(|(n, ty)| *ty != Bool && item.columns.iter().any(|(m, t)| m == n && t == ty))
            });
            let using = shared.map(|(n, _)| n.clone());
            let on = self.join_condition(&scope, &item);
            let kind = match self.below(8) {
                0..=2 => "JOIN",
                3..=5 => "LEFT JOIN",
                6 if !lateral => "RIGHT JOIN",
                7 if !lateral => "FULL JOIN",
                _ => "JOIN",
            };
            let (equal, extra) = on;
            match (equal, using) {
                (_, Some(column)) if joins == 1 && self.chance(20) => {
                    sql.push_str(&format!(" {kind} {right} USING ({column})"));
                }
                (Some(equal), _) => {
                    let both =
                        if kind == "FULL JOIN" || self.chance(60) { equal } else { format!("{equal} AND {extra}") };
                    sql.push_str(&format!(" {kind} {right} ON {both}"));
                }
                (None, _) => sql.push_str(&format!(" CROSS JOIN {right}")),
            }
            scope.push(item);
        }
        (sql, scope)
    }

    /// An equality between a column of each side, and a condition over both.
    fn join_condition(&mut self, left: &Scope, right: &Item) -> (Option<String>, String) {
        let mut pairs = Vec::new();
        for item in left {
            for (name, ty) in &item.columns {
                for (other, t) in &right.columns {
                    if t == ty && *ty != Bool {
                        pairs.push(format!("{}.{name} = {}.{other}", item.alias, right.alias));
                    }
                }
            }
        }
        let equal = if pairs.is_empty() { None } else { Some(self.one(&pairs).clone()) };
        let mut both = left.clone();
        both.push(right.clone());
        let extra = self.condition(&both, 0);
        (equal, extra)
    }

    fn columns(&self, ty: Ty, scope: &[Item]) -> Vec<String> {
        scope
            .iter()
            .flat_map(|i| i.columns.iter().filter(|(_, t)| *t == ty).map(|(n, _)| format!("{}.{n}", i.alias)))
            .collect()
    }

    fn column(&mut self, ty: Ty, scope: &[Item]) -> Option<String> {
        let all = self.columns(ty, scope);
        if all.is_empty() { None } else { Some(self.one(&all).clone()) }
    }

    fn literal(&mut self, ty: Ty) -> String {
        let n = self.below(12);
        match ty {
            Int => format!("{n}"),
            Text => {
                format!("'{}'::text", ["", "a", "Bonn", "Zoë", "note 3", "x'y".replace('\'', "''").as_str()][n % 6])
            }
            Varchar => format!("'{}'::varchar", ["Bonn", "Rome", "Oslo", "123-45"][n % 4]),
            Numeric => format!("{n}.{n}"),
            Date => format!("DATE '20{:02}-0{}-1{}'", 15 + n % 9, 1 + n % 9, n % 9),
            Bool => (*self.one(&["true", "false", "NULL::bool"])).to_owned(),
        }
    }

    /// A scalar sub-select of a type, in brackets; says whether it looks outside.
    fn scalar(&mut self, ty: Ty, depth: usize, scope: &Scope) -> (String, bool) {
        let table = self.one(TABLES);
        let alias = self.alias("q");
        let item = Item {
            alias: alias.clone(),
            columns: table.1.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect(),
            table: Some(table),
        };
        let what = self.aggregate_of(ty, std::slice::from_ref(&item));
        let correlated = !scope.is_empty() && self.chance(60);
        let condition = if correlated {
            match self.join_condition(scope, &item) {
                (Some(equal), _) => format!(" WHERE {equal}"),
                (None, extra) => format!(" WHERE {extra}"),
            }
        } else if self.chance(50) && depth > 0 {
            format!(" WHERE {}", self.condition(&vec![item], depth - 1))
        } else {
            String::new()
        };
        (format!("(SELECT {what} FROM {} {alias}{condition})", table.0), correlated)
    }

    fn expression(&mut self, ty: Ty, scope: &[Item], depth: usize) -> String {
        let scope: Scope = scope.to_vec();
        let roll = self.below(10);
        if (roll < 5 || depth == 0)
            && let Some(column) = self.column(ty, &scope)
        {
            return column;
        }
        if depth == 0 {
            return self.literal(ty);
        }
        let down = depth - 1;
        if roll == 9 {
            return match self.below(4) {
                0 => {
                    let (when, a, b) = (
                        self.condition(&scope, down),
                        self.expression(ty, &scope, down),
                        self.expression(ty, &scope, down),
                    );
                    format!("CASE WHEN {when} THEN {a} ELSE {b} END")
                }
                1 => self.scalar(ty, down, &scope).0,
                2 => {
                    let (a, b) = (self.expression(ty, &scope, down), self.expression(ty, &scope, down));
                    format!("coalesce({a}, {b})")
                }
                _ => {
                    let (a, b) = (self.expression(ty, &scope, down), self.expression(ty, &scope, down));
                    format!("nullif({a}, {b})")
                }
            };
        }
        let of = |g: &mut Self, ty: Ty| g.expression(ty, &scope, down);
        match ty {
            Int => match self.below(8) {
                0 => format!("({} + {})", of(self, Int), of(self, Int)),
                1 => format!("({} - 3)", of(self, Int)),
                2 => format!("length({})", of(self, Text)),
                3 => format!("extract(year FROM {})::int", of(self, Date)),
                4 => format!("abs({})", of(self, Int)),
                5 => format!("greatest({}, {})", of(self, Int), of(self, Int)),
                6 if self.style.raising => format!("({} / {})", of(self, Int), of(self, Int)),
                6 => format!("({} % 5)", of(self, Int)),
                _ => format!("{}::int", of(self, Bool)),
            },
            Text => match self.below(10) {
                0 => format!("upper({})", of(self, Text)),
                1 => format!("lower({})", of(self, Text)),
                2 => format!("({} || {})", of(self, Text), of(self, Text)),
                3 => format!("substr({}, 2, 3)", of(self, Text)),
                4 => format!("{}::text", of(self, Int)),
                5 => format!("{}::text", of(self, Varchar)),
                6 => format!("left({}, 2)", of(self, Text)),
                7 => format!("to_char({}, 'YYYY-MM')", of(self, Date)),
                8 => format!("md5({})", of(self, Text)),
                _ => format!("concat({}, '-', {})", of(self, Varchar), of(self, Int)),
            },
            Varchar => match self.below(3) {
                0 => format!("{}::varchar", of(self, Text)),
                1 => format!("{}::varchar(4)", of(self, Varchar)),
                _ => self.literal(Varchar),
            },
            Numeric => match self.below(5) {
                0 => format!("({} + {})", of(self, Numeric), of(self, Numeric)),
                1 => format!("round({}, 1)", of(self, Numeric)),
                2 => format!("({} * 1.5)", of(self, Numeric)),
                3 => format!("{}::numeric", of(self, Int)),
                _ => format!("least({}, {})", of(self, Numeric), of(self, Numeric)),
            },
            Date => match self.below(3) {
                0 => format!("({} + 7)", of(self, Date)),
                1 => format!("date_trunc('month', {}::timestamp)::date", of(self, Date)),
                _ => self.literal(Date),
            },
            Bool => format!("({})", self.condition(&scope, down)),
        }
    }

    fn condition(&mut self, scope: &Scope, depth: usize) -> String {
        let ty = *self.one(&[Int, Int, Text, Varchar, Numeric, Date]);
        let column = self.column(ty, scope).unwrap_or_else(|| self.literal(ty));
        let down = depth.saturating_sub(1);
        let op = *self.one(&["=", "<>", "<", "<=", ">", ">="]);
        let most = if depth == 0 { 8 } else { 17 };
        match self.below(most) {
            0 | 1 => format!("{column} {op} {}", self.literal(ty)),
            2 => format!("{column} IS NOT NULL"),
            3 => format!("{column} IS NULL"),
            4 => {
                let (a, b) = (self.literal(ty), self.literal(ty));
                format!("{column} BETWEEN {a} AND {b}")
            }
            5 => {
                let (a, b, c) = (self.literal(ty), self.literal(ty), self.literal(ty));
                let not = if self.chance(30) { "NOT " } else { "" };
                format!("{column} {not}IN ({a}, {b}, {c})")
            }
            6 => match self.column(Text, scope).or_else(|| self.column(Varchar, scope)) {
                Some(text) => {
                    let pattern = *self.one(&["%a%", "n%", "_o%", "%3", "%x''y%"]);
                    let like = *self.one(&["LIKE", "NOT LIKE", "ILIKE"]);
                    format!("{text} {like} '{pattern}'")
                }
                None => format!("{column} IS NOT NULL"),
            },
            7 => match self.column(Bool, scope) {
                Some(column) => column,
                None => format!("{column} IS DISTINCT FROM {}", self.literal(ty)),
            },
            8 => format!("({} OR {})", self.condition(scope, down), self.condition(scope, down)),
            9 => format!("NOT ({})", self.condition(scope, down)),
            10 | 11 => {
                let not = if self.chance(30) { "NOT " } else { "" };
                let outer = if self.chance(50) { scope.as_slice() } else { &[] };
                let body = self.select(down, Some(&[ty]), outer);
                format!("{column} {not}IN ({})", body.sql)
            }
            12 | 13 => {
                let not = if self.chance(30) { "NOT " } else { "" };
                let body = self.select(down, Some(&[ty]), scope);
                format!("{not}EXISTS ({})", body.sql)
            }
            14 => {
                let (a, b) = (self.expression(ty, scope, down), self.expression(ty, scope, down));
                format!("{a} {op} {b}")
            }
            15 => {
                let quantifier = *self.one(&["ANY", "ALL"]);
                let body = self.select(down, Some(&[ty]), &[]);
                format!("{column} {op} {quantifier} ({})", body.sql)
            }
            _ => format!("{column} {op} {}", self.scalar(ty, down, scope).0),
        }
    }

    /// An aggregate of any type.
    fn aggregate(&mut self, scope: &[Item]) -> String {
        let filter = if self.chance(15) {
            format!(" FILTER (WHERE {})", self.condition(&scope.to_vec(), 0))
        } else {
            String::new()
        };
        let ty = *self.one(&ALL);
        let column = self.column(ty, scope);
        match (self.below(7), column) {
            (0, Some(column)) => format!("count(DISTINCT {column}){filter}"),
            (1, Some(column)) => format!("count({column}){filter}"),
            (2, Some(column)) if matches!(ty, Int | Numeric) => format!("sum({column}){filter}"),
            (3, Some(column)) if matches!(ty, Int | Numeric) => format!("avg({column}){filter}"),
            (4, Some(column)) if ty == Text => format!("string_agg({column}, ',' ORDER BY {column}){filter}"),
            (4, Some(column)) => format!("array_agg({column} ORDER BY {column}){filter}"),
            (5 | 6, _) => {
                let ty = *self.one(&[Int, Text, Varchar, Numeric, Date, Bool]);
                self.aggregate_of(ty, scope)
            }
            _ => format!("count(*){filter}"),
        }
    }

    /// An aggregate of just this type.
    fn aggregate_of(&mut self, ty: Ty, scope: &[Item]) -> String {
        let column = self.column(ty, scope).unwrap_or_else(|| self.literal(ty));
        let extreme = *self.one(&["min", "max"]);
        match ty {
            Int if self.chance(50) => "count(*)::int".to_owned(),
            Varchar => format!("{extreme}({column})::varchar"),
            Bool => format!("bool_{}({column})", *self.one(&["and", "or"])),
            Numeric if self.chance(50) => format!("sum({column})"),
            Int | Text | Numeric | Date => format!("{extreme}({column})"),
        }
    }

    fn window(&mut self, scope: &Scope) -> String {
        let ty = *self.one(&[Int, Text, Date, Varchar, Numeric]);
        let column = self.column(ty, scope).unwrap_or_else(|| "1".into());
        let parted = *self.one(&[Int, Bool, Varchar]);
        let by = self.column(parted, scope);
        let by = by.map(|b| format!("PARTITION BY {b} ")).unwrap_or_default();
        match self.below(6) {
            0 => format!("rank() OVER ({by}ORDER BY {column})"),
            1 => format!("dense_rank() OVER ({by}ORDER BY {column} DESC)"),
            2 => format!("count(*) OVER ({by})"),
            3 => format!("min({column}) OVER ({by})"),
            4 => format!("count({column}) OVER ({by}ORDER BY {column})"),
            _ => {
                let number = self.column(Numeric, scope).unwrap_or_else(|| "1.5".into());
                format!("sum({number}) OVER ({by}ORDER BY {column} RANGE UNBOUNDED PRECEDING)")
            }
        }
    }
}
