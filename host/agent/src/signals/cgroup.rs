//! What the kernel says of the container: processor time, throttling, memory.
//!
//! Control groups of version 2 as a rule, of version 1 on older nodes. A file that is absent, or says something else than
//! it should, is a number that is not known. It must never take more than the small files that it reads.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use topology::signals::ContainerCounters;

/// A limit of version 1 that is none: the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// What the container has used, and may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Container {
    /// What only grows.
    pub counters: ContainerCounters,
    /// Bytes that cannot be taken from it: what it uses, less the files that nobody has read for a while.
    pub working_set: Option<u64>,
    /// Bytes that it may have.
    pub memory_limit: Option<u64>,
    /// Thousandths of a processor that it may have.
    pub cpu_limit: Option<u64>,
}

/// Reads the groups below `root`, as the container sees them: `/sys/fs/cgroup`.
pub fn read(root: &Path) -> Container {
    if root.join("cgroup.controllers").exists() { second(&own(root)) } else { first(root) }
}

/// Where this process is, where the container sees more than its own group.
fn own(root: &Path) -> PathBuf {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = root.join(path);
    if own.join("cpu.stat").exists() { own } else { root.to_owned() }
}

fn second(group: &Path) -> Container {
    let (cpu, events) = (table(group, "cpu.stat"), table(group, "memory.events"));
    let memory = table(group, "memory.stat");
    let quota = text(group, "cpu.max");
    let (quota, period) = quota.trim().split_once(' ').unwrap_or_default();
    Container {
        counters: ContainerCounters {
            cpu_us: cpu.get("usage_usec").copied(),
            cpu_periods: cpu.get("nr_periods").copied().filter(|periods| *periods > 0),
            cpu_throttled_periods: cpu.get("nr_throttled").copied(),
            oom_kills: events.get("oom_kill").copied(),
        },
        working_set: working_set(number(group, "memory.current"), memory.get("inactive_file")),
        memory_limit: number(group, "memory.max"),
        cpu_limit: millicores(quota.parse().ok(), period.parse().ok()),
    }
}

fn first(root: &Path) -> Container {
    let (cpu, memory) = (root.join("cpu"), root.join("memory"));
    let (periods, oom) = (table(&cpu, "cpu.stat"), table(&memory, "memory.oom_control"));
    let quota = number(&cpu, "cpu.cfs_quota_us");
    Container {
        counters: ContainerCounters {
            cpu_us: number(&root.join("cpuacct"), "cpuacct.usage").map(|nanoseconds| nanoseconds / 1_000),
            cpu_periods: periods.get("nr_periods").copied().filter(|periods| *periods > 0),
            cpu_throttled_periods: periods.get("nr_throttled").copied(),
            oom_kills: oom.get("oom_kill").copied(),
        },
        working_set: working_set(
            number(&memory, "memory.usage_in_bytes"),
            table(&memory, "memory.stat").get("total_inactive_file"),
        ),
        memory_limit: number(&memory, "memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT),
        cpu_limit: millicores(quota, number(&cpu, "cpu.cfs_period_us")),
    }
}

fn working_set(used: Option<u64>, inactive: Option<&u64>) -> Option<u64> {
    Some(used?.saturating_sub(inactive.copied().unwrap_or(0)))
}

fn millicores(quota: Option<u64>, period: Option<u64>) -> Option<u64> {
    quota?.saturating_mul(1_000).checked_div(period?)
}

fn text(group: &Path, file: &str) -> String {
    std::fs::read_to_string(group.join(file)).unwrap_or_default()
}

fn number(group: &Path, file: &str) -> Option<u64> {
    text(group, file).trim().parse().ok()
}

fn table(group: &Path, file: &str) -> HashMap<String, u64> {
    let row = |line: &str| line.split_once(' ').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    text(group, file).lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_limited_container_of_version_2_is_read() {
        let root = group(&[
            ("cgroup.controllers", "cpu memory\n"),
            ("cpu.stat", "usage_usec 5000000\nuser_usec 1\nnr_periods 40\nnr_throttled 10\nthrottled_usec 3\n"),
            ("cpu.max", "150000 100000\n"),
            ("memory.current", "1000\n"),
            ("memory.max", "4096\n"),
            ("memory.stat", "anon 1\ninactive_file 300\n"),
            ("memory.events", "low 0\noom 3\noom_kill 2\n"),
        ]);
        let counters = ContainerCounters {
            cpu_us: Some(5_000_000),
            cpu_periods: Some(40),
            cpu_throttled_periods: Some(10),
            oom_kills: Some(2),
        };
        let all = Container { counters, working_set: Some(700), memory_limit: Some(4_096), cpu_limit: Some(1_500) };
        assert_eq!(read(root.path()), all);
    }

    #[test]
    fn no_limit_is_none_and_what_is_not_there_is_not_known() {
        let root = group(&[
            ("cgroup.controllers", ""),
            ("cpu.stat", "usage_usec 5\nnr_periods 0\nnr_throttled 0\n"),
            ("cpu.max", "max 100000\n"),
            ("memory.max", "max\n"),
            ("memory.current", "nonsense\n"),
        ]);
        let container = read(root.path());
        assert_eq!((container.cpu_limit, container.memory_limit, container.working_set), (None, None, None));
        assert_eq!((container.counters.cpu_us, container.counters.cpu_periods), (Some(5), None));
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(read(nothing.path()), Container::default());
    }

    #[test]
    fn a_container_of_version_1_is_read() {
        let root = group(&[
            ("cpuacct/cpuacct.usage", "7000000\n"),
            ("cpu/cpu.stat", "nr_periods 4\nnr_throttled 1\nthrottled_time 9\n"),
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.usage_in_bytes", "1000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.stat", "cache 1\ntotal_inactive_file 400\n"),
            ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        ]);
        let container = read(root.path());
        assert_eq!((container.working_set, container.memory_limit, container.cpu_limit), (Some(600), None, None));
        let counters = container.counters;
        assert_eq!(
            (counters.cpu_us, counters.cpu_throttled_periods, counters.oom_kills),
            (Some(7_000), Some(1), Some(1))
        );
    }
}
