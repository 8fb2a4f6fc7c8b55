//! What the demo asks on behalf of every caller.
//!
//! In: nothing. Out: [`QUESTIONS`]. Must never: depend on who asks.

/// How the rows of an answer become lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One row: a line a column, labelled by its name.
    Row,
    /// Two columns: a line a row, labelled by its first value.
    Pairs,
}

/// One question.
#[derive(Debug)]
pub struct Question {
    /// In words.
    pub title: &'static str,
    /// In SQL.
    pub sql: &'static str,
    /// How to show the answer.
    pub shape: Shape,
    /// The relations whose policies explain the differences.
    pub about: &'static [&'static str],
}

/// In this order.
pub const QUESTIONS: [Question; 6] = [
    Question {
        title: "How many customers are there, by region?",
        sql: "SELECT trim(r_name) AS region, count(*) FROM customer JOIN nation ON n_nationkey = c_nationkey \
              JOIN region ON r_regionkey = n_regionkey GROUP BY r_name ORDER BY r_name",
        shape: Shape::Pairs,
        about: &["customer"],
    },
    Question {
        title: "Who is customer 93?",
        sql: "SELECT c_name, c_address, c_phone, c_acctbal, c_mktsegment FROM customer WHERE c_custkey = 93",
        shape: Shape::Row,
        about: &["customer"],
    },
    Question {
        title: "Whose phone number begins with Germany's 17? (A condition on a masked column sees the mask.)",
        sql: "SELECT count(*) AS found FROM customer WHERE c_phone LIKE '17-%'",
        shape: Shape::Row,
        about: &["customer"],
    },
    Question {
        title: "How many orders are there, and what are they worth?",
        sql: "SELECT count(*) AS orders, round(sum(o_totalprice)) AS worth FROM orders",
        shape: Shape::Row,
        about: &["orders"],
    },
    Question {
        title: "What is in the bank, and what does account 5 look like?",
        sql: "SELECT count(*) AS accounts, count(DISTINCT bid) AS branches, \
              min(filler) FILTER (WHERE aid = 5) AS filler_of_5 FROM pgbench_accounts",
        shape: Shape::Row,
        about: &["pgbench_accounts"],
    },
    Question {
        title: "Which tables exist? (What psql's \\dt asks.)",
        sql: "SELECT count(*) AS tables FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
              WHERE c.relkind = 'r' AND n.nspname = 'public'",
        shape: Shape::Row,
        about: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customer_asked_for_is_one_that_analyst_and_support_see() {
        let distributions = tpchgen::distribution::Distributions::static_default();
        let text = tpchgen::text::TextPool::new(1 << 20, distributions);
        let customers = tpchgen::generators::CustomerGenerator::new_with_distributions_and_text_pool(
            super::super::warehouse::TPCH_SCALE,
            1,
            1,
            distributions,
            &text,
        );
        let customer = customers.iter().find(|customer| customer.c_custkey == 93).unwrap();
        assert_eq!(customer.c_nationkey, 7); // Germany, in Europe
        assert!(QUESTIONS.iter().any(|question| question.sql.contains("c_custkey = 93")));
    }
}
