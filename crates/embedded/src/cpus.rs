//! The machine's CPUs and memory nodes.

use std::fs;

/// Possible CPUs: how many values an element of a per-CPU map has.
pub(crate) fn possible() -> u32 {
    let listed = fs::read_to_string("/sys/devices/system/cpu/possible").ok();
    let highest = listed.and_then(|list| ranges(&list).map(|(_, last)| last).max());
    let available = || std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    highest.map_or_else(available, |highest| highest.saturating_add(1)).clamp(1, 8192)
}

/// The memory node of a CPU; 0 when unknown.
pub(crate) fn node_of(cpu: u32) -> u32 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let nodes = read("/sys/devices/system/node/online");
    let has_cpu = |node: &u32| {
        let cpus = read(&format!("/sys/devices/system/node/node{node}/cpulist"));
        ranges(&cpus).any(|(first, last)| (first..=last).contains(&cpu))
    };
    ranges(&nodes).flat_map(|(first, last)| first..=last).find(has_cpu).unwrap_or(0)
}

/// The ranges of a list as sysfs has it: `0-3,8`.
fn ranges(list: &str) -> impl Iterator<Item = (u32, u32)> {
    list.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn lists_of_sysfs() {
        assert_eq!(ranges("0-3,8\n").collect::<Vec<_>>(), [(0, 3), (8, 8)]);
        assert_eq!(ranges("\n").count(), 0);
    }
}
