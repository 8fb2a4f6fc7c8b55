//! Functions: those of the template language (`@…`), those with a meaning of their own here, and plain ones of `pg_catalog`.
//!
//! In: a call. Out: compiled SQL. Must never: call a function that is volatile, reads tables or answers by session settings.

use super::compile::{Compiler, at};
use super::dialect::name_of;
use super::{Fault, Node};
use crate::catalog::{Function as CatalogFunction, FunctionClass};
use crate::governance::model::tag_matches;
use crate::policy::nearest::did_you_mean;
use crate::policy::sqltype::{is_int, is_number, is_text, oids::*};
use crate::policy::template::{CallerSet, Sql};
use crate::types::{Oid, quote_ident, quote_literal};
use sqlparser::ast::{
    CeilFloorKind, DataType, DateTimeField, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Interval, ObjectNamePart, TimezoneInfo, TrimWhereField,
};
use sqlparser::tokenizer::Location;

/// Fields of EXTRACT that dates have.
const DATE_FIELDS: [&str; 10] = ["year", "month", "day", "quarter", "week", "dow", "doy", "isodow", "isoyear", "epoch"];
/// Fields of EXTRACT that need a time of day.
const CLOCK_FIELDS: [&str; 3] = ["hour", "minute", "second"];
/// Units of `date_trunc`.
const UNITS: [&str; 9] =
    ["microseconds", "milliseconds", "second", "minute", "hour", "day", "week", "month", "quarter"];

impl Compiler<'_> {
    /// `@username`, `@iam`: variables without parentheses.
    pub(super) fn variable(&mut self, name: &str, here: Location) -> Result<Node, Fault> {
        match name.to_ascii_lowercase().as_str() {
            "username" => Ok(Node { sql: Sql::username(), ..Node::constant("", TEXT) }),
            "iam" => Ok(Node { sql: Sql::iam(), ..Node::constant("", TEXT) }),
            "groups" | "purposes" | "attributes" => {
                Err(Fault::new(here, format!("@{name} is a function"), format!("write @{name}()")))
            }
            _ => Err(unknown_template(name, here)),
        }
    }

    pub(super) fn function(&mut self, call: &Function, here: Location) -> Result<Node, Fault> {
        let Function {
            name,
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args,
            within_group,
            filter: None,
            null_treatment: None,
            over: None,
        } = call
        else {
            return Err(Fault::new(here, "this form of call is not part of the policy language", ""));
        };
        if !within_group.is_empty() {
            return Err(Fault::new(here, "this form of call is not part of the policy language", ""));
        }
        let mut parts = Vec::new();
        for part in &name.0 {
            match part {
                ObjectNamePart::Identifier(ident) => parts.push(ident),
                ObjectNamePart::Function(_) => return Err(Fault::new(here, "a function is called by its name", "")),
            }
        }
        let ident = match parts.as_slice() {
            [name] => *name,
            [schema, name] if name_of(schema) == "pg_catalog" => *name,
            _ => return Err(Fault::new(here, "only functions of pg_catalog may be called", "")),
        };
        let (args, distinct) = match args {
            FunctionArguments::None => (None, false),
            FunctionArguments::Subquery(_) => {
                return Err(Fault::new(here, "this form of call is not part of the policy language", ""));
            }
            FunctionArguments::List(list) => {
                if !list.clauses.is_empty() {
                    return Err(Fault::new(here, "this form of call is not part of the policy language", ""));
                }
                let distinct = match list.duplicate_treatment {
                    None => false,
                    Some(sqlparser::ast::DuplicateTreatment::Distinct) => true,
                    Some(sqlparser::ast::DuplicateTreatment::All) => {
                        return Err(Fault::new(here, "ALL is not needed in a call", "leave it out"));
                    }
                };
                (Some(list.args.as_slice()), distinct)
            }
        };
        if ident.quote_style.is_none()
            && let Some(template) = ident.value.strip_prefix('@')
        {
            let args = expressions(args.unwrap_or_default(), here)?;
            return self.template(template, &args, here);
        }
        let name = name_of(ident);
        if self.aggregates && AGGREGATES.contains(&name.as_str()) {
            return self.aggregate(&name, args.unwrap_or_default(), distinct, here);
        }
        if distinct {
            return Err(Fault::new(here, "DISTINCT needs an aggregate in a sub-select", ""));
        }
        let args = expressions(args.unwrap_or_default(), here)?;
        self.plain_call(&name, &args, here)
    }

    /// The functions of the template language.
    fn template(&mut self, name: &str, args: &[&Expr], here: Location) -> Result<Node, Fault> {
        let lower = name.to_ascii_lowercase();
        let texts = || -> Result<Vec<String>, Fault> { args.iter().map(|e| text_argument(e)).collect() };
        match lower.as_str() {
            "columntagged" => match texts()?.as_slice() {
                [tag] => self.column_tagged(tag, here),
                _ => Err(arity(name, "one tag", here)),
            },
            "groups" | "purposes" if args.is_empty() => {
                let set = if lower == "groups" { CallerSet::Groups { iam: None } } else { CallerSet::Purposes };
                Ok(caller_set(set))
            }
            "groups" | "purposes" => Err(arity(name, "no argument", here)),
            "attributes" => match texts()?.as_slice() {
                [attribute] => Ok(caller_set(CallerSet::Attribute { name: attribute.clone(), iam: None })),
                _ => Err(arity(name, "the name of one attribute", here)),
            },
            "isingroups" => {
                let groups = texts()?;
                if groups.is_empty() {
                    return Err(arity(name, "at least one group", here));
                }
                Ok(Node { sql: Sql::in_groups(groups), ..Node::constant("", BOOL) })
            }
            "hasattribute" => match texts()?.as_slice() {
                [attribute, value] => {
                    Ok(Node { sql: Sql::has_attribute(attribute.clone(), value.clone()), ..Node::constant("", BOOL) })
                }
                _ => Err(arity(name, "the name and the value of an attribute", here)),
            },
            "groupscontains" => match args {
                [value] => {
                    let value = self.expr(value)?;
                    self.contains(value, CallerSet::Groups { iam: None }, here)
                }
                _ => Err(arity(name, "one column", here)),
            },
            "attributevaluescontains" => match args {
                [attribute, value] => {
                    let set = CallerSet::Attribute { name: text_argument(attribute)?, iam: None };
                    let value = self.expr(value)?;
                    self.contains(value, set, here)
                }
                _ => Err(arity(name, "the name of an attribute and a column", here)),
            },
            "username" | "iam" if args.is_empty() => self.variable(name, here),
            _ => Err(unknown_template(name, here)),
        }
    }

    /// The one column of the data source that carries a tag or a descendant of it.
    fn column_tagged(&mut self, tag: &str, here: Location) -> Result<Node, Fault> {
        let carrying: Vec<&str> = self
            .source
            .columns
            .iter()
            .filter(|c| c.tags.iter().any(|t| tag_matches(tag, t)))
            .map(|c| c.name.as_str())
            .collect();
        match carrying.as_slice() {
            [column] => {
                let ident = sqlparser::ast::Ident::with_quote('"', column.replace('"', "\"\""));
                // The data source's own column, even inside a sub-select that has one of the same name.
                let inner = self.scopes.split_off(1);
                let node = self.expr(&Expr::Identifier(ident));
                self.scopes.extend(inner);
                node
            }
            [] => Err(Fault::new(
                here,
                format!("no column of \"{}\" carries the tag {tag}", self.source.logical),
                "tag a column, or add a `columnTags` circumstance to the policy",
            )),
            several => Err(Fault::new(
                here,
                format!(
                    "{} columns of \"{}\" carry the tag {tag}: {}",
                    several.len(),
                    self.source.logical,
                    several.join(", ")
                ),
                "use a tag that exactly one column carries",
            )),
        }
    }

    /// A call without `@`.
    pub(super) fn plain_call(&mut self, name: &str, args: &[&Expr], here: Location) -> Result<Node, Fault> {
        match (name, args) {
            ("now" | "transaction_timestamp" | "statement_timestamp" | "current_timestamp", []) => Ok(now()),
            ("current_date", []) => Ok(now().in_utc().recast("(", ")::pg_catalog.date", DATE)),
            ("localtimestamp", []) => Ok(now().in_utc()),
            ("current_user" | "session_user" | "user" | "current_role", []) => {
                Err(Fault::new(here, format!("{name} is the proxy's own login"), "use @username"))
            }
            ("coalesce" | "greatest" | "least", [_, ..]) => {
                let nodes: Result<Vec<Node>, Fault> = args.iter().map(|e| self.expr(e)).collect();
                let (nodes, ty) = self.unify(nodes?, here)?;
                let sql = Sql::wrap(
                    &format!("{}(", name.to_uppercase()),
                    Sql::join(nodes.iter().map(|n| n.sql.clone()), ", "),
                    ")",
                );
                let total = name == "coalesce" || is_text(ty) || is_number(ty);
                let operands: Vec<&Node> = nodes.iter().collect();
                Ok(Node::over(sql, ty, total, &operands))
            }
            ("nullif", [left, right]) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                let ty = left.ty;
                let test = self.compare(left.clone(), "=", right, here)?;
                let sql =
                    Sql::wrap("(CASE WHEN ", test.sql.clone(), " THEN NULL ELSE ").and(left.sql.clone()).then(" END)");
                Ok(Node::over(sql, ty, true, &[&test, &left]))
            }
            ("date_trunc", [unit, value]) => self.date_trunc(unit, value, here),
            ("date_part", [field, value]) => {
                let field = text_argument(field)?;
                self.extract_field(&field, value, here)
            }
            ("to_char", [value, format]) => self.formatted(value, format, here),
            ("concat", [_, ..]) => {
                let mut texts = Vec::new();
                for arg in args {
                    let node = self.expr(arg)?;
                    texts.push(self.as_text(node, at(arg))?);
                }
                let sql = Sql::wrap("pg_catalog.concat(", Sql::join(texts.iter().map(|n| n.sql.clone()), ", "), ")");
                let operands: Vec<&Node> = texts.iter().collect();
                Ok(Node::over(sql, TEXT, false, &operands))
            }
            _ => self.catalog_call(name, args, here),
        }
    }

    /// A function of `pg_catalog`: by exact argument types where it is overloaded, immutable, and of the allowed class.
    fn catalog_call(&mut self, name: &str, args: &[&Expr], here: Location) -> Result<Node, Fault> {
        let mut nodes = Vec::new();
        for arg in args {
            let node = self.expr(arg)?;
            let array = node.set.is_some();
            nodes.push(if array { Node { set: None, ..node } } else { node });
        }
        let Some(overloads) = self.catalog.functions.get(name) else {
            let hint = did_you_mean(name, self.catalog.functions.keys().map(String::as_str));
            return Err(Fault::new(here, format!("there is no function {name}"), hint));
        };
        let allowed = self.catalog.function_class(name) == FunctionClass::Allowed;
        let types: Vec<Oid> = nodes.iter().map(|n| n.ty).collect();
        let exact = overloads.iter().find(|f| accepts(f, &types, |want, have| normal(want) == normal(have)));
        let candidates: Vec<&CatalogFunction> = match exact {
            Some(one) => vec![one],
            None => overloads.iter().filter(|f| accepts(f, &types, loosely)).collect(),
        };
        if candidates.is_empty() {
            let shown: Vec<String> = types.iter().map(|t| self.type_name(*t)).collect();
            return Err(Fault::new(
                here,
                format!("there is no function {name}({})", shown.join(", ")),
                "cast the arguments",
            ));
        }
        let callable = |f: &&CatalogFunction| f.kind == 'f' && f.volatility == 'i' && !f.returns_set;
        if !allowed || !candidates.iter().all(callable) {
            return Err(Fault::new(
                here,
                format!("function {name} may not be used in a policy"),
                "only functions that compute from their arguments alone",
            ));
        }
        let result = match candidates.as_slice() {
            [first, rest @ ..] if rest.iter().all(|f| f.result == first.result) => first.result,
            _ => NONE,
        };
        // Polymorphic and other pseudo-types tell nothing about the actual result.
        let result = if self.catalog.types.get(&result).is_some_and(|t| t.kind != 'p') { result } else { NONE };
        let total = match candidates.as_slice() {
            [one] => self.catalog.function_is_total(name, &one.args),
            _ => false,
        };
        let sql = Sql::wrap(
            &format!("pg_catalog.{}(", quote_ident(name)),
            Sql::join(nodes.iter().map(|n| n.sql.clone()), ", "),
            ")",
        );
        let operands: Vec<&Node> = nodes.iter().collect();
        Ok(Node::over(sql, result, total, &operands))
    }

    fn aggregate(&mut self, name: &str, args: &[FunctionArg], distinct: bool, here: Location) -> Result<Node, Fault> {
        if let ("count", [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)], false) = (name, args, distinct) {
            let node = Node::constant("pg_catalog.count(*)", INT8);
            return Ok(Node { rowless: false, ..node });
        }
        let [arg] = expressions(args, here)?[..] else { return Err(arity(name, "one argument", here)) };
        self.aggregates = false;
        let node = self.expr(arg);
        self.aggregates = true;
        let node = node?;
        if node.set.is_some() || node.ty == UNKNOWN {
            return Err(Fault::new(here, format!("{name} needs a column"), ""));
        }
        let ty = match (name, node.ty) {
            ("count", _) => INT8,
            ("bool_and" | "bool_or" | "every", _) => BOOL,
            ("min" | "max", ty) => ty,
            ("sum", INT2 | INT4) => INT8,
            ("sum", ty) if is_number(ty) => {
                if ty == INT8 {
                    NUMERIC
                } else {
                    ty
                }
            }
            ("avg", ty) if is_int(ty) || ty == NUMERIC => NUMERIC,
            ("avg", FLOAT4 | FLOAT8) => FLOAT8,
            _ => return Err(Fault::new(here, format!("{name} needs a number"), "")),
        };
        let total = ["count", "min", "max", "bool_and", "bool_or", "every"].contains(&name);
        let word = if distinct { "DISTINCT " } else { "" };
        let sql = Sql::wrap(&format!("pg_catalog.{name}({word}"), node.sql.clone(), ")");
        Ok(Node { rowless: false, ..Node::over(sql, ty, total, &[&node]) })
    }

    fn date_trunc(&mut self, unit: &Expr, value: &Expr, here: Location) -> Result<Node, Fault> {
        let unit = text_argument(unit)?.to_ascii_lowercase();
        if !UNITS.contains(&unit.as_str()) && unit != "year" {
            return Err(Fault::new(here, format!("date_trunc has no unit '{unit}'"), UNITS.join(", ")));
        }
        let value = self.expr(value)?;
        let unit = quote_literal(&unit);
        let open = format!("pg_catalog.date_trunc({unit}, (");
        let node = match value.ty {
            TIMESTAMPTZ => value.recast(&open, "), 'UTC')", TIMESTAMPTZ),
            TIMESTAMP => value.recast(&open, "))", TIMESTAMP),
            DATE => value.recast(&open, ")::pg_catalog.timestamp)", TIMESTAMP),
            _ => return Err(Fault::new(here, "date_trunc needs a date or timestamp", "cast the value")),
        };
        // The beginning of a month or year may lie before the first timestamp.
        Ok(Node { total: false, ..node })
    }

    fn formatted(&mut self, value: &Expr, format: &Expr, here: Location) -> Result<Node, Fault> {
        let format = quote_literal(&text_argument(format)?);
        let value = self.expr(value)?;
        let value = match value.ty {
            TIMESTAMPTZ => value.in_utc(),
            DATE => value.recast("(", ")::pg_catalog.timestamp", TIMESTAMP),
            TIMESTAMP => value,
            ty if is_int(ty) || ty == NUMERIC => value,
            _ => return Err(Fault::new(here, "to_char needs a date, timestamp or exact number", "")),
        };
        let node = value.recast("pg_catalog.to_char(", &format!(", {format})"), TEXT);
        Ok(Node { total: false, ..node })
    }

    pub(super) fn extract(&mut self, field: &DateTimeField, value: &Expr, here: Location) -> Result<Node, Fault> {
        let field = match field {
            DateTimeField::Year => "year",
            DateTimeField::Month => "month",
            DateTimeField::Day => "day",
            DateTimeField::Quarter => "quarter",
            DateTimeField::Week(None) => "week",
            DateTimeField::Dow => "dow",
            DateTimeField::Doy => "doy",
            DateTimeField::Isodow => "isodow",
            DateTimeField::Isoyear => "isoyear",
            DateTimeField::Epoch => "epoch",
            DateTimeField::Hour => "hour",
            DateTimeField::Minute => "minute",
            DateTimeField::Second => "second",
            _ => return Err(Fault::new(here, "this field of EXTRACT is not part of the policy language", "")),
        };
        self.extract_field(field, value, here)
    }

    fn extract_field(&mut self, field: &str, value: &Expr, here: Location) -> Result<Node, Fault> {
        let field = field.to_ascii_lowercase();
        let value = self.expr(value)?;
        let (date, clock) = (DATE_FIELDS.contains(&field.as_str()), CLOCK_FIELDS.contains(&field.as_str()));
        let value = match value.ty {
            // The same number under every TimeZone.
            TIMESTAMPTZ if field == "epoch" => value,
            TIMESTAMPTZ if date || clock => value.in_utc(),
            TIMESTAMP if date || clock => value,
            DATE if date => value,
            TIME if clock || field == "epoch" => value,
            _ => {
                return Err(Fault::new(
                    here,
                    format!("{} has no field {field}", self.type_name(value.ty)),
                    format!("fields are {} and {}", DATE_FIELDS.join(", "), CLOCK_FIELDS.join(", ")),
                ));
            }
        };
        Ok(value.recast(&format!("pg_catalog.date_part('{field}', "), ")", FLOAT8))
    }

    pub(super) fn at_time_zone(&mut self, value: &Expr, zone: &Expr, here: Location) -> Result<Node, Fault> {
        let zone = text_argument(zone)?;
        let value = self.expr(value)?;
        let open = format!("pg_catalog.timezone({}, ", quote_literal(&zone));
        let total = zone == "UTC" && value.ty == TIMESTAMPTZ;
        let node = match value.ty {
            TIMESTAMPTZ => value.recast(&open, ")", TIMESTAMP),
            TIMESTAMP => value.recast(&open, ")", TIMESTAMPTZ),
            DATE => value.recast(&format!("{open}("), ")::pg_catalog.timestamp)", TIMESTAMPTZ),
            _ => return Err(Fault::new(here, "AT TIME ZONE needs a timestamp", "cast the value")),
        };
        Ok(Node { total: node.total && total, ..node })
    }

    pub(super) fn interval(&mut self, interval: &Interval, here: Location) -> Result<Node, Fault> {
        let Interval {
            value,
            leading_field,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        } = interval
        else {
            return Err(Fault::new(here, "this form of INTERVAL is not part of the policy language", ""));
        };
        let text = text_argument(value)?;
        let text = match leading_field {
            None => text,
            Some(field) => format!("{text} {}", field.to_string().to_lowercase()),
        };
        let node = Node { literal: Some(text.clone()), ..Node::constant(quote_literal(&text), UNKNOWN) };
        self.literal_as(node, INTERVAL, here)
    }

    pub(super) fn rounded(
        &mut self,
        name: &str,
        value: &Expr,
        field: &CeilFloorKind,
        here: Location,
    ) -> Result<Node, Fault> {
        if !matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)) {
            return Err(Fault::new(here, format!("{name} takes one number"), ""));
        }
        self.catalog_call(name, &[value], here)
    }

    pub(super) fn position(&mut self, what: &Expr, within: &Expr, here: Location) -> Result<Node, Fault> {
        self.catalog_call("strpos", &[within, what], here)
    }

    pub(super) fn substring(
        &mut self,
        value: &Expr,
        from: Option<&Expr>,
        length: Option<&Expr>,
        here: Location,
    ) -> Result<Node, Fault> {
        let one = Expr::value(sqlparser::ast::Value::Number("1".into(), false));
        let from = from.unwrap_or(&one);
        for number in [Some(from), length].into_iter().flatten() {
            let ty = self.expr(number)?.ty;
            if !is_int(ty) {
                return Err(Fault::new(at(number), "SUBSTRING counts by integers", ""));
            }
        }
        let args: Vec<&Expr> = [Some(value), Some(from), length].into_iter().flatten().collect();
        self.catalog_call("substr", &args, here)
    }

    pub(super) fn trim(
        &mut self,
        side: Option<&TrimWhereField>,
        what: Option<&Expr>,
        value: &Expr,
        here: Location,
    ) -> Result<Node, Fault> {
        let name = match side {
            None | Some(TrimWhereField::Both) => "btrim",
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
        };
        let args: Vec<&Expr> = [Some(value), what].into_iter().flatten().collect();
        self.catalog_call(name, &args, here)
    }

    /// The type a CAST names: OID and typmod.
    pub(super) fn data_type(&self, data_type: &DataType, here: Location) -> Result<(Oid, i32), Fault> {
        let numeric = |info: &ExactNumberInfo| match info {
            ExactNumberInfo::None => Ok((NUMERIC, -1)),
            ExactNumberInfo::Precision(p) => numeric_typmod(*p, 0, here),
            ExactNumberInfo::PrecisionAndScale(p, s) => numeric_typmod(*p, *s, here),
        };
        Ok(match data_type {
            DataType::Text | DataType::String(None) => (TEXT, -1),
            DataType::Varchar(None) | DataType::CharacterVarying(None) | DataType::CharVarying(None) => (VARCHAR, -1),
            DataType::SmallInt(None) | DataType::Int2(None) => (INT2, -1),
            DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => (INT4, -1),
            DataType::BigInt(None) | DataType::Int8(None) => (INT8, -1),
            DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
            DataType::Real | DataType::Float4 => (FLOAT4, -1),
            DataType::DoublePrecision
            | DataType::Float8
            | DataType::Double(ExactNumberInfo::None)
            | DataType::Float(ExactNumberInfo::None) => (FLOAT8, -1),
            DataType::Bool | DataType::Boolean => (BOOL, -1),
            DataType::Date => (DATE, -1),
            DataType::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => (TIME, -1),
            DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => (TIMESTAMP, -1),
            DataType::Timestamp(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => (TIMESTAMPTZ, -1),
            DataType::Interval { fields: None, precision: None } => (INTERVAL, -1),
            DataType::Uuid => (UUID, -1),
            DataType::Bytea => (BYTEA, -1),
            _ => {
                return Err(Fault::new(
                    here,
                    format!("a cast to {data_type} is not part of the policy language"),
                    "types are text, varchar, smallint, integer, bigint, numeric(p,s), real, double precision, boolean, \
                     date, time, timestamp, timestamptz, interval, uuid",
                ));
            }
        })
    }
}

/// Aggregates a sub-select may use.
const AGGREGATES: [&str; 8] = ["count", "sum", "min", "max", "avg", "bool_and", "bool_or", "every"];

fn now() -> Node {
    Node::constant("pg_catalog.now()", TIMESTAMPTZ)
}

fn caller_set(set: CallerSet) -> Node {
    Node { sql: Sql::array(set.clone()), set: Some(set), ..Node::constant("", TEXT_ARRAY) }
}

fn numeric_typmod(precision: u64, scale: i64, here: Location) -> Result<(Oid, i32), Fault> {
    let fits = (1..=1000).contains(&precision) && (0..=1000).contains(&scale);
    match (i32::try_from(precision), i32::try_from(scale)) {
        (Ok(p), Ok(s)) if fits => Ok((NUMERIC, ((p << 16) | s) + 4)),
        _ => Err(Fault::new(here, "precision and scale of numeric are 1 to 1000", "")),
    }
}

fn normal(ty: Oid) -> Oid {
    if ty == VARCHAR { TEXT } else { ty }
}

/// Whether a function takes arguments of these types.
fn accepts(function: &CatalogFunction, types: &[Oid], matches: impl Fn(Oid, Oid) -> bool) -> bool {
    let least = function.args.len().saturating_sub(function.defaults);
    let count = (least..=function.args.len()).contains(&types.len()) && function.variadic == NONE;
    count && function.args.iter().zip(types).all(|(want, have)| *have == UNKNOWN || matches(*want, *have))
}

/// Conversions PostgreSQL makes by itself that depend on no setting.
fn loosely(want: Oid, have: Oid) -> bool {
    want == have
        || have == NONE
        || (is_text(have) && want == TEXT)
        || (is_int(have) && is_number(want))
        || (have == NUMERIC && want == FLOAT8)
        || (have == FLOAT4 && want == FLOAT8)
        || POLYMORPHIC.contains(&want)
}

/// anyelement, anyarray, anynonarray, anyenum, anycompatible, anycompatiblearray, anycompatiblenonarray.
const POLYMORPHIC: [Oid; 7] = [Oid(2283), Oid(2277), Oid(2776), Oid(3500), Oid(5077), Oid(5078), Oid(5079)];

fn expressions(args: &[FunctionArg], here: Location) -> Result<Vec<&Expr>, Fault> {
    args.iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
            _ => Err(Fault::new(here, "arguments are plain expressions", "")),
        })
        .collect()
}

/// An argument that must be a string literal.
pub(super) fn text_argument(expr: &Expr) -> Result<String, Fault> {
    match expr {
        Expr::Value(value) => match &value.value {
            sqlparser::ast::Value::SingleQuotedString(raw) => Ok(raw.replace("''", "'")),
            _ => Err(Fault::new(at(expr), "a text in single quotes is needed here", "write it as 'text'")),
        },
        _ => Err(Fault::new(at(expr), "a text in single quotes is needed here", "write it as 'text'")),
    }
}

pub(super) fn arity(name: &str, wanted: &str, here: Location) -> Fault {
    Fault::new(here, format!("@{name} takes {wanted}"), "correct its arguments")
}

pub(super) fn unknown_template(name: &str, here: Location) -> Fault {
    const KNOWN: [&str; 10] = [
        "@columnTagged",
        "@groups",
        "@isInGroups",
        "@hasAttribute",
        "@username",
        "@iam",
        "@attributes",
        "@groupsContains",
        "@attributeValuesContains",
        "@purposes",
    ];
    let hint = did_you_mean(&format!("@{name}"), KNOWN.into_iter());
    let help = if hint.is_empty() { format!("there are {}", KNOWN.join(", ")) } else { hint };
    Fault::new(here, format!("there is no template function @{name}"), help)
}
