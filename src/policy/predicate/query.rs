//! Sub-selects of a predicate: other warehouse tables (entitlement tables), read by qualified name.
//!
//! In: a query. Out: compiled SQL with every table and column resolved. Must never: read a table of a system schema (some answer by
//! session settings) or one the catalog snapshot does not hold.

use super::compile::{Compiler, Table, at, negate};
use super::dialect::name_of;
use super::{Fault, Node};
use crate::policy::decision::ROW_ALIAS;
use crate::policy::nearest::did_you_mean;
use crate::policy::source::is_system_schema;
use crate::policy::sqltype::oids::*;
use crate::policy::template::Sql;
use crate::types::{Oid, QualifiedName, quote_ident};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor,
};
use sqlparser::tokenizer::Location;

/// A compiled query: text, the types of its columns, totality.
pub(super) struct Body {
    sql: Sql,
    types: Vec<Oid>,
    total: bool,
}

impl Compiler<'_> {
    /// `value IN (SELECT …)`.
    pub(super) fn in_subquery(
        &mut self,
        value: &Expr,
        query: &Query,
        negated: bool,
        here: Location,
    ) -> Result<Node, Fault> {
        let value = self.expr(value)?;
        let (before, own) = (self.has_subquery, self.scopes.len());
        let around = std::mem::replace(&mut self.outermost, usize::MAX);
        let body = self.query(query, false)?;
        let outside = self.outermost < own;
        self.outermost = self.outermost.min(around);
        let [ty] = body.types.as_slice() else {
            return Err(Fault::new(here, "the sub-select of IN must have one column", ""));
        };
        let size = if self.arrays { self.as_array(query, *ty, outside) } else { None };
        // The comparison is checked as if with a value of that column; a conversion of either side would be lost in the query.
        let candidate = Node { total: true, rowless: false, ..Node::constant("NULL", *ty) };
        let (one, other) = (value.ty, *ty);
        let mixed = one != other && [one, other].contains(&TIMESTAMPTZ);
        if mixed || one == UNKNOWN || other == UNKNOWN {
            return Err(Fault::new(
                here,
                "the value and the sub-select's column have different types",
                "cast one of them",
            ));
        }
        let check = self.compare(value.clone(), "=", candidate, here)?;
        let total = check.total && body.total;
        let sql = match size {
            Some(size) if one == other => {
                self.has_subquery = before;
                self.sizes.insert(size);
                Sql::wrap("(", value.sql.clone(), " = ANY (ARRAY(").and(body.sql).then(")))")
            }
            _ => Sql::wrap("(", value.sql.clone(), " IN (").and(body.sql).then("))"),
        };
        let node = Node { rowless: false, ..Node::over(sql, BOOL, total, &[&value]) };
        Ok(negate(node, negated))
    }

    /// `EXISTS (SELECT …)`.
    pub(super) fn exists(&mut self, query: &Query, negated: bool) -> Result<Node, Fault> {
        let body = self.query(query, true)?;
        let sql = Sql::wrap("(EXISTS (", body.sql, "))");
        Ok(negate(Node { rowless: false, ..Node::over(sql, BOOL, body.total, &[]) }, negated))
    }

    /// `(SELECT …)` as a value: raises when it has more than one row.
    pub(super) fn scalar_subquery(&mut self, query: &Query, here: Location) -> Result<Node, Fault> {
        let body = self.query(query, false)?;
        let [ty] = body.types.as_slice() else {
            return Err(Fault::new(here, "a sub-select used as a value must have one column", ""));
        };
        let node = Node::over(Sql::wrap("(", body.sql, ")"), *ty, false, &[]);
        Ok(Node { rowless: false, plain: false, ..node })
    }

    fn query(&mut self, query: &Query, exists: bool) -> Result<Body, Fault> {
        self.has_subquery = true;
        let here = query.span().start;
        let Query {
            with: None,
            body,
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks,
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators,
        } = query
        else {
            return Err(plain_only(here));
        };
        if !locks.is_empty() || !pipe_operators.is_empty() {
            return Err(plain_only(here));
        }
        self.set_expr(body, exists, here)
    }

    fn set_expr(&mut self, body: &SetExpr, exists: bool, here: Location) -> Result<Body, Fault> {
        match body {
            SetExpr::Select(select) => self.select(select, exists, here),
            SetExpr::Query(inner) => {
                let inner = self.query(inner, exists)?;
                Ok(Body { sql: Sql::wrap("(", inner.sql, ")"), ..inner })
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let word = match (op, set_quantifier) {
                    (SetOperator::Union, SetQuantifier::All) => " UNION ALL ",
                    (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) => " UNION ",
                    (SetOperator::Intersect, SetQuantifier::None | SetQuantifier::Distinct) => " INTERSECT ",
                    (SetOperator::Except, SetQuantifier::None | SetQuantifier::Distinct) => " EXCEPT ",
                    _ => return Err(plain_only(here)),
                };
                let (left, right) = (self.set_expr(left, exists, here)?, self.set_expr(right, exists, here)?);
                if left.types != right.types {
                    return Err(Fault::new(here, "the sides of the set operation have different types", "cast them"));
                }
                let sql = Sql::wrap("(", left.sql, ")").then(word).and(Sql::wrap("(", right.sql, ")"));
                Ok(Body { sql, types: left.types, total: left.total && right.total })
            }
            SetExpr::Values(_)
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => Err(plain_only(here)),
        }
    }

    fn select(&mut self, select: &Select, exists: bool, here: Location) -> Result<Body, Fault> {
        // Taken apart without `..`: a clause that is not named here cannot slip through.
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers: None,
            top: None,
            top_before_distinct: _,
            projection,
            exclude: None,
            into: None,
            from,
            lateral_views,
            prewhere: None,
            selection,
            connect_by,
            group_by: GroupByExpr::Expressions(grouping, modifiers),
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify: None,
            window_before_qualify: _,
            value_table_mode: None,
            flavor: _,
        } = select
        else {
            return Err(plain_only(here));
        };
        let plain = optimizer_hints.is_empty()
            && lateral_views.is_empty()
            && connect_by.is_empty()
            && modifiers.is_empty()
            && cluster_by.is_empty()
            && distribute_by.is_empty()
            && sort_by.is_empty()
            && named_window.is_empty()
            && !from.is_empty();
        if !plain {
            return Err(plain_only(here));
        }
        self.scopes.push(Vec::new());
        let outer_aggregates = std::mem::replace(&mut self.aggregates, false);
        let compiled =
            self.select_parts(distinct.as_ref(), projection, from, selection, grouping, having, exists, here);
        self.aggregates = outer_aggregates;
        self.scopes.pop();
        compiled
    }

    #[allow(clippy::too_many_arguments)]
    fn select_parts(
        &mut self,
        distinct: Option<&Distinct>,
        projection: &[SelectItem],
        from: &[sqlparser::ast::TableWithJoins],
        selection: &Option<Expr>,
        grouping: &[Expr],
        having: &Option<Expr>,
        exists: bool,
        here: Location,
    ) -> Result<Body, Fault> {
        let mut total = true;
        let mut tables = Vec::new();
        for item in from {
            let mut sql = self.table(&item.relation, here)?;
            for join in &item.joins {
                let (word, on) = match &join.join_operator {
                    JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) => {
                        (" JOIN ", Some(on))
                    }
                    JoinOperator::Left(JoinConstraint::On(on)) | JoinOperator::LeftOuter(JoinConstraint::On(on)) => {
                        (" LEFT JOIN ", Some(on))
                    }
                    JoinOperator::CrossJoin(JoinConstraint::None) => (" CROSS JOIN ", None),
                    _ => return Err(Fault::new(here, "only JOIN, LEFT JOIN … ON and CROSS JOIN are read", "")),
                };
                if join.global {
                    return Err(plain_only(here));
                }
                sql = sql.then(word).and(self.table(&join.relation, here)?);
                if let Some(on) = on {
                    let on = self.condition(on)?;
                    total &= on.total || on.rowless;
                    sql = sql.then(" ON ").and(on.sql);
                }
            }
            tables.push(sql);
        }
        self.aggregates = true;
        let (items, types, items_total) = self.projection(projection, exists, here)?;
        let having = having.as_ref().map(|h| self.condition(h)).transpose()?;
        self.aggregates = false;
        total &= items_total;
        let word = match distinct {
            None | Some(Distinct::All) => "SELECT ",
            Some(Distinct::Distinct) => "SELECT DISTINCT ",
            Some(Distinct::On(_)) => return Err(plain_only(here)),
        };
        let mut sql = Sql::text(word).and(items).then(" FROM ").and(Sql::join(tables, ", "));
        if let Some(selection) = selection {
            let condition = self.condition(selection)?;
            total &= condition.total || condition.rowless;
            sql = sql.then(" WHERE ").and(condition.sql);
        }
        if !grouping.is_empty() {
            let mut keys = Vec::new();
            for key in grouping {
                let key = self.expr(key)?;
                total &= key.total;
                keys.push(key.sql);
            }
            sql = sql.then(" GROUP BY ").and(Sql::join(keys, ", "));
        }
        if let Some(having) = having {
            total &= having.total || having.rowless;
            sql = sql.then(" HAVING ").and(having.sql);
        }
        Ok(Body { sql, types, total })
    }

    fn projection(
        &mut self,
        items: &[SelectItem],
        exists: bool,
        here: Location,
    ) -> Result<(Sql, Vec<Oid>, bool), Fault> {
        let mut sql = Vec::new();
        let mut types = Vec::new();
        let mut total = true;
        for item in items {
            match item {
                // What EXISTS selects does not matter.
                SelectItem::Wildcard(_) if exists => {
                    sql.push(Sql::text("1"));
                    types.push(INT4);
                }
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    let node = self.expr(expr)?;
                    if node.set.is_some() {
                        return Err(Fault::new(at(expr), "a set of the caller's values is not one value", ""));
                    }
                    let node = if node.ty == UNKNOWN { self.literal_as(node, TEXT, at(expr))? } else { node };
                    total &= node.total || node.rowless;
                    types.push(node.ty);
                    sql.push(node.sql);
                }
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
                    return Err(Fault::new(here, "name the columns of the sub-select", ""));
                }
            }
        }
        Ok((Sql::join(sql, ", "), types, total))
    }

    fn table(&mut self, factor: &TableFactor, here: Location) -> Result<Sql, Fault> {
        let TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints,
        } = factor
        else {
            return Err(Fault::new(here, "a sub-select reads tables by name", "write FROM schema.table"));
        };
        if !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
            return Err(plain_only(here));
        }
        let here = name.span().start;
        let qualified = self.table_name(name, here)?;
        let relation = self.catalog.relations.get(&qualified).cloned();
        let Some(relation) = relation.filter(|_| !is_system_schema(&qualified.schema)) else {
            let known: Vec<String> = self.catalog.relations.keys().map(QualifiedName::to_string).collect();
            let hint = did_you_mean(&qualified.to_string(), known.iter().map(String::as_str));
            return Err(Fault::new(here, format!("there is no table \"{qualified}\" a predicate may read"), hint));
        };
        let name = match alias {
            None => qualified.name.clone(),
            Some(alias) if alias.columns.is_empty() && alias.at.is_none() => name_of(&alias.name),
            Some(_) => return Err(plain_only(here)),
        };
        if name == ROW_ALIAS {
            return Err(Fault::new(here, format!("the alias \"{ROW_ALIAS}\" is taken"), "use another alias"));
        }
        let aliased = alias.is_some();
        let table = Table {
            alias: quote_ident(&name),
            names: vec![name.clone()],
            schemas: if aliased { Vec::new() } else { vec![qualified.schema.clone()] },
            columns: relation.columns.iter().map(|c| (c.name.clone(), c.type_oid, c.collation)).collect(),
        };
        let scope = self.scopes.last_mut().ok_or_else(|| plain_only(here))?;
        if scope.iter().any(|t| t.names.contains(&name)) {
            return Err(Fault::new(here, format!("table name \"{name}\" is used twice"), "give one an alias"));
        }
        scope.push(table);
        Ok(Sql::text(format!("{} AS {}", qualified.to_sql(), quote_ident(&name))))
    }

    fn table_name(&self, name: &ObjectName, here: Location) -> Result<QualifiedName, Fault> {
        let mut parts = Vec::new();
        for part in &name.0 {
            match part {
                ObjectNamePart::Identifier(ident) => parts.push(name_of(ident)),
                ObjectNamePart::Function(_) => return Err(plain_only(here)),
            }
        }
        match parts.as_slice() {
            [schema, table] => Ok(QualifiedName::new(schema, table)),
            [table] => {
                let known: Vec<String> =
                    self.catalog.relations.keys().filter(|n| n.name == *table).map(QualifiedName::to_string).collect();
                let help = known
                    .first()
                    .map_or_else(|| "write schema.table".to_owned(), |first| format!("did you mean \"{first}\"?"));
                Err(Fault::new(here, format!("table \"{table}\" needs its schema"), help))
            }
            _ => Err(Fault::new(here, "a table is named by schema.table", "")),
        }
    }
}

fn plain_only(here: Location) -> Fault {
    Fault::new(
        here,
        "only a plain sub-select is read: SELECT … FROM schema.table [JOIN …] [WHERE …] [GROUP BY …] [HAVING …]",
        "put anything else into a view",
    )
}
