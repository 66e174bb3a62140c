//! Counting how often programs run, and how long.

use std::os::fd::OwnedFd;

use bombus_kernel::{Error, Result};

use crate::sys::bpf::enable_run_time_stats;

/// While one of these is held, the kernel counts runs and time of all programs
/// (`BPF_ENABLE_STATS`). It stops when the last is gone, however the process ends.
#[derive(Debug)]
pub struct RunStatistics {
    _descriptor: Option<OwnedFd>,
}

impl RunStatistics {
    /// Has the kernel count. Fails without `CAP_SYS_ADMIN`, and with `EINVAL` before Linux 5.8,
    /// unless the setting `kernel.bpf_stats_enabled` has the kernel count anyway.
    pub fn enable() -> Result<RunStatistics> {
        let doing = "have the kernel count runs of programs";
        match enable_run_time_stats() {
            Ok(descriptor) => Ok(RunStatistics { _descriptor: Some(descriptor) }),
            Err(_) if counted_anyway() => Ok(RunStatistics { _descriptor: None }),
            Err(libc::EPERM) => Err(Error::Privilege {
                doing: doing.to_owned(),
                missing: "CAP_SYS_ADMIN (or the setting kernel.bpf_stats_enabled=1)".to_owned(),
            }),
            Err(errno) => Err(Error::Os {
                doing: doing.to_owned(),
                errno,
                help: Some("before Linux 5.8: sysctl kernel.bpf_stats_enabled=1".to_owned()),
            }),
        }
    }
}

fn counted_anyway() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")
        .is_ok_and(|value| value.trim() == "1")
}
