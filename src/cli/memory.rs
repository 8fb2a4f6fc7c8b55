//! How much memory this process may take, and how much the configuration allows sessions to take.
//!
//! In: the control group of the process (cgroups(7)), the bounds of the configuration. Out: two numbers to compare at start. Must never: keep
//! the proxy from starting: the estimate is one of ordinary use.

use crate::config::Config;
use std::fs;
use std::path::Path;

/// Code, the grammar, a catalog of ordinary size, cached plans.
const BASE: u64 = 96 << 20;
/// A session whose buffers of both directions are as large as rows and results make them.
const SESSION: u64 = 256 << 10;
/// What the kernel says instead of "no limit" where it has no word for it (cgroup v1).
const NO_LIMIT: u64 = 1 << 60;

/// Bytes that all sessions at once take in ordinary use, and one message as large as may be.
pub fn needed(config: &Config) -> u64 {
    let sessions = u64::try_from(config.limits.sessions).unwrap_or(u64::MAX);
    let message = u64::try_from(config.limits.message_bytes).unwrap_or(u64::MAX);
    BASE.saturating_add(sessions.saturating_mul(SESSION)).saturating_add(message)
}

/// Bytes that the process may take: of its control group, of those above, and of the machine; the least. `None` where the system does not
/// say.
pub fn allowed() -> Option<u64> {
    allowed_below(Path::new("/"))
}

fn allowed_below(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        // hierarchy:controllers:path
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => least(&root.join("sys/fs/cgroup"), path, "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                least(&root.join("sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.chain(machine(root)).min()
}

/// The least limit of a group and of those above it. Inside a container the path may be one outside of it: then the top is the group.
fn least(mount: &Path, path: &str, file: &str) -> Option<u64> {
    let group = Path::new(path.trim_start_matches('/'));
    let of = |group: &Path| {
        let text = fs::read_to_string(mount.join(group).join(file)).ok()?;
        text.trim().parse::<u64>().ok().filter(|limit| *limit < NO_LIMIT)
    };
    group.ancestors().filter_map(of).min()
}

/// Memory of the machine (proc(5), meminfo).
fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files<'a> = &'a [(&'a str, &'a str)];

    fn root(files: Files<'_>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\n");
        let cases: [(Files<'_>, Option<u64>); 6] = [
            (&[], None),
            (&[meminfo], Some(8_000_000 * 1024)),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/system.slice/sqlveil.service\n"),
                    ("sys/fs/cgroup/system.slice/sqlveil.service/memory.max", "max\n"),
                    ("sys/fs/cgroup/system.slice/memory.max", "536870912\n"),
                ],
                Some(512 << 20),
            ),
            // In a container: the group is the top of what is mounted.
            (
                &[meminfo, ("proc/self/cgroup", "0::/docker/abc\n"), ("sys/fs/cgroup/memory.max", "268435456")],
                Some(256 << 20),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "3:cpu,cpuacct:/a\n2:memory:/a/b\n"),
                    ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "134217728\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(128 << 20),
            ),
            (&[("proc/self/cgroup", "nonsense\n0::/x\n"), ("sys/fs/cgroup/x/memory.max", "a lot")], None),
        ];
        for (files, wanted) in cases {
            assert_eq!(allowed_below(root(files).path()), wanted, "{files:?}");
        }
    }
}
