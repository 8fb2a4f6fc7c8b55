//! Parts of the configuration that are given beside the file: by variables of the environment and by flags.
//!
//! In: variables `SQLVEIL__PATH__TO__KEY`, flags `--set path.to.key=VALUE`. Out: the file's tree with these values in it, to be read as if
//! they stood in the file: flags go before the environment, the environment before the file. Must never: repeat a value in a problem, since
//! it may be a secret in the wrong place.

use crate::governance::problem::Problem;
use crate::governance::tree::{self, Key, Node, Value};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// What names of variables begin with, and what stands between the keys of a path.
const BETWEEN: &str = "__";
const PREFIX: &str = "SQLVEIL__";
/// Keys of a path at most; the configuration is not as deep.
const DEEPEST: usize = 16;

/// One value, and who gives it.
#[derive(Debug, Clone)]
struct Given {
    /// As problems name it: the variable, or the flag with its path.
    name: String,
    path: Vec<String>,
    /// Names of variables know neither case nor signs.
    folded: bool,
    value: Node,
}

/// Everything given beside the file, in the order in which it is put in.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<Given>);

/// Where values of [`Overrides`] stand in the tree: lines beyond those of any file, one for each.
pub(super) const BESIDE: usize = usize::MAX / 2;

impl Overrides {
    /// Of these variables, by name; others than those of the configuration are passed over.
    ///
    /// # Errors
    /// Every variable whose value cannot be read, or whose name is no path.
    pub fn of_environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, Vec<Problem>> {
        let (mut given, mut problems) = (Vec::new(), Vec::new());
        let named = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let mut named: Vec<_> = named.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        // A whole section comes before a part of it, whatever order the system has.
        named.sort();
        for (name, value) in named {
            let path: Vec<String> =
                name.trim_start_matches(PREFIX).split(BETWEEN).map(str::to_ascii_lowercase).collect();
            let Ok(value) = value.into_string() else {
                problems.push(problem(&name, "its value is not UTF-8", "write text"));
                continue;
            };
            match read(&name, path, &value) {
                Ok((path, value)) => given.push(Given { name, path, folded: true, value }),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self(given)) } else { Err(problems) }
    }

    /// Of the process' own environment.
    ///
    /// # Errors
    /// As [`Overrides::of_environment`].
    pub fn environment() -> Result<Self, Vec<Problem>> {
        Self::of_environment(std::env::vars_os())
    }

    /// Then these, each `path.to.key=VALUE`; a key with a dot in it stands in double quotes.
    ///
    /// # Errors
    /// Every flag that cannot be read.
    pub fn and_flags<'a>(mut self, flags: impl Iterator<Item = &'a str>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        for flag in flags {
            let Some((path, value)) = flag.split_once('=') else {
                problems.push(problem("--set", "a flag without `=`", "write --set path.to.key=VALUE"));
                continue;
            };
            let name = format!("--set {path}");
            match read(&name, keys(path), value) {
                Ok((path, value)) => self.0.push(Given { name, path, folded: false, value }),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// Then a list of texts under that key, when there are any.
    pub fn and_list(mut self, name: &str, key: &str, values: &[String]) -> Self {
        if !values.is_empty() {
            let node = |value| Node { line: 1, column: 1, value };
            let scalar = |text: &String| node(Value::Scalar { text: text.clone(), plain: false });
            let value = node(Value::List(values.iter().map(scalar).collect()));
            self.0.push(Given { name: name.to_owned(), path: vec![key.to_owned()], folded: false, value });
        }
        self
    }

    /// Puts everything into the tree.
    ///
    /// # Errors
    /// Every path that leads through something that is no mapping.
    pub(super) fn put_into(&self, top: &mut Node) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (at, given) in self.0.iter().enumerate() {
            let mut value = given.value.clone();
            let line = BESIDE + at;
            mark(&mut value, line);
            if let Err(problem) = given.put(top, value, line) {
                problems.push(problem);
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Who gives each value, as problems name it, in the order of the lines from [`BESIDE`] on.
    pub(super) fn names(&self) -> Vec<Arc<PathBuf>> {
        self.0.iter().map(|given| Arc::new(PathBuf::from(&given.name))).collect()
    }
}

impl Given {
    fn put(&self, top: &mut Node, value: Node, line: usize) -> Result<(), Problem> {
        let mut node = top;
        for key in &self.path {
            if node.is_null() {
                node.value = Value::Map(Vec::new());
            }
            let Value::Map(entries) = &mut node.value else {
                let text = format!("what `{key}` is looked for in is no mapping");
                return Err(problem(&self.name, &text, "correct the path"));
            };
            let mut fitting = entries.iter().enumerate().filter(|(_, (known, _))| self.means(key, &known.name));
            let at = match (fitting.next(), fitting.next()) {
                (Some((at, _)), None) => at,
                (Some(_), Some(_)) => {
                    let text = format!("more than one key is called `{key}` but for case and signs");
                    return Err(problem(&self.name, &text, "use the flag --set, which tells them apart"));
                }
                (None, _) => {
                    let nothing = Value::Scalar { text: String::new(), plain: true };
                    let key = Key { name: key.clone(), line, column: 0 };
                    entries.push((key, Node { line, column: 0, value: nothing }));
                    entries.len() - 1
                }
            };
            let Some((_, next)) = entries.get_mut(at) else { return Ok(()) };
            node = next;
        }
        *node = value;
        Ok(())
    }

    fn means(&self, key: &str, known: &str) -> bool {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        if self.folded { known.chars().map(plain).eq(key.chars().map(plain)) } else { known == key }
    }
}

fn problem(name: &str, message: &str, help: &str) -> Problem {
    Problem::in_file(&PathBuf::from(name), message, help)
}

/// The keys of a path with dots.
fn keys(path: &str) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut quoted = false;
    for c in path.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => keys.push(String::new()),
            c => {
                if let Some(key) = keys.last_mut() {
                    key.push(c);
                }
            }
        }
    }
    keys
}

/// The path when it is one, and the value as YAML.
fn read(name: &str, path: Vec<String>, value: &str) -> Result<(Vec<String>, Node), Problem> {
    if path.len() > DEEPEST || path.iter().any(String::is_empty) {
        return Err(problem(
            name,
            "not a path of keys",
            "write the keys from the top of the file down, such as limits.sessions",
        ));
    }
    let help = "write it as it would stand in the file: 50, 10s, true, [a, b], {file: PATH}";
    let documents =
        tree::parse(&Arc::default(), value).map_err(|_| problem(name, "its value is not valid YAML", help))?;
    match <[Node; 1]>::try_from(documents) {
        Ok([value]) => Ok((path, value)),
        Err(_) => Err(problem(name, "it has no value", help)),
    }
}

/// Everything in it stands on that line.
fn mark(node: &mut Node, line: usize) {
    (node.line, node.column) = (line, 0);
    match &mut node.value {
        Value::Scalar { .. } => {}
        Value::List(items) => items.iter_mut().for_each(|item| mark(item, line)),
        Value::Map(entries) => {
            for (key, value) in entries {
                (key.line, key.column) = (line, 0);
                mark(value, line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::load::load;

    const FILE: &str = "\
listen: [\"127.0.0.1:6432\"]
governance: governance
identity: identity.yaml
secret: {env: MASTER}
connections:
  my-house: {host: 127.0.0.1, database: demo, user: svc, pool: {max: 7}}
limits: {sessions: 5, portals: 6}
";

    fn loaded(environment: &[(&str, &str)], flags: &[&str], listen: &[&str]) -> Result<Config, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        std::fs::write(&path, FILE).unwrap();
        let listen: Vec<String> = listen.iter().map(|text| (*text).to_owned()).collect();
        let variables = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let secrets = |name: &str| (name == "MASTER").then(|| "0123456789abcdef".into());
        Overrides::of_environment(variables)
            .and_then(|given| given.and_flags(flags.iter().copied()))
            .map(|given| given.and_list("--listen", "listen", &listen))
            .and_then(|given| load(&path, &secrets, &given))
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let environment = [
            ("SQLVEIL__LIMITS__SESSIONS", "50"),
            ("SQLVEIL__LIMITS__PORTALS", "60"),
            ("SQLVEIL__CONNECTIONS__MY_HOUSE__POOL__MAX", "70"),
            ("SQLVEIL__SHUTDOWN", "{deadline: 5s}"),
            ("SQLVEIL_LOG", "debug"),
            ("PATH", "/bin"),
        ];
        let flags = ["limits.sessions=500", "connections.\"my-house\".connect_timeout=9s", "shutdown.linger=1s"];
        let config = loaded(&environment, &flags, &["0.0.0.0:1", "[::]:2"]).unwrap();
        assert_eq!((config.limits.sessions, config.limits.portals, config.limits.relations), (500, 60, 500));
        let house = &config.connections["my-house"];
        assert_eq!((house.pool.max, house.connect_timeout.as_secs()), (70, 9));
        assert_eq!((config.shutdown.deadline.as_secs(), config.shutdown.linger.as_secs()), (5, 1));
        assert_eq!(config.listen, ["0.0.0.0:1".parse().unwrap(), "[::]:2".parse().unwrap()]);
        assert_eq!(loaded(&[], &[], &[]).unwrap().limits.sessions, 5);
    }

    #[test]
    fn problems_name_the_variable_or_the_flag_and_no_value() {
        let told = |environment: &[(&str, &str)], flags: &[&str]| loaded(environment, flags, &[]).unwrap_err();
        for (environment, flags, wants) in [
            (
                &[("SQLVEIL__LIMITS__SESSIONS", "hunter2")][..],
                &[][..],
                "SQLVEIL__LIMITS__SESSIONS: error: a whole number",
            ),
            (
                &[("SQLVEIL__LIMITS__SESIONS", "1")],
                &[],
                "SQLVEIL__LIMITS__SESIONS: error: unknown key `sesions` (did you mean",
            ),
            (&[("SQLVEIL__LIMITS____SESSIONS", "1")], &[], "error: not a path of keys"),
            (&[("SQLVEIL__LISTEN__PORT", "1")], &[], "what `port` is looked for in is no mapping"),
            (&[("SQLVEIL__THREADS", "")], &[], "SQLVEIL__THREADS: error: it has no value"),
            (&[], &["limits.sessions=hunter2"], "--set limits.sessions: error: a whole number"),
            (&[], &["limits.sessions"], "a flag without `=`"),
            (&[], &["secret=hunter2"], "--set secret: error: where the secret is kept is expected here"),
            (&[], &["limits=[hunter2"], "--set limits: error: its value is not valid YAML"),
            (&[], &["limits={sessions: 1, nonsense: hunter2}"], "--set limits: error: unknown key `nonsense`"),
        ] {
            let problems = told(environment, flags);
            assert!(problems.iter().any(|p| p.contains(wants)), "{wants}: {problems:?}");
            assert!(!problems.iter().any(|p| p.contains("hunter2")), "{problems:?}");
        }
        let both = told(&[("SQLVEIL__LIMITS__SESSIONS", "x")], &["limits.portals=y"]);
        assert_eq!(both.len(), 2, "all at once: {both:?}");
    }
}
