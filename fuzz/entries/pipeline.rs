//! Text of a caller → parse → resolve → decide → rewrite → seal, in the world of the golden cases, read from a private PostgreSQL at the
//! first call.

use super::golden::{session, world};
use super::trees;
use sqlveil::plan::{Plan, Planner};
use sqlveil::sql;
use sqlveil::world::World;
use std::sync::{Arc, OnceLock};

/// Tables that no caller here may read, under any name.
const HIDDEN: [&str; 2] = ["vault", "hidden"];

/// The world of the golden cases.
pub fn golden_world() -> &'static Arc<World> {
    static WORLD: OnceLock<Arc<World>> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let world = runtime.block_on(async {
            let stage = world::stage().await;
            let (world, _) = world::load(&stage).await;
            // Its folder goes with it; the catalog has been read.
            drop(stage);
            world
        });
        std::mem::forget(runtime);
        world
    })
}

/// Plans `bytes` as the text of two callers.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let world = golden_world();
    for who in ["ana", "eve"] {
        // A planner of one text: a kept plan would hide how it was made.
        let plans = Planner::default().plan_string(text, &mut session::session(world, who));
        match plans {
            Ok(plans) => plans.iter().for_each(|plan| on_a_deep_stack(|| sealed(plan))),
            Err(refusal) => {
                assert_ne!(refusal.code.0, "XX000", "a defect of ours: {}", refusal.message);
                for hidden in HIDDEN {
                    let told = refusal.message.contains(hidden) && !text.to_lowercase().contains(hidden);
                    assert!(!told, "{}", refusal.message);
                }
            }
        }
    }
}

/// The library looks after its own stack; what is looked at here is as deep.
pub fn on_a_deep_stack(look: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let looked = std::thread::Builder::new().stack_size(1 << 30).spawn_scoped(scope, look).expect("a thread");
        looked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// What may be sent is one statement, printed the way it would be printed again, and names nothing hidden.
fn sealed(plan: &Plan) {
    let text = plan.sealed.as_str();
    let parsed = sql::parse(text).expect("a sealed text parses");
    assert!(parsed.statements.len() <= 1, "one statement: {text}");
    for statement in parsed.statements {
        let tree = trees::json(&statement.node);
        for (schema, name) in trees::relations(&tree) {
            let hidden = schema == "public" && HIDDEN.contains(&name.as_str());
            assert!(!hidden, "{schema}.{name} is read by {text}");
        }
        let again = sql::print(statement.node).expect("it prints");
        let tree_again = sql::parse(&again).expect("it parses again").statements.remove(0);
        assert_eq!(strip(tree), strip(trees::json(&tree_again.node)), "printing is stable");
    }
}

/// Without positions, which differ between two texts of one tree.
fn strip(mut tree: serde_json::Value) -> serde_json::Value {
    fn clear(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(object) => {
                for (name, value) in object.iter_mut() {
                    if name.ends_with("location") || name.starts_with("rexpr_list_") || name.starts_with("list_") {
                        *value = serde_json::Value::Null;
                    } else {
                        clear(value);
                    }
                }
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(clear),
            _ => {}
        }
    }
    clear(&mut tree);
    tree
}
