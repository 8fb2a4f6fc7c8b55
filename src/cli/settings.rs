//! Which configuration: a file, and what goes before it.
//!
//! In: arguments, the environment. Out: one [`Config`]. Flags go before variables, variables before the file. Must never: print a value.

use crate::config::log::Log;
use crate::config::{Config, Overrides};
use crate::governance::problem::Problem;
use std::path::PathBuf;

/// The configuration file, and values that go before it.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "SQLVEIL_CONFIG")]
    pub config: PathBuf,
    /// A value instead of the file's, such as `limits.sessions=50`; may be given again. Variables do the same: SQLVEIL__LIMITS__SESSIONS=50.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// An address to listen on instead of the file's; may be given again.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Vec<String>,
}

impl Settings {
    /// Reads and validates all of it.
    ///
    /// # Errors
    /// Every problem found, each with file and line, or with the variable or the flag.
    pub fn load(&self) -> Result<Config, Vec<Problem>> {
        Config::load_with(&self.config, &self.given()?)
    }

    /// How it is to be logged; what is wrong is told by [`Settings::load`].
    pub fn log(&self) -> Log {
        self.given().map_or_else(|_| Log::default(), |given| Log::of(&self.config, &given))
    }

    fn given(&self) -> Result<Overrides, Vec<Problem>> {
        let given = Overrides::environment()?.and_flags(self.set.iter().map(String::as_str))?;
        Ok(given.and_list("--listen", "listen", &self.listen))
    }
}
