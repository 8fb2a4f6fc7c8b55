//! Sessions in the world of the golden cases.

use sqlveil::error::Refusal;
use sqlveil::identity::Caller;
use sqlveil::plan::{Effect, Plan, PlanInputs, Progress, SessionView};
use sqlveil::world::World;
use std::sync::Arc;

/// A session as its statements see it.
pub struct Session {
    world: Arc<World>,
    caller: Arc<Caller>,
    view: Arc<SessionView>,
}

impl Progress for Session {
    fn inputs(&self) -> Result<PlanInputs, Refusal> {
        Ok(PlanInputs {
            backend_pid: 42,
            param_types: Vec::new(),
            caller: Arc::clone(&self.caller),
            world: Arc::clone(&self.world),
            session: Arc::clone(&self.view),
        })
    }
    fn admit(&mut self, plan: &Arc<Plan>) -> Result<(), Refusal> {
        if let Effect::Scratch(change) = &plan.effect {
            let scratch = Arc::new(self.view.scratch.after(change));
            self.view = Arc::new(SessionView { scratch, ..(*self.view).clone() });
        }
        Ok(())
    }
}

/// The session of `user` or `user+project`.
pub fn session(world: &Arc<World>, who: &str) -> Session {
    let (user, project) = who.split_once('+').map_or((who, None), |(u, p)| (u, Some(p)));
    let caller = world.directory.caller(user, project).expect("a caller");
    Session {
        world: Arc::clone(world),
        caller: Arc::new(caller),
        view: Arc::new(SessionView {
            search_path_text: "\"$user\", public".into(),
            search_path: vec![user.to_owned(), "public".to_owned()],
            database: "hr".into(),
            project: project.unwrap_or_default().to_owned(),
            user: String::new(),
            acts: Default::default(),
            longest: None,
            moves: false,
            scratch: Default::default(),
        }),
    }
}
