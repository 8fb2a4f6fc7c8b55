//! The shapes: what people and their tools ask of three tables.

/// A name and a statement. `{id}` is an account in the middle, `{rows}` how many there are.
pub type Shape = (&'static str, &'static str);

pub const SHAPES: [Shape; 44] = [
    ("point by key", "SELECT balance FROM account WHERE id = {id}"),
    ("point, whole row", "SELECT * FROM account WHERE id = {id}"),
    ("keys in a list", "SELECT id, tier FROM account WHERE id IN ({id}, 17, 4711, 99, 1201)"),
    ("range of keys", "SELECT id, opened FROM account WHERE id BETWEEN {id} AND {id} + 100"),
    ("text equality", "SELECT id FROM account WHERE email = 'User{id}@example.org'"),
    ("numeric comparison", "SELECT count(*), max(tier) FROM account WHERE balance > 99900"),
    ("numeric range", "SELECT id, balance FROM account WHERE balance BETWEEN 500 AND 510 ORDER BY id"),
    ("LIKE prefix", "SELECT id FROM account WHERE email LIKE 'User{id}%'"),
    ("lower(x)", "SELECT id FROM account WHERE lower(email) = 'user{id}@example.org'"),
    ("date against timestamp", "SELECT count(*), max(id) FROM account WHERE updated >= current_date"),
    ("timestamp against date column", "SELECT count(*) FROM account WHERE opened < timestamp '2015-01-20 12:00'"),
    ("days back from today", "SELECT count(*), sum(kind) FROM event WHERE at >= current_date - interval '2 days'"),
    ("hours back from now", "SELECT count(*), max(id) FROM event WHERE at >= now() - interval '6 hours'"),
    ("either of two indexes", "SELECT id FROM account WHERE id = {id} OR email = 'User17@example.org'"),
    ("IS NOT NULL", "SELECT count(*) FROM account WHERE closed IS NOT NULL AND tier = 0"),
    ("arithmetic on an integer", "SELECT count(*) FROM account WHERE tier + 1 > 4 AND id < 5000"),
    (
        "next page by row comparison",
        "SELECT id, region FROM account WHERE (tier, id) > (2, {id}) ORDER BY tier, id LIMIT 20",
    ),
    ("greatest ten by index", "SELECT id, opened FROM account ORDER BY updated DESC LIMIT 10"),
    ("page by key", "SELECT id, tier, opened FROM account ORDER BY id LIMIT 20 OFFSET 1000"),
    ("min and max by index", "SELECT min(opened), max(opened) FROM account"),
    ("count of all", "SELECT count(*) FROM account"),
    ("parallel aggregate", "SELECT count(*), avg(amount) FROM event WHERE kind <> 3"),
    ("group by few", "SELECT tier, count(*), sum(balance) FROM account GROUP BY tier ORDER BY tier"),
    ("group by key", "SELECT id, tier, opened, count(*) FROM account WHERE id < 500 GROUP BY id ORDER BY id LIMIT 50"),
    (
        "having",
        "SELECT account_id, sum(total) FROM orders WHERE account_id < 3000 GROUP BY account_id HAVING sum(total) > 15000 ORDER BY 1 LIMIT 20",
    ),
    (
        "distinct",
        "SELECT DISTINCT tier, status FROM account a JOIN orders o ON o.account_id = a.id WHERE a.id < 2000 ORDER BY 1, 2",
    ),
    (
        "distinct on",
        "SELECT DISTINCT ON (account_id) account_id, placed, total FROM orders WHERE account_id < 500 ORDER BY account_id, placed DESC",
    ),
    (
        "window in a range",
        "SELECT id, account_id, row_number() OVER (PARTITION BY status ORDER BY placed, id) FROM orders WHERE account_id BETWEEN 100 AND 400 ORDER BY id LIMIT 100",
    ),
    (
        "join, few rows",
        "SELECT a.id, o.placed, o.total FROM account a JOIN orders o ON o.account_id = a.id WHERE a.id = {id}",
    ),
    (
        "join of two filtered relations",
        "SELECT count(*), sum(o.total) FROM account a JOIN orders o ON o.account_id = a.id WHERE a.tier = 2 AND o.status = 'paid'",
    ),
    (
        "join, numeric on either side",
        "SELECT a.id, o.id FROM account a JOIN orders o ON o.account_id = a.id WHERE a.balance > 99900 AND o.total > 5000 ORDER BY 1, 2",
    ),
    (
        "merge join by key",
        "SELECT a.id, a.tier, o.placed FROM account a JOIN orders o ON o.id = a.id ORDER BY a.id LIMIT 200",
    ),
    (
        "left join with count",
        "SELECT a.id, count(o.id) FROM account a LEFT JOIN orders o ON o.account_id = a.id WHERE a.id BETWEEN 100 AND 300 GROUP BY a.id ORDER BY a.id",
    ),
    (
        "three relations",
        "SELECT a.tier, count(*) FROM account a JOIN orders o ON o.account_id = a.id JOIN event e ON e.account_id = a.id WHERE a.id < 300 AND e.kind = 5 GROUP BY a.tier ORDER BY 1",
    ),
    (
        "EXISTS",
        "SELECT count(*) FROM account a WHERE a.id < 3000 AND EXISTS (SELECT 1 FROM orders o WHERE o.account_id = a.id AND o.status = 'lost')",
    ),
    (
        "NOT EXISTS",
        "SELECT count(*) FROM account a WHERE a.id < 3000 AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.account_id = a.id)",
    ),
    (
        "IN a sub-query",
        "SELECT count(*) FROM orders WHERE account_id IN (SELECT id FROM account WHERE updated >= current_date)",
    ),
    (
        "scalar sub-query",
        "SELECT a.id, (SELECT max(o.placed) FROM orders o WHERE o.account_id = a.id) FROM account a WHERE a.id BETWEEN {id} AND {id} + 50 ORDER BY 1",
    ),
    (
        "LATERAL, last two",
        "SELECT a.id, l.placed FROM account a CROSS JOIN LATERAL (SELECT o.placed FROM orders o WHERE o.account_id = a.id ORDER BY o.placed DESC LIMIT 2) l WHERE a.id BETWEEN {id} AND {id} + 50",
    ),
    (
        "CTE used twice",
        "WITH r AS (SELECT account_id, sum(total) AS s FROM orders WHERE account_id < 1000 GROUP BY account_id) SELECT count(*) FROM r x JOIN r y ON x.account_id = y.account_id + 1",
    ),
    ("UNION ALL", "SELECT id, 'a' FROM account WHERE id < 50 UNION ALL SELECT id, 'o' FROM orders WHERE id < 50"),
    ("one partition", "SELECT count(*), sum(kind) FROM event WHERE at >= current_date - 5 AND at < current_date - 3"),
    (
        "per day",
        "SELECT date_trunc('day', at) AS day, count(*) FROM event WHERE at >= current_date - interval '10 days' GROUP BY 1 ORDER BY 1",
    ),
    (
        "what may raise, of one key",
        "SELECT 100 / (tier + 1), note FROM account WHERE id = {id} AND 1000 / (id + 1) >= 0",
    ),
];
