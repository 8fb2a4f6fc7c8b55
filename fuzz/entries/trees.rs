//! A look at trees that shares nothing with the product's own walks: the tree as JSON, every node found by its name.

use serde_json::Value;
use sqlveil::sql::NodeEnum;

/// A tree as JSON.
pub fn json(node: &NodeEnum) -> Value {
    serde_json::to_value(node).expect("trees can be serialised")
}

/// Every relation a tree names, as (schema, name); the schema is empty when not given. CTEs and targets are among them.
pub fn relations(tree: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    visit(tree, &mut |object| {
        if let (Some(Value::String(schema)), Some(Value::String(name)), true) =
            (object.get("schemaname"), object.get("relname"), object.contains_key("inh"))
        {
            out.push((schema.clone(), name.clone()));
        }
    });
    out
}

/// Every string literal of a tree.
pub fn literals(tree: &Value) -> Vec<String> {
    let mut out = Vec::new();
    visit(tree, &mut |object| {
        if let Some(Value::Object(value)) = object.get("Sval")
            && let Some(Value::String(text)) = value.get("sval")
        {
            out.push(text.clone());
        }
    });
    out
}

fn visit(tree: &Value, look: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
    match tree {
        Value::Object(object) => {
            look(object);
            object.values().for_each(|v| visit(v, look));
        }
        Value::Array(list) => list.iter().for_each(|v| visit(v, look)),
        _ => {}
    }
}
