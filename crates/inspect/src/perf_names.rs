//! Names of perf events (`include/uapi/linux/perf_event.h`), as perf and bpftool spell them.

const TYPES: [&str; 6] = ["hardware", "software", "tracepoint", "hw-cache", "raw", "breakpoint"];
const HARDWARE: [&str; 10] = [
    "cpu-cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branch-instructions",
    "branch-misses",
    "bus-cycles",
    "stalled-cycles-frontend",
    "stalled-cycles-backend",
    "ref-cycles",
];
const SOFTWARE: [&str; 12] = [
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
    "dummy",
    "bpf-output",
    "cgroup-switches",
];
const CACHES: [&str; 7] = ["L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node"];
const CACHE_OPERATIONS: [&str; 3] = ["load", "store", "prefetch"];
const CACHE_RESULTS: [&str; 2] = ["refs", "misses"];

fn name(names: &[&'static str], index: u64) -> Option<&'static str> {
    names.get(usize::try_from(index).ok()?).copied()
}

/// The name of `perf_event_attr::type`.
pub(crate) fn event_type(number: u32) -> Option<&'static str> {
    name(&TYPES, number.into())
}

/// The name of `perf_event_attr::config`.
pub(crate) fn event_config(event_type: u32, config: u64) -> Option<String> {
    match event_type {
        0 => name(&HARDWARE, config).map(str::to_owned),
        1 => name(&SOFTWARE, config).map(str::to_owned),
        3 => {
            let part = |names, number| {
                name(names, number).map_or_else(|| number.to_string(), str::to_owned)
            };
            Some(format!(
                "{}-{}-{}",
                part(&CACHES, config & 0xff),
                part(&CACHE_OPERATIONS, config >> 8 & 0xff),
                part(&CACHE_RESULTS, config >> 16)
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches() {
        assert_eq!(event_config(3, 0x1_0002).unwrap(), "LLC-load-misses");
        assert_eq!(event_config(3, 0x5_0700).unwrap(), "L1-dcache-7-5");
        assert_eq!(event_config(1, 12), None);
    }
}
