//! What is affected, returned and stored.

use crate::world::{count, refused, rows, running};

#[tokio::test(flavor = "multi_thread")]
async fn only_visible_rows_are_touched() {
    let running = running().await;
    let (ana, admin) = (running.client("ana").await, running.admin());
    assert_eq!(count(&ana, "UPDATE emp SET note = 'x' WHERE id IN (1, 2, 3, 4)").await, 2);
    assert_eq!(rows(admin, "SELECT id FROM emp WHERE note = 'x' ORDER BY id").await, ["2", "4"]);
    assert_eq!(count(&ana, "DELETE FROM emp WHERE id < 5").await, 2);
    assert_eq!(rows(admin, "SELECT count(*) FROM emp").await, ["18"]);
    assert_eq!(count(&ana, "UPDATE item SET qty = 0").await, 10);
    assert_eq!(count(&ana, "DELETE FROM part WHERE note = 'n' AND id > 100").await, 5);
    assert_eq!(count(&ana, "UPDATE acc SET balance = balance + 1 WHERE id = 7").await, 1);
    // Expressions that may raise never meet hidden rows.
    assert_eq!(count(&ana, "UPDATE emp SET nums = '{1}' WHERE note::int > 25 AND 1 / (length(note) - 6) = 0").await, 3);
    assert_eq!(count(&ana, "DELETE FROM item WHERE 1 / (id % 2 - 1) = -1 AND id > 18").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn returning_shows_masks_and_checks_new_rows() {
    let running = running().await;
    let (ana, admin) = (running.client("ana").await, running.admin());
    let returned = rows(&ana, "UPDATE emp SET note = 'y' WHERE id = 2 RETURNING *").await;
    assert_eq!(returned.len(), 1);
    assert!(
        returned[0].starts_with("2|name2|blue|y|") && returned[0].contains("|NULL|xxx|2000-01-01|"),
        "{returned:?}"
    );
    assert!(!returned[0].contains("111-22"), "{returned:?}");
    assert_eq!(
        rows(&ana, "INSERT INTO emp (id, name) VALUES (100, 'new') RETURNING id, dept, salary, upper(name)").await,
        ["100|blue|NULL|NEW"]
    );
    let hidden = "42501 new row violates row-level security policy for table \"emp\"";
    assert_eq!(refused(&ana, "INSERT INTO emp (id, name, dept) VALUES (101, 'new', 'red')").await, hidden);
    assert_eq!(refused(&ana, "INSERT INTO emp (id, name, dept) VALUES (101, 'new', 'red') RETURNING id").await, hidden);
    assert_eq!(refused(&ana, "UPDATE emp SET dept = 'red' WHERE id = 2").await, hidden);
    assert_eq!(refused(&ana, "WITH w AS (UPDATE emp SET dept = 'red' WHERE id = 2) SELECT 1").await, hidden);
    assert_eq!(rows(admin, "SELECT count(*) FROM emp WHERE id > 100 OR id = 2 AND dept = 'red'").await, ["0"]);
    assert_eq!(count(&ana, "INSERT INTO emp VALUES (102, 'n', 'blue'), (103, 'n', 'blue')").await, 2);
    assert_eq!(count(&ana, "UPDATE emp SET dept = 'blue' WHERE id > 100").await, 2);
    // A trigger moves the row out of sight.
    let fired = "42501 new row violates row-level security policy for table \"fired\"";
    assert_eq!(refused(&ana, "INSERT INTO fired VALUES (50, 'blue', 'move')").await, fired);
    assert_eq!(refused(&ana, "UPDATE fired SET note = 'move' WHERE id = 2").await, fired);
    assert_eq!(count(&ana, "UPDATE fired SET note = 'stay' WHERE id = 2").await, 1);
}
