//! Statements that differ from one that was planned in their literals alone.
//!
//! In: a statement, its plan, and its plan with other literals. Out: a [`Form`], from which the plans of all such statements follow. Must
//! never: leave open a literal whose value anything between parsing and sealing looks at. Two things see to that: only literals that stand
//! where values are never looked at are open ([`open_literals`]), and a form is made only when the whole way, gone again with other literals
//! in all open places, leads to the same plan with these in their places. Builds with debug assertions go the whole way every time besides.

use super::{Plan, Repeated};
use crate::seal::{Parametrized, Template};
use crate::sql::NodeEnum;
use crate::sql::literal::{Literal, Skeleton, Span};
use crate::sql::pb::AExprKind;
use crate::sql::tree::Tree;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Operators beside which a number or string is only that, whatever its value: comparisons, and arithmetic that may raise on any.
const OPERATORS: [&str; 9] = ["=", "<>", "<", ">", "<=", ">=", "+", "-", "*"];

/// Types for which a cast of a literal is the server's business alone.
const TYPES: [&str; 12] = [
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "numeric",
    "int2",
    "int4",
    "int8",
    "float8",
    "uuid",
];

/// What is known of the statements that have one skeleton.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// Some were planned, and so often no form came of it.
    Tried(u8),
    /// Each is planned by itself.
    Nothing,
    /// Those of their literals are open, by number, that are `true`; the others belong to what they have in common.
    Partly(Arc<[bool]>),
    /// The plan of all of them.
    Form(Arc<Form>),
}

/// A plan with places for literals.
#[derive(Debug)]
pub(super) struct Form {
    plan: Plan,
    template: Template,
    /// The literals that the plan itself has in these places.
    made: Box<[Span]>,
    /// The same with parameters, when the warehouse would plan all of them alike.
    parametrized: Option<Arc<Parametrized>>,
}

impl Form {
    /// The form of a statement's plan, from the plan of the same statement with other open literals; `None` when more than these differs.
    pub fn of(plan: &Plan, open: &[Literal<'_>], varied: &Plan, others: &[Literal<'_>]) -> Option<Self> {
        let template = Template::of(&varied.sealed, others)?;
        let made = open.iter().map(Literal::span).collect();
        let form = Self { plan: plan.clone(), template, made, parametrized: None };
        let same = |literals: &[Literal<'_>], plan: &Plan| form.plan(literals).is_some_and(|made| made.same(plan));
        (same(open, plan) && same(others, varied)).then_some(form)
    }

    /// With parameters besides, where numbers alone are open. For statements that the warehouse plans alike whatever the numbers are.
    pub fn repeated(mut self, open: &[Literal<'_>]) -> Self {
        self.parametrized = self.template.parametrized(open).map(Arc::new);
        self
    }

    /// The plan with these literals in the open places; `None` when they are fewer.
    pub fn plan(&self, open: &[Literal<'_>]) -> Option<Plan> {
        let sealed = self.template.fill(open)?;
        let positions = self.template.moved(&self.plan.positions, &self.made, open);
        let repeated = match &self.parametrized {
            Some(text) => Some(Repeated { text: Arc::clone(text), values: text.values(open)? }),
            None => None,
        };
        Some(Plan { sealed, positions, repeated, ..self.plan.clone() })
    }

    /// Bytes of memory it takes, about.
    pub fn memory(&self) -> usize {
        // Its text stands in the template as well.
        let parametrized = self.parametrized.as_ref().map_or(0, |made| made.memory());
        self.plan.memory() + self.plan.sealed.as_str().len() + self.made.len() * 64 + parametrized
    }

    /// Its plan, as an example of all.
    pub fn example(&self) -> &Plan {
        &self.plan
    }
}

/// Which literals of a statement may be of any value without anything but themselves being another, by number.
pub(super) fn open_literals(statement: &NodeEnum, skeleton: &Skeleton<'_>) -> Option<Vec<bool>> {
    let followed = matches!(
        statement,
        NodeEnum::SelectStmt(_) | NodeEnum::InsertStmt(_) | NodeEnum::UpdateStmt(_) | NodeEnum::DeleteStmt(_)
    );
    let tree = followed.then(|| Tree::of(statement).ok()).flatten()?;
    let mut places = Places::default();
    places.visit(&tree);
    // A number with a sign is one constant, which begins at the sign.
    let is_open = |literal: &Literal<'_>| {
        let here = i64::try_from(literal.start).unwrap_or(-1);
        let signed =
            !literal.is_string() && skeleton.text().get(..literal.start).is_some_and(|before| before.ends_with('-'));
        let once = |place: i64| places.constants.iter().filter(|c| **c == place).count() == 1;
        places.open.contains(&here) && once(here) || signed && places.open.contains(&(here - 1)) && once(here - 1)
    };
    let open: Vec<bool> = skeleton.literals().iter().map(is_open).collect();
    open.contains(&true).then_some(open)
}

#[derive(Default)]
struct Places {
    /// Of every constant.
    constants: Vec<i64>,
    /// Of those that stand where their values are not looked at.
    open: BTreeSet<i64>,
}

impl Places {
    fn visit(&mut self, tree: &Tree) {
        match tree {
            Tree::Node(name, fields) => {
                match *name {
                    "AConst" => self.constants.extend(place(tree)),
                    // Its value may decide whether it can raise.
                    "AExpr" if computes(tree) && is_steady(tree) => {
                        let mut inside = Self::default();
                        fields.iter().for_each(|(_, value)| inside.visit(value));
                        self.constants.append(&mut inside.constants);
                        return;
                    }
                    "AExpr" if compares(tree) => {
                        for side in ["lexpr", "rexpr"] {
                            self.open(tree.field(side));
                        }
                    }
                    "TypeCast" if is_plain_cast(tree) => self.open(tree.field("arg")),
                    "SelectStmt" => {
                        for field in ["limit_count", "limit_offset"] {
                            self.open(tree.field(field));
                        }
                        for row in tree.field("values_lists").map(Tree::as_list).unwrap_or_default() {
                            self.open(Some(row));
                        }
                        return self.select(fields);
                    }
                    "UpdateStmt" => {
                        for target in tree.field("target_list").map(Tree::as_list).unwrap_or_default() {
                            self.open(target.unwrap_node().and_then(|(_, target)| target.field("val")));
                        }
                    }
                    _ => {}
                }
                fields.iter().for_each(|(_, value)| self.visit(value));
            }
            Tree::Variant(_, inner) => self.visit(inner),
            Tree::List(items) => items.iter().for_each(|item| self.visit(item)),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => {}
        }
    }

    /// Where expressions are held against each other (GROUP BY, DISTINCT), only what is outside of them is open.
    fn select(&mut self, fields: &[(&'static str, Tree)]) {
        let given = |name: &str| fields.iter().any(|(n, value)| *n == name && !value.as_list().is_empty());
        let held = given("group_clause") || given("distinct_clause") || given("window_clause");
        for (name, value) in fields {
            if held && !matches!(*name, "where_clause" | "from_clause" | "with_clause") {
                let mut inside = Self::default();
                inside.visit(value);
                self.constants.append(&mut inside.constants);
            } else {
                self.visit(value);
            }
        }
    }

    /// A constant, or those of a list.
    fn open(&mut self, tree: Option<&Tree>) {
        match tree.and_then(Tree::unwrap_node) {
            Some(("AConst", constant)) => self.open.extend(place(constant)),
            Some(("List", list)) => {
                let items = list.field("items").map(Tree::as_list).unwrap_or_default();
                let constants = items.iter().filter_map(Tree::unwrap_node).filter(|(kind, _)| *kind == "AConst");
                self.open.extend(constants.filter_map(|(_, constant)| place(constant)));
            }
            _ => {}
        }
    }
}

fn place(constant: &Tree) -> Option<i64> {
    match constant.field("location") {
        Some(Tree::Int(at)) => Some(*at),
        _ => None,
    }
}

fn computes(operation: &Tree) -> bool {
    matches!(operation.field("name").map(Tree::strings).as_deref(), Some(["+" | "-" | "*"]))
}

/// Whether nothing in an expression depends on a row, a parameter or a query.
fn is_steady(expression: &Tree) -> bool {
    let mut steady = true;
    expression.each(&mut |t| steady &= !matches!(t, Tree::Node("ColumnRef" | "ParamRef" | "SubLink", _)));
    steady
}

fn compares(operation: &Tree) -> bool {
    let kind = match operation.field("kind") {
        Some(Tree::Int(kind)) => i32::try_from(*kind).ok().and_then(|kind| AExprKind::try_from(kind).ok()),
        _ => None,
    };
    match kind {
        Some(AExprKind::AexprOp) => {
            matches!(operation.field("name").map(Tree::strings).as_deref(), Some([one]) if OPERATORS.contains(one))
        }
        Some(AExprKind::AexprIn | AExprKind::AexprBetween | AExprKind::AexprNotBetween) => true,
        _ => false,
    }
}

fn is_plain_cast(cast: &Tree) -> bool {
    let Some(kind) = cast.field("type_name") else { return false };
    let plain = matches!(kind.field("names").map(Tree::strings).as_deref(), Some([one] | ["pg_catalog", one]) if TYPES.contains(one));
    plain && kind.field("array_bounds").is_some_and(|bounds| bounds.as_list().is_empty())
}
