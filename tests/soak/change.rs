//! Changes one after the other: the identity file or a policy is replaced, and somebody watches until the change is in force.

use crate::Arena;
use crate::people::{Generation, History, verifier};
use crate::session;
use crate::support::{PASSWORD, PrivatePostgres};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// A change that is not in force by then is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// The session that watches. The warehouse may be away.
async fn watch(arena: &Arena) -> Client {
    loop {
        match session::login(arena, "watch", 0, PASSWORD).await {
            Ok(client) => return client,
            Err(_) if arena.was_away(Instant::now()) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(code) => panic!("who watches cannot log in: {code}"),
        }
    }
}

/// What the directory says of people changes. The warehouse may be away.
async fn move_chairs(arena: &Arena, server: &'static PrivatePostgres) {
    loop {
        let chairs = "UPDATE desk.members SET chair = chair + 1 WHERE random() < 0.2";
        let moved = match sqlveil::cli::demo::warehouse::admin(server, &arena.database).await {
            Ok(desks) => desks.batch_execute(chairs).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match moved {
            Ok(()) => return,
            Err(_) if arena.was_away(Instant::now()) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("chairs do not move: {error}"),
        }
    }
}

pub struct Changes {
    folder: PathBuf,
    verifier: String,
    dice: StdRng,
    times: Vec<Duration>,
}

impl Changes {
    /// Writes the first documents.
    pub fn begin(folder: &Path, history: &History, seed: u64) -> Self {
        let changes = Self {
            folder: folder.to_owned(),
            verifier: verifier(),
            dice: StdRng::seed_from_u64(seed ^ 0x5eed),
            times: Vec::new(),
        };
        let first = history.last();
        changes.replace("identity.yaml", &first.identity_file(&changes.verifier));
        changes.replace("governance/policies/masks.yaml", &first.masks());
        changes
    }

    /// How long each took to be in force.
    pub fn times(&self) -> &[Duration] {
        &self.times
    }

    /// As deployments do it: the old file or the new one, never half of it.
    fn replace(&self, name: &str, text: &str) {
        let new = self.folder.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, self.folder.join(name)).unwrap();
    }

    /// Changes until the time is over. At its end nobody is disabled.
    pub async fn run(&mut self, arena: &Arena, server: &'static PrivatePostgres, pid: u32) {
        let mut client = watch(arena).await;
        for number in 1usize.. {
            arena.pause(arena.options.every).await;
            let over = arena.is_over();
            move_chairs(arena, server).await;
            self.change(arena, &mut client, number, pid, over).await;
            if over {
                return;
            }
        }
    }

    async fn change(&mut self, arena: &Arena, client: &mut Client, number: usize, pid: u32, last: bool) {
        let mut next = Generation::clone(&arena.history.last());
        let policies = number.is_multiple_of(3) && !last;
        if policies {
            next.policies = number;
        } else {
            next.identities = number;
            self.move_people(&mut next, last);
        }
        let (identity, masks, mark) = (next.identity_file(&self.verifier), next.masks(), next.mark());
        let pushed = arena.history.push(next);
        assert_eq!(pushed, number);
        let began = Instant::now();
        if policies {
            self.replace("governance/policies/masks.yaml", &masks);
        } else {
            self.replace("identity.yaml", &identity);
        }
        if number.is_multiple_of(4) {
            let told = Command::new("kill").args(["-HUP", &pid.to_string()]).status();
            assert!(told.is_ok_and(|status| status.success()), "SIGHUP");
        }
        while began.elapsed() < PATIENCE {
            match session::rows(client, "SELECT mark, stamp FROM marks").await {
                Ok(rows) if rows == [mark.as_str()] => {
                    arena.history.confirm(number);
                    self.times.push(began.elapsed());
                    return;
                }
                Ok(_) => {}
                Err(_) if arena.was_away(began) => *client = watch(arena).await,
                Err(code) => arena.tally.wrong(format!("who watches is answered {code}")),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        arena.tally.wrong(format!("change {number} is not in force after {PATIENCE:?}"));
        arena.over.send_replace(true);
    }

    /// Some move, some change their groups, some are disabled and some come back.
    fn move_people(&mut self, next: &mut Generation, last: bool) {
        let dice = &mut self.dice;
        // At least one, of few users too.
        let one = dice.random_range(0..next.users.len());
        for (number, user) in next.users.iter_mut().enumerate() {
            if dice.random_bool(0.05) {
                user.city = (user.city + 7) % 40;
            }
            if dice.random_bool(0.03) {
                user.payroll = !user.payroll;
            }
            if dice.random_bool(0.03) {
                user.auditor = !user.auditor;
            }
            user.disabled =
                !last && if user.disabled { dice.random_bool(0.7) } else { number == one || dice.random_bool(0.02) };
        }
    }
}
