use super::*;

fn outline(text: &str, hidden: bool) -> Outline {
    let parsed = sql::parse(text).unwrap();
    Outline::of(&parsed.statements[0].node, &Catalog::default(), &|_| hidden)
}

#[test]
fn the_text_form_is_laid_out_as_the_server_does() {
    let text = "WITH w AS (SELECT 1) SELECT DISTINCT e.a, sum(b) OVER () FROM emp e JOIN w ON e.id = w.id \
        LEFT JOIN (SELECT * FROM dept WHERE x > 1) d USING (id), generate_series(1, 3) g \
        WHERE e.a = 'it''s' GROUP BY e.a HAVING e.a > 'b' ORDER BY e.a DESC LIMIT 3";
    assert_eq!(
        outline(text, true).rows(Form::Text),
        [
            "Limit",
            "  CTE w",
            "    ->  Result",
            "  ->  Sort",
            "        Sort Key: e.a DESC",
            "        ->  Unique",
            "              ->  WindowAgg",
            "                    ->  Aggregate",
            "                          Group Key: e.a",
            "                          Filter: (e.a > 'b')",
            "                          ->  Cross Join",
            "                                Filter: (e.a = 'it''s')",
            "                                ->  Left Join",
            "                                      Using: id",
            "                                      ->  Join",
            "                                            Join Filter: (e.id = w.id)",
            "                                            ->  Policy Scan on emp e",
            "                                            ->  CTE Scan on w",
            "                                      ->  Subquery Scan on d",
            "                                            ->  Policy Scan on dept",
            "                                                  Filter: (x > 1)",
            "                                ->  Function Scan on g",
            "Note: outline of the statement as written; a plan over data under policy is not shown",
        ]
    );
}

#[test]
fn structured_forms_hold_the_same() {
    let outline = outline("SELECT a FROM emp UNION SELECT '<&\"' FROM dept d ORDER BY 1", false);
    let json: serde_json::Value = serde_json::from_str(&outline.rows(Form::Json)[0]).unwrap();
    let root = &json[0]["Plan"];
    assert_eq!((&root["Node Type"], &root["Sort Key"][0]), (&"Sort".into(), &"1".into()));
    let append = &root["Plans"][0]["Plans"][0];
    assert_eq!(append["Plans"][1]["Alias"], "d");
    assert_eq!(append["Plans"][1]["Parent Relationship"], "Member");
    let yaml: serde_json::Value = serde_saphyr::from_str(&outline.rows(Form::Yaml)[0]).unwrap();
    assert_eq!(yaml, json);
    let xml = outline.rows(Form::Xml).remove(0);
    assert!(xml.starts_with("<explain xmlns=\"http://www.postgresql.org/2009/explain\">\n  <Query>\n    <Plan>\n      <Node-Type>Sort</Node-Type>\n      <Sort-Key>\n        <Item>1</Item>\n"), "{xml}");
    assert_eq!(xml.matches("<Plan>").count(), xml.matches("</Plan>").count());
}

#[test]
fn writes_have_outlines_too() {
    for (text, first, second) in [
        ("INSERT INTO emp SELECT * FROM other", "Insert on emp", "  ->  Policy Scan on other"),
        ("UPDATE emp e SET a = 1 WHERE id = 2", "Update on emp e", "  ->  Policy Scan on emp e"),
        ("DELETE FROM emp", "Delete on emp", "  ->  Policy Scan on emp"),
    ] {
        let rows = outline(text, true).rows(Form::Text);
        assert_eq!((rows[0].as_str(), rows[1].as_str()), (first, second));
    }
}
