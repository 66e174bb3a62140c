//! Bombus itself as the current task: for programs that no traced process sets off.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use bombus_kernel::{Error, Result};

use crate::hooks::{Regs, Task};
use crate::os;

/// The thread that runs this.
#[derive(Debug)]
pub(crate) struct ThisTask;

impl Task for ThisTask {
    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn tid(&self) -> u32 {
        os::thread_id()
    }

    fn ppid(&mut self) -> u32 {
        std::os::unix::process::parent_id()
    }

    fn comm(&mut self) -> [u8; 16] {
        let name = fs::read("/proc/thread-self/comm").unwrap_or_default();
        let mut comm = [0; 16];
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        comm.iter_mut().take(15).zip(name).for_each(|(to, from)| *to = *from);
        comm
    }

    fn uid_gid(&mut self) -> (u32, u32) {
        os::user_and_group()
    }

    fn cgroup_id(&mut self) -> u64 {
        // The id is the inode number of the directory in the v2 hierarchy.
        let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
        let directory = path.map(|path| format!("/sys/fs/cgroup{path}"));
        directory.and_then(|path| fs::metadata(path).ok()).map_or(0, |found| found.ino())
    }

    fn cpu(&mut self) -> u32 {
        os::current_cpu()
    }

    fn regs(&mut self) -> Result<Regs> {
        Err(Error::Unsupported { what: "no task was stopped".into(), help: None })
    }

    fn read_memory(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        let memory = File::open("/proc/self/mem");
        memory.and_then(|memory| memory.read_at(buf, addr)).unwrap_or(0)
    }
}
